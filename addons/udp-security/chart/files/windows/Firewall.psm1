# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# All contact with Windows: the firewall, its services, its event log. Every call ends in an error that can be caught: the
# NetSecurity cmdlets go on after an error unless told otherwise. Nothing here decides anything.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$script:Group = 'udp-security'
# Survives a reboot, so that the node is guarded before its kubelet starts.
$script:Store = 'PersistentStore'
$script:OwnerRule = 'udp-security-owner'
$script:StandbyPrefix = 'udp-security-standby-'
$script:Description = 'Kept by the udp-security agent, which undoes changes. Its values in the cluster say what is allowed.'
$script:Channel = 'Microsoft-Windows-Windows Firewall With Advanced Security/Firewall'
# A setting or a profile's setting changed; a rule was added, changed, deleted, all were deleted. Newer systems have further
# numbers for the same.
$script:ChangeEvents = 2002, 2003, 2004, 2071, 2097, 2005, 2073, 2099, 2006, 2052, 2033, 2059
# The most names in one call: each is a condition of one query, of which WMI takes a limited number.
$script:Batch = 50

# What makes a rule what it is, and which filter tells. Want is what all our rules have, and what systems without that property
# have, too; without it, each rule says it itself.
$script:Properties = @(
    @{ Of = 'Rule'; Name = 'Enabled'; Want = 'True' }
    @{ Of = 'Rule'; Name = 'Profile'; Want = 'Any' }
    @{ Of = 'Rule'; Name = 'Direction' }
    @{ Of = 'Rule'; Name = 'Action' }
    @{ Of = 'Rule'; Name = 'EdgeTraversalPolicy'; Want = 'Block' }
    @{ Of = 'Rule'; Name = 'LooseSourceMapping'; Want = 'False' }
    @{ Of = 'Rule'; Name = 'LocalOnlyMapping'; Want = 'False' }
    @{ Of = 'Rule'; Name = 'Owner'; Want = '' }
    @{ Of = 'Rule'; Name = 'Platform'; Want = '' }
    @{ Of = 'Rule'; Name = 'RemoteDynamicKeywordAddresses'; Want = '' }
    @{ Of = 'Port'; Name = 'Protocol' }
    @{ Of = 'Port'; Name = 'LocalPort' }
    @{ Of = 'Port'; Name = 'RemotePort' }
    @{ Of = 'Port'; Name = 'DynamicTarget'; Want = 'Any' }
    @{ Of = 'Address'; Name = 'LocalAddress' }
    @{ Of = 'Address'; Name = 'RemoteAddress' }
    @{ Of = 'Application'; Name = 'Program'; Want = 'Any' }
    @{ Of = 'Application'; Name = 'Package'; Want = '' }
    @{ Of = 'Service'; Name = 'Service'; Want = 'Any' }
    @{ Of = 'Interface'; Name = 'InterfaceAlias'; Want = 'Any' }
    @{ Of = 'InterfaceType'; Name = 'InterfaceType'; Want = 'Any' }
    @{ Of = 'Security'; Name = 'Authentication'; Want = 'NotRequired' }
    @{ Of = 'Security'; Name = 'Encryption'; Want = 'NotRequired' }
    @{ Of = 'Security'; Name = 'OverrideBlockRules'; Want = 'False' }
    @{ Of = 'Security'; Name = 'LocalUser'; Want = 'Any' }
    @{ Of = 'Security'; Name = 'RemoteUser'; Want = 'Any' }
    @{ Of = 'Security'; Name = 'RemoteMachine'; Want = 'Any' }
)
$script:CanonicalAddress = @{}

function Get-FirewallState {
    <#
    .SYNOPSIS
        What the firewall holds of ours, in a fixed number of calls however many rules there are.
    .OUTPUTS
        Rules (Name, Action, Direction, Pod that made it, Key: see Get-RuleKey), Owner (Uid, Release, Generation; $null without
        a mark), Standbys (uids).
    #>
    [OutputType([hashtable])]
    param(
        # Leaves Rules empty: cheap.
        [switch] $MarksOnly
    )

    $state = @{ Rules = New-Object 'System.Collections.Generic.List[object]'; Owner = $null; Standbys = @() }
    $found = @(Get-OwnRule -PolicyStore $script:Store)
    $guarding = foreach ($rule in $found) {
        # A mark filters nothing: one that somebody enabled is none any more.
        $disabled = "$($rule.Enabled)" -eq 'False'
        if ($rule.Name -eq $script:OwnerRule) {
            $state.Owner = ConvertFrom-Mark -Text $(if ($disabled) { $rule.Description })
        } elseif ($disabled -and $rule.Name.StartsWith($script:StandbyPrefix)) {
            $state.Standbys += $rule.Name.Substring($script:StandbyPrefix.Length)
        } else {
            $rule
        }
    }
    if ($MarksOnly -or -not $guarding) { return $state }
    $filters = @{ Rule = @{} }
    foreach ($rule in $guarding) { $filters.Rule[$rule.Name] = $rule }
    # All filters of the system at once: to ask for each rule's takes minutes.
    $filters.Port = Get-Index -Filters (Get-NetFirewallPortFilter -All -PolicyStore $script:Store -ErrorAction Stop)
    $filters.Address = Get-Index -Filters (Get-NetFirewallAddressFilter -All -PolicyStore $script:Store -ErrorAction Stop)
    $filters.Application = Get-Index -Filters (Get-NetFirewallApplicationFilter -All -PolicyStore $script:Store -ErrorAction Stop)
    $filters.Service = Get-Index -Filters (Get-NetFirewallServiceFilter -All -PolicyStore $script:Store -ErrorAction Stop)
    $filters.Interface = Get-Index -Filters (Get-NetFirewallInterfaceFilter -All -PolicyStore $script:Store -ErrorAction Stop)
    $filters.InterfaceType = Get-Index -Filters (
        Get-NetFirewallInterfaceTypeFilter -All -PolicyStore $script:Store -ErrorAction Stop)
    $filters.Security = Get-Index -Filters (Get-NetFirewallSecurityFilter -All -PolicyStore $script:Store -ErrorAction Stop)
    foreach ($rule in $guarding) {
        $values = @{}
        foreach ($property in $script:Properties) {
            $filter = $filters[$property.Of][$rule.Name]
            if ($null -eq $filter) {
                # A rule deleted between two of the calls: it equals no wanted one.
                $values[$property.Name] = 'gone'
            } elseif (-not $property.ContainsKey('Want') -or $filter.PSObject.Properties[$property.Name]) {
                $values[$property.Name] = $filter.($property.Name)
            }
        }
        $pod = ''
        if ("$($rule.Description)" -match 'pod=(\S+)$') { $pod = $Matches[1] }
        $state.Rules.Add(@{
                Name      = $rule.Name
                Action    = "$($rule.Action)"
                Direction = "$($rule.Direction)"
                Pod       = $pod
                Key       = Get-RuleKey -Values $values
            })
    }
    return $state
}

function Get-RuleKey {
    <#
    .SYNOPSIS
        A text that two rules share exactly when they do the same. What a rule does not say is as in all our rules.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [hashtable] $Values)

    $parts = foreach ($property in $script:Properties) {
        $name = $property.Name
        $value = if ($Values.ContainsKey($name)) { $Values[$name] } else { $property.Want }
        # A list comes back in another order, a list of one as a text, and nothing as $null.
        $texts = [string[]] @(foreach ($item in $value) { "$item" })
        if ($property.Of -eq 'Address') { $texts = [string[]] @(foreach ($text in $texts) { Get-CanonicalAddress -Text $text }) }
        [Array]::Sort($texts, [StringComparer]::OrdinalIgnoreCase)
        ($texts -join ',').ToLowerInvariant()
    }
    return $parts -join ';'
}

function Get-CanonicalAddress {
    # IPv6 has many spellings, and the firewall may choose another one than ours.
    [OutputType([string])]
    param([string] $Text)

    if (-not $Text.Contains(':')) { return $Text }
    if (-not $script:CanonicalAddress.ContainsKey($Text)) {
        $canonical = foreach ($part in $Text.Split('-')) {
            $address = $null
            if ([System.Net.IPAddress]::TryParse($part, [ref] $address)) { $address.ToString() } else { $part }
        }
        $script:CanonicalAddress[$Text] = $canonical -join '-'
    }
    return $script:CanonicalAddress[$Text]
}

function Get-EffectiveRule {
    <#
    .SYNOPSIS
        What those of our rules do that are in effect, by name: direction and action. A group policy can leave local rules
        without effect, or put one of its own in a rule's place.
    #>
    [OutputType([hashtable])]
    param()

    $effective = @{}
    foreach ($rule in Get-OwnRule -PolicyStore ActiveStore) {
        $source = $rule.PSObject.Properties['PolicyStoreSourceType']
        if ("$($rule.Enabled)" -eq 'True' -and ($null -eq $source -or "$($source.Value)" -ne 'GroupPolicy')) {
            $effective[$rule.Name] = "$($rule.Direction) $($rule.Action)"
        }
    }
    return $effective
}

function Get-OwnRule {
    # The rules of our group; none is no error.
    param([string] $PolicyStore)

    try {
        Get-NetFirewallRule -Group $script:Group -PolicyStore $PolicyStore -ErrorAction Stop
    } catch {
        if ($_.FullyQualifiedErrorId -notlike 'CmdletizationQuery_NotFound*') { throw }
    }
}

function Get-Index {
    # Filters by the name of the rule they belong to.
    [OutputType([hashtable])]
    param([AllowNull()] [object[]] $Filters)

    $index = @{}
    foreach ($filter in $Filters) { if ($null -ne $filter) { $index[$filter.InstanceID] = $filter } }
    return $index
}

function Add-FirewallRule {
    <#
    .SYNOPSIS
        Adds one compiled rule under a name of its own; whether the name was free.
    #>
    [OutputType([bool])]
    param(
        [Parameter(Mandatory)] [hashtable] $Rule,
        [Parameter(Mandatory)] [string] $Name,
        # The uid of the pod that adds it.
        [Parameter(Mandatory)] [string] $Pod
    )

    $arguments = @{
        Name          = $Name
        DisplayName   = $Rule.DisplayName
        Description   = "$script:Description pod=$Pod"
        Group         = $script:Group
        PolicyStore   = $script:Store
        Enabled       = 'True'
        Profile       = 'Any'
        Protocol      = $Rule.Protocol
        Direction     = $Rule.Direction
        Action        = $Rule.Action
        LocalPort     = $Rule.LocalPort
        RemotePort    = $Rule.RemotePort
        LocalAddress  = $Rule.LocalAddress
        RemoteAddress = $Rule.RemoteAddress
    }
    try {
        $null = New-NetFirewallRule @arguments -ErrorAction Stop
    } catch {
        if (-not (Test-Taken -Record $_)) { throw }
        return $false
    }
    return $true
}

function Remove-FirewallRule {
    <#
    .SYNOPSIS
        Removes rules by name, many in a call; names that are gone are no error.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'internal; the agent is never interactive')]
    param([Parameter(Mandatory)] [AllowEmptyCollection()] [string[]] $Name)

    # Without a selection the cmdlet removes every rule of the system.
    for ($i = 0; $i -lt $Name.Length; $i += $script:Batch) {
        $part = @(foreach ($item in $Name[$i..([Math]::Min($i + $script:Batch, $Name.Length) - 1)]) { Get-Pattern -Text $item })
        try {
            Remove-NetFirewallRule -Name $part -PolicyStore $script:Store -ErrorAction Stop
        } catch {
            if ($_.FullyQualifiedErrorId -notlike 'CmdletizationQuery_NotFound*') { throw }
        }
    }
}

function Get-Pattern {
    # The pattern that only this text matches. The cmdlets take a name that selects rules for a pattern, and a rule that somebody
    # put into our group may be called `*`. WildcardPattern.Escape of 5.1 forgets backticks.
    [OutputType([string])]
    param([string] $Text)

    return $Text -replace '[`*?\[\]]', '`$0'
}

function Test-Taken {
    # Whether a rule could not be added because its name is taken: ERROR_ALREADY_EXISTS, whatever language its text has.
    [OutputType([bool])]
    param([System.Management.Automation.ErrorRecord] $Record)

    return $Record.FullyQualifiedErrorId -like 'Windows System Error 183,*'
}

function Write-OwnerMark {
    <#
    .SYNOPSIS
        Makes a pod the node's owner: the description of a disabled rule, where a successor can read it. An empty uid is nobody.
    #>
    param(
        [Parameter(Mandatory)] [AllowEmptyString()] [string] $Uid,
        [Parameter(Mandatory)] [string] $Release,
        [Parameter(Mandatory)] [string] $Generation,
        # Whether there is a mark already.
        [Parameter(Mandatory)] [bool] $Exists
    )

    $text = "owner=$Uid release=$Release generation=$Generation"
    if ($Exists) {
        Set-NetFirewallRule -Name $script:OwnerRule -PolicyStore $script:Store -Enabled False -Description $text -ErrorAction Stop
    } else {
        Add-Mark -Name $script:OwnerRule -Description $text
    }
}

function Write-StandbyMark {
    <#
    .SYNOPSIS
        Says that a pod is ready to take the node over.
    #>
    param([Parameter(Mandatory)] [string] $Uid)

    Add-Mark -Name ($script:StandbyPrefix + $Uid) -Description 'This pod takes over if the owner leaves.'
}

function Get-MarkName {
    <#
    .SYNOPSIS
        The names of the rules that are marks: the owner's, and those of pods that stand by.
    #>
    [OutputType([string[]])]
    param([AllowEmptyCollection()] [string[]] $Standby, [switch] $Owner)

    if ($Owner) { $script:OwnerRule }
    foreach ($uid in $Standby) { $script:StandbyPrefix + $uid }
}

function Add-Mark {
    # A disabled rule filters nothing. Were it enabled by hand, it would block the discard protocol.
    param([string] $Name, [string] $Description)

    $arguments = @{
        Name        = $Name
        DisplayName = $Name
        Description = $Description
        Group       = $script:Group
        PolicyStore = $script:Store
        Enabled     = 'False'
        Direction   = 'Outbound'
        Action      = 'Block'
        Protocol    = 'UDP'
        RemotePort  = '9'
    }
    try {
        $null = New-NetFirewallRule @arguments -ErrorAction Stop
    } catch {
        if (-not (Test-Taken -Record $_)) { throw }
        throw "a rule outside our group has the name $Name, which this agent needs (Remove-NetFirewallRule -Name $Name)"
    }
}

function ConvertFrom-Mark {
    # A mark that cannot be read is nobody's.
    [OutputType([hashtable])]
    param([AllowNull()] [string] $Text)

    $mark = @{ Uid = ''; Release = ''; Generation = '' }
    if ($Text -match '^owner=(\S*) release=(\S*) generation=(\S*)$') {
        $mark.Uid = $Matches[1]
        $mark.Release = $Matches[2]
        $mark.Generation = $Matches[3]
    }
    return $mark
}

function Get-FirewallService {
    <#
    .SYNOPSIS
        The services without which nothing is filtered: Name, Status.
    #>
    [OutputType([hashtable])]
    param()

    foreach ($name in 'mpssvc', 'BFE') {
        try {
            @{ Name = $name; Status = "$((Get-Service -Name $name -ErrorAction Stop).Status)" }
        } catch {
            @{ Name = $name; Status = "unknown: $($_.Exception.Message)" }
        }
    }
}

function Get-EffectiveProfile {
    <#
    .SYNOPSIS
        The profiles' settings that are in effect, group policy included.
    #>
    [OutputType([hashtable])]
    param()

    foreach ($found in Get-NetFirewallProfile -PolicyStore ActiveStore -ErrorAction Stop) {
        @{
            Name                            = $found.Name
            Enabled                         = "$($found.Enabled)"
            DefaultInboundAction            = "$($found.DefaultInboundAction)"
            DefaultOutboundAction           = "$($found.DefaultOutboundAction)"
            AllowLocalFirewallRules         = "$($found.AllowLocalFirewallRules)"
            AllowInboundRules               = "$($found.AllowInboundRules)"
            AllowUnicastResponseToMulticast = "$($found.AllowUnicastResponseToMulticast)"
            DisabledInterfaceAliases        = [string[]] @(foreach ($alias in $found.DisabledInterfaceAliases) {
                    if ($alias -and "$alias" -ne 'NotConfigured') { "$alias" }
                })
        }
    }
}

function Get-InterfaceOfAddress {
    <#
    .SYNOPSIS
        The alias of the interface that has an address, or nothing.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [string] $Address)

    try {
        (Get-NetIPAddress -IPAddress $Address -ErrorAction Stop | Select-Object -First 1).InterfaceAlias
    } catch {
        Write-Debug "no interface of ${Address}: $_"
    }
}

function Get-LastChange {
    <#
    .SYNOPSIS
        The number of the last event that tells of a change in the firewall, by whomever; 0 when there is none.
    #>
    [OutputType([long])]
    param()

    try {
        $filter = @{ LogName = $script:Channel; Id = $script:ChangeEvents }
        return [long] (Get-WinEvent -FilterHashtable $filter -MaxEvents 1 -ErrorAction Stop).RecordId
    } catch {
        if ($_.FullyQualifiedErrorId -like 'NoMatchingEventsFound*') { return [long] 0 }
        throw
    }
}

Export-ModuleMember -Function Get-FirewallState, Get-RuleKey, Get-EffectiveRule, Add-FirewallRule, Remove-FirewallRule,
    Write-OwnerMark, Write-StandbyMark, Get-MarkName, Get-FirewallService, Get-EffectiveProfile, Get-InterfaceOfAddress,
    Get-LastChange
