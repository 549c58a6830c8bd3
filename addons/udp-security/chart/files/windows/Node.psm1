# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Bringing the node's firewall from what it holds to what a policy wants, and telling how far it is from that.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

Import-Module (Join-Path $PSScriptRoot 'Firewall.psm1')

function Get-Owner {
    <#
    .SYNOPSIS
        The uid of the pod that owns the node, or an empty text.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [hashtable] $Seen)

    if ($null -eq $Seen.Owner) { return '' }
    return $Seen.Owner.Uid
}

function Compare-Firewall {
    <#
    .SYNOPSIS
        What is missing of the wanted rules (Missing), and what is there beyond them (Stale). A rule is what it says, whatever
        its name.
    #>
    [OutputType([hashtable])]
    param(
        [Parameter(Mandatory)] [AllowEmptyCollection()] [System.Collections.IList] $Wanted,
        # As from Get-FirewallState.
        [Parameter(Mandatory)] [hashtable] $Seen
    )

    $there = @{}
    $stale = New-Object 'System.Collections.Generic.List[object]'
    $keys = @{}
    foreach ($rule in $Wanted) {
        $keys[(Get-WantedKey -Rule $rule)] = $rule
    }
    foreach ($rule in $Seen.Rules) {
        if (-not $keys.ContainsKey($rule.Key) -or $there.ContainsKey($rule.Key)) { $stale.Add($rule) }
        $there[$rule.Key] = $true
    }
    $missing = foreach ($key in $keys.Keys) { if (-not $there.ContainsKey($key)) { $keys[$key] } }
    return @{ Missing = @($missing); Stale = $stale }
}

function Get-WantedKey {
    <#
    .SYNOPSIS
        The key of a wanted rule (see Get-RuleKey), which it keeps: a key of many addresses takes time.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [hashtable] $Rule)

    if (-not $Rule.ContainsKey('Key')) { $Rule.Key = Get-RuleKey -Values $Rule }
    return $Rule.Key
}

function Sync-Firewall {
    <#
    .SYNOPSIS
        Makes the firewall hold exactly the wanted rules and a pod own the node.
    .DESCRIPTION
        There are no transactions, so each step leaves the firewall no more open than before all of them or after: new blocks
        come first, then new allows; old allows go next, old blocks last. The pod owns the node once all is in force that it
        wants.
    #>
    param(
        [Parameter(Mandatory)] [AllowEmptyCollection()] [System.Collections.IList] $Wanted,
        [Parameter(Mandatory)] [hashtable] $Seen,
        [Parameter(Mandatory)] [string] $Uid,
        [Parameter(Mandatory)] [string] $Release,
        [Parameter(Mandatory)] [string] $Generation,
        # Asked before each rule that is added, which takes a while: a reason to stop halfway, or nothing.
        [Parameter(Mandatory)] [scriptblock] $Interruption
    )

    $difference = Compare-Firewall -Wanted $Wanted -Seen $Seen
    $added = @{}
    foreach ($action in 'Block', 'Allow') {
        foreach ($rule in $difference.Missing) {
            if ($rule.Action -ne $action) { continue }
            $reason = & $Interruption
            if ($reason) { throw $reason }
            # A rule of that name may be there, changed by hand. It may block something until this one does.
            $name = $rule.Name
            for ($i = 1; -not (Add-FirewallRule -Rule $rule -Name $name -Pod $Uid); $i++) { $name = "$($rule.Name)-$i" }
            $added[$name] = $true
        }
    }
    $owner = $Seen.Owner
    if ($null -eq $owner -or $owner.Uid -ne $Uid -or $owner.Generation -ne $Generation -or $owner.Release -ne $Release) {
        Write-OwnerMark -Uid $Uid -Release $Release -Generation $Generation -Exists ($null -ne $owner)
    }
    foreach ($action in 'Allow', 'Block') {
        # A stale rule that somebody else deleted meanwhile may have left its name to one of the new ones.
        Remove-FirewallRule -Name @(foreach ($rule in $difference.Stale) {
                if ($rule.Action -eq $action -and -not $added.ContainsKey($rule.Name)) { $rule.Name }
            })
    }
    if ($Seen.Standbys -contains $Uid) { Remove-FirewallRule -Name (Get-MarkName -Standby $Uid) }
}

function Clear-Firewall {
    <#
    .SYNOPSIS
        Removes all that is ours, or all that one pod made: allows first, the mark of the owner last. Throws when some of it
        stays.
    #>
    param(
        [Parameter(Mandatory)] [hashtable] $Seen,
        # The uid of the one pod, which is not the owner.
        [string] $Pod = ''
    )

    foreach ($action in 'Allow', 'Block') {
        Remove-FirewallRule -Name @(foreach ($rule in $Seen.Rules) {
                if ($rule.Action -eq $action -and (-not $Pod -or $rule.Pod -eq $Pod)) { $rule.Name }
            })
    }
    if (-not $Pod) { Remove-FirewallRule -Name @(Get-MarkName -Standby $Seen.Standbys -Owner:($null -ne $Seen.Owner)) }
    $left = @((Get-FirewallState).Rules | Where-Object { -not $Pod -or $_.Pod -eq $Pod })
    if ($left) { throw "$($left.Count) rules are still there" }
}

function Get-Difference {
    <#
    .SYNOPSIS
        How the firewall's rules differ from the wanted ones, in words; nothing when they do not.
    #>
    [OutputType([string])]
    param(
        [Parameter(Mandatory)] [AllowEmptyCollection()] [System.Collections.IList] $Wanted,
        [Parameter(Mandatory)] [hashtable] $Seen
    )

    $difference = Compare-Firewall -Wanted $Wanted -Seen $Seen
    $parts = @(
        if ($difference.Missing.Count) { "$($difference.Missing.Count) of $($Wanted.Count) rules are missing or altered" }
        if ($difference.Stale.Count) { "$($difference.Stale.Count) in our group are not this policy's" }
    )
    if ($parts) { return $parts -join ', ' }
}

function Get-Idleness {
    <#
    .SYNOPSIS
        How many rules are stored without being in effect, in words; nothing when none is.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [hashtable] $Seen)

    if (-not $Seen.Rules.Count) { return }
    $effective = Get-EffectiveRule
    $idle = @(foreach ($rule in $Seen.Rules) {
            if ("$($effective[$rule.Name])" -ne "$($rule.Direction) $($rule.Action)") { $rule.Name }
        })
    if ($idle) {
        return "$($idle.Count) of $($Seen.Rules.Count) rules are stored but not in effect " +
            '(does a group policy ignore or replace local rules?)'
    }
}

function Get-StoppedService {
    <#
    .SYNOPSIS
        The services without which nothing is filtered and that do not run, each in words with the remedy.
    #>
    [OutputType([string[]])]
    param()

    foreach ($service in Get-FirewallService) {
        if ($service.Status -ne 'Running') {
            "service $($service.Name) is $($service.Status): Windows filters nothing (Start-Service $($service.Name))"
        }
    }
}

function Get-Obstacle {
    <#
    .SYNOPSIS
        Why Windows would not enforce some rules, each in words with the remedy; nothing when it does.
    #>
    [OutputType([string[]])]
    param([Parameter(Mandatory)] [AllowEmptyString()] [string] $NodeIP)

    foreach ($found in Get-EffectiveProfile) {
        $name = $found.Name
        if ($found.Enabled -ne 'True') {
            "the firewall profile $name is off (Set-NetFirewallProfile -Name $name -Enabled True, or its group policy)"
        }
        if ($found.AllowLocalFirewallRules -eq 'False') {
            "a group policy makes the firewall profile $name ignore local rules (allow local rule merging for it)"
        }
        $own = $null
        if ($found.DisabledInterfaceAliases -and $NodeIP) { $own = Get-InterfaceOfAddress -Address $NodeIP }
        foreach ($alias in $found.DisabledInterfaceAliases) {
            # Where the node's interface is not known, it may be this one.
            if (-not $own -or $alias -eq $own) {
                "the firewall profile $name leaves out interface $alias " +
                    "(Set-NetFirewallProfile -Name $name -DisabledInterfaceAliases NotConfigured)"
            }
        }
    }
}

function Get-NotGoverned {
    <#
    .SYNOPSIS
        Traffic that the rules cannot reach on this node, each in words.
    #>
    [OutputType([string[]])]
    param(
        # As from Get-EffectiveProfile.
        [Parameter(Mandatory)] [AllowEmptyCollection()] [object[]] $Profiles,
        [Parameter(Mandatory)] [AllowEmptyString()] [string] $NodeIP
    )

    'pods: their virtual switch ports are filtered by HNS, not by the host''s firewall'
    foreach ($found in $Profiles) {
        if ($found.AllowUnicastResponseToMulticast -ne 'False') {
            'answers from any address for 4 seconds after an outbound multicast or broadcast ' +
                "(profile $($found.Name): AllowUnicastResponseToMulticast)"
        }
        if ($found.AllowInboundRules -eq 'False') {
            "inbound flows that the policy allows are closed all the same (profile $($found.Name): AllowInboundRules)"
        }
        if ($found.DefaultOutboundAction -eq 'Block') {
            "outbound flows that the policy allows are closed all the same (profile $($found.Name): DefaultOutboundAction)"
        }
        $own = $null
        if ($found.DisabledInterfaceAliases -and $NodeIP) { $own = Get-InterfaceOfAddress -Address $NodeIP }
        foreach ($alias in $found.DisabledInterfaceAliases) {
            if ($NodeIP -and $alias -ne $own) {
                "interface $alias (profile $($found.Name): DisabledInterfaceAliases)"
            }
        }
    }
}

Export-ModuleMember -Function Get-Owner, Get-WantedKey, Sync-Firewall, Clear-Firewall, Get-Difference, Get-Idleness,
    Get-StoppedService, Get-Obstacle, Get-NotGoverned
