# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# That nothing stays on the nodes. Agents remove their rules when they end; what they could not, is removed here.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Common', 'Agents') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

# Commands for a Linux node, whichever of the tools it has. Without double quotes, which Windows PowerShell would not pass on.
# What is of others is not touched: iptables-restore gets nothing but our jumps and chains, to delete them (as removal.py's).
$script:Remove = 'sudo nft list tables | sed -nE ''s/^table (inet|bridge) udp_security$/delete &/p'' | sudo nft -f -; ' +
    'for t in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do ' +
    'if sudo $t-save 2>/dev/null | grep -q ^:UDPSEC-; then sudo $t-save | ' +
    'sed -nE ''/^\*filter/,/^COMMIT/{/^\*/p;/^:UDPSEC-/{s/.([^ ]*).*/-X \1/;H;s/X/F/p};' +
    's/^-A ([A-Z]+)( -p udp -j UDPSEC-\1)$/-D \1\2/p;/^COMMIT/{H;x;p}}'' | sudo $t-restore --noflush -w 9; fi; done'
# Lines 'found: TOOL' and 'unknown: COMPLAINT', and 'looked' in the end. nft sees the chains of iptables-nft as well. Those of
# iptables-legacy are in tables that the kernel names.
$script:Look = 'for t in ''nft list chains'' iptables-nft-save ip6tables-nft-save iptables-legacy-save ip6tables-legacy-save; ' +
    'do if o=$(sudo $t 2>&1); then case $o in *''table inet udp_security {''*|*''table bridge udp_security {''*|' +
    '*''chain UDPSEC-''*|*:UDPSEC-*) echo found: $t;; esac; else case $t in nft*) echo unknown: $o;; ' +
    '*legacy*) sudo grep -qs filter /proc/net/${t%%tables*}_tables_names && echo unknown: $o;; esac; fi; done; echo looked'

function Wait-Removal {
    <#
    .SYNOPSIS
        Waits until no agent's pod is left on a node that is ready, and drops the pods of the other nodes. Returns what
        Get-Remnant says of the nodes whose pods it dropped; nothing for none.
    .DESCRIPTION
        A pod that does not end in time is dropped as well: what it leaves behind is removed afterwards.
    .PARAMETER Kept
        Pods that end, but leave their rules: Get-Remnant names their nodes, too.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [int] $Timeout, [AllowEmptyCollection()] [pscustomobject[]] $Kept = @())

    $deadline = [datetime]::UtcNow.AddSeconds($Timeout)
    $ready = @(Get-ClusterNode | Where-Object { $_.Ready } | ForEach-Object { $_.Name })
    $pods = @(Get-AgentPod)
    while (($pods | Where-Object { $ready -contains $_.Node }) -and [datetime]::UtcNow -lt $deadline) {
        Start-Sleep -Seconds 1
        $pods = @(Get-AgentPod)
    }
    if ($pods) { Remove-AgentPod -Pod @($pods | ForEach-Object { $_.Name }) }
    $left = $Kept + $pods
    if ($left) { return Get-Remnant -Pod $left }
}

function Get-Remnant {
    # On which nodes pods of the agents may have left their rules in force, how long, and what to do about it.
    #
    # kubelet ends a pod that the API server has no more: as any other when it knew the pod, else with a grace of one second,
    # which is enough for a Linux agent.
    [OutputType([string])]
    param([Parameter(Mandatory)] [pscustomobject[]] $Pod)

    $names = @($Pod | ForEach-Object { $_.Node } | Select-Object -Unique) -join ', '
    $commands = @(if ($Pod | Where-Object { $_.Os -eq 'windows' }) { 'Remove-NetFirewallRule -Group udp-security (Windows)' }
        if ($Pod | Where-Object { $_.Os -eq 'linux' }) { "(Linux): $script:Remove" })
    return "The agents on these nodes did not remove their rules: $names. They may stay in force there until kubelet ends the " +
        'agents, as it does when a node is back; a restart removes them from Linux nodes, not from Windows nodes. Where they ' +
        "are still in force then, run there: $($commands -join ', or ')"
}

function Clear-NodeRule {
    <#
    .SYNOPSIS
        Removes our rules from the control plane and from this host, if there are any. Throws where they stay, after both.
    #>
    [OutputType([void])]
    param()

    $problems = @(
        try { Clear-ControlPlane } catch { $_.Exception.Message }
        try { Clear-WindowsHost } catch { $_.Exception.Message }
    )
    if ($problems) { throw ($problems -join "`n") }
}

function Clear-ControlPlane {
    <#
    .SYNOPSIS
        Deletes our tables and chains on the control plane, if they are there. Throws when they stay.
    #>
    [OutputType([void])]
    param()

    $left = Get-ControlPlaneRule
    if ($left.Found) {
        Write-Log 'Removing the rules that the agent left on the control plane' -Console
        $removal = Invoke-CmdOnControlPlaneViaSSHKey -CmdToExecute "{ $script:Remove; } 2>&1" -IgnoreErrors
        $left = Get-ControlPlaneRule
        if ($left.Found) {
            $seen = "Rules on the control plane could not be removed ('$($left.Found -join "', '")' shows them)"
            throw "$((@($seen) + @($removal.Output)) -join ': ') (run this again)"
        }
    }
    if ($left.Unknown) {
        Write-Log ("Whether the control plane is free of rules is not known ($($left.Unknown)). To be sure, run there: " +
            $script:Remove) -Console
    }
}

function Get-ControlPlaneRule {
    # Found: the commands that show rules of ours on the control plane. Unknown: why there may be more; empty when there are none.
    $answer = Invoke-CmdOnControlPlaneViaSSHKey -CmdToExecute $script:Look -IgnoreErrors
    $lines = @($answer.Output | ForEach-Object { "$_" })
    $unknown = @($lines -match '^unknown: ' -replace '^unknown: ') -join ', '
    # What SSH says; a banner before an answer is no complaint.
    if ($lines -notcontains 'looked') { $unknown = "no answer: $($lines -join ' ')" }
    return [pscustomobject] @{ Found = @($lines -match '^found: ' -replace '^found: '); Unknown = $unknown }
}

function Clear-WindowsHost {
    <#
    .SYNOPSIS
        Removes our group of rules from this host's Windows Firewall, if there is one. Throws when it stays.
    #>
    [OutputType([void])]
    param()

    if (-not (Test-HostRule)) { return }
    Write-Log 'Removing the rules that the agent left on this host' -Console
    Remove-NetFirewallRule -Group 'udp-security' -ErrorAction Stop
    if (Test-HostRule) { throw 'The firewall rules of group udp-security on this host could not be removed (run this again)' }
}

function Test-HostRule {
    <#
    .SYNOPSIS
        Whether this host's Windows Firewall has rules of our group.
    #>
    [OutputType([bool])]
    param()

    try {
        return [bool] @(Get-NetFirewallRule -Group 'udp-security' -ErrorAction Stop).Count
    } catch {
        # That is how it says that there is none. A cmdlet that is not found is another matter.
        if ($_.FullyQualifiedErrorId -like 'CmdletizationQuery_NotFound*') { return $false }
        throw
    }
}

function Test-NodeRule {
    <#
    .SYNOPSIS
        Whether rules of ours are on this host or on the control plane. One that does not answer is taken for free of them.
    #>
    [OutputType([bool])]
    param()

    return (Test-HostRule) -or [bool] (Get-ControlPlaneRule).Found
}

Export-ModuleMember -Function Wait-Removal, Clear-NodeRule, Test-NodeRule
