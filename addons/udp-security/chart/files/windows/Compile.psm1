# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# From a policy to the firewall rules that mean it. Pure: nothing here touches the machine.
#
# In Windows Firewall a block beats every allow, and outbound traffic is open by default. So what no rule allows is blocked: block
# rules over the complement of the allow list. Inbound traffic is closed by default, hence allow rules for what is allowed, and
# one for the port of the agent's metrics: the only rule for TCP, which opens and never blocks.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

Import-Module (Join-Path $PSScriptRoot 'Interval.psm1')
Import-Module (Join-Path $PSScriptRoot 'Address.psm1')
Import-Module (Join-Path $PSScriptRoot 'Cover.psm1')

# Microsoft names no limit of addresses per rule; users report trouble from about 1,000 on.
$script:Limit = 500
# Above this many allow rules few matter more than exact: then they allow what the block rules cut to size.
$script:Exact = 64
# With more different sets of local addresses than this, looking at each costs more than it saves.
$script:Narrow = 8

function ConvertTo-FirewallRule {
    <#
    .SYNOPSIS
        The firewall rules of a policy; in mode audit none but the one for metrics.
    .DESCRIPTION
        A flow's remote end decides whether it is judged: in scope `cluster` only a cluster's address is, in scope `host` all are.
        Loopback is in no rule. The same policy always gives the same rules, and a rule's name is the hash of what it says.
    .OUTPUTS
        Hashtables with Name, DisplayName, Direction (Inbound, Outbound), Action (Block, Allow), Protocol (UDP, TCP), LocalPort,
        RemotePort, LocalAddress, RemoteAddress (string[]; 'Any' where all match).
    #>
    [OutputType([System.Collections.IList])]
    param(
        # As in policy.json: mode, scope, clusterCIDRs, rules (name, direction, ports "low-high", from, to: CIDRs or null); where
        # metrics are on, metrics (port, from: CIDRs).
        [Parameter(Mandatory)] [object] $Policy
    )

    $firewallRules = New-Object 'System.Collections.Generic.List[object]'
    if ($Policy.PSObject.Properties['metrics']) {
        foreach ($rule in Get-MetricsRule -Metrics $Policy.metrics) { $firewallRules.Add($rule) }
    }
    if ($Policy.mode -ne 'enforce') { return , $firewallRules }
    foreach ($direction in 'ingress', 'egress') {
        $given = @($Policy.rules | Where-Object { $_.direction -eq $direction })
        $remoteKey, $localKey = 'to', 'from'
        if ($direction -eq 'ingress') { $remoteKey, $localKey = 'from', 'to' }
        $axis = Get-Axis -Cidrs @($Policy.clusterCIDRs; foreach ($rule in $given) { if ($rule.$remoteKey) { $rule.$remoteKey } })
        $localAxis = Get-Axis -Cidrs @(foreach ($rule in $given) { if ($rule.$localKey) { $rule.$localKey } })
        $judged = $axis.Universe
        if ($Policy.scope -eq 'cluster') { $judged = Get-CidrSet -Axis $axis -Cidrs $Policy.clusterCIDRs }
        $rules = @(foreach ($rule in $given) {
                @{
                    Ports  = Get-PortSet -Ports $rule.ports
                    Remote = Get-IntervalIntersection -Left $judged -Right (Get-CidrSet -Axis $axis -Cidrs $rule.$remoteKey)
                    Local  = Get-CidrSet -Axis $localAxis -Cidrs $rule.$localKey
                    # Whether it speaks of some local addresses only.
                    Narrow = [bool] $rule.$localKey
                }
            })
        $boxes = @{ Block = Get-BlockBox -Rules $rules -Judged $judged -LocalUniverse $localAxis.Universe; Allow = @() }
        if ($direction -eq 'ingress') { $boxes.Allow = Get-AllowBox -Rules $rules }
        foreach ($action in 'Block', 'Allow') {
            foreach ($box in $boxes[$action]) {
                $arguments = @{
                    Box = $box; Action = $action; Direction = $direction; Axis = $axis; LocalAxis = $localAxis; Protocol = 'UDP'
                }
                foreach ($rule in ConvertFrom-Box @arguments) { $firewallRules.Add($rule) }
            }
        }
    }
    return , $firewallRules
}

function Get-MetricsRule {
    # Lets those in who may ask for the agent's metrics.
    [OutputType([hashtable])]
    param([object] $Metrics)

    $axis = Get-Axis -Cidrs $Metrics.from
    $box = @{
        Ports  = Get-PortSet -Ports "$($Metrics.port)"
        Remote = Get-CidrSet -Axis $axis -Cidrs $Metrics.from
        Local  = $null
    }
    ConvertFrom-Box -Box $box -Action 'Allow' -Direction 'ingress' -Axis $axis -LocalAxis $axis -Protocol 'TCP'
}

function Get-CidrSet {
    # The ranks that CIDRs hold; all for none.
    [OutputType([int[]])]
    param([hashtable] $Axis, [AllowNull()] [string[]] $Cidrs)

    if (-not $Cidrs) { return , $Axis.Universe }
    $pairs = New-Object 'System.Collections.Generic.List[int]'
    foreach ($cidr in $Cidrs) { $pairs.AddRange([int[]] $Axis.Ranks[$cidr]) }
    return , (Get-IntervalIntersection -Left (Join-Interval -Pairs $pairs.ToArray()) -Right $Axis.Universe)
}

function Get-PortSet {
    [OutputType([int[]])]
    param([string[]] $Ports)

    $pairs = New-Object 'System.Collections.Generic.List[int]'
    foreach ($range in $Ports) {
        $ends = $range.Split('-')
        $pairs.Add([int] $ends[0])
        $pairs.Add([int] $ends[-1] + 1)
    }
    return , (Join-Interval -Pairs $pairs.ToArray())
}

function Get-Segment {
    # All ports, in sets that the same rules name: hashtables of Ports and Rules (indices), from low to high ports.
    [OutputType([System.Collections.IList])]
    param([object[]] $Rules)

    $places = New-Object 'System.Collections.Generic.List[int]'
    $owners = New-Object 'System.Collections.Generic.List[int]'
    for ($i = 0; $i -lt $Rules.Length; $i++) {
        foreach ($place in $Rules[$i].Ports) {
            $places.Add($place)
            $owners.Add($i)
        }
    }
    $places.Add(65536)
    $owners.Add(-1)
    $places = $places.ToArray()
    $owners = $owners.ToArray()
    [Array]::Sort($places, $owners)
    $segments = [ordered] @{}
    $open = New-Object 'System.Collections.Generic.SortedSet[int]'
    $low = 0
    for ($k = 0; $k -lt $places.Length; $k++) {
        if ($places[$k] -gt $low) {
            $key = 'rules ' + ($open -join ' ')
            if (-not $segments.Contains($key)) {
                $members = New-Object 'int[]' $open.Count
                $open.CopyTo($members)
                $segments[$key] = @{ Pairs = New-Object 'System.Collections.Generic.List[int]'; Rules = $members }
            }
            $segments[$key].Pairs.Add($low)
            $segments[$key].Pairs.Add($places[$k])
            $low = $places[$k]
        }
        # Each end of a range opens or closes its rule.
        if (-not $open.Add($owners[$k])) { $null = $open.Remove($owners[$k]) }
    }
    $found = New-Object 'System.Collections.Generic.List[object]'
    foreach ($segment in $segments.Values) {
        $found.Add(@{ Ports = Join-Interval -Pairs $segment.Pairs.ToArray(); Rules = $segment.Rules })
    }
    return , $found
}

function Get-BlockBox {
    # Boxes (Ports, Remote, Local) that hold every judged flow but the allowed ones. Local is $null for any address.
    [OutputType([System.Collections.IList])]
    param([object[]] $Rules, [int[]] $Judged, [int[]] $LocalUniverse)

    $arguments = @{ Rules = $Rules; Segments = Get-Segment -Rules $Rules; Judged = $Judged; LocalUniverse = $LocalUniverse }
    # Where many rules are narrow in the same few ways, it takes fewer boxes to look at the local addresses one by one.
    $ways = @{}
    $many = 0
    foreach ($rule in $Rules) {
        if ($rule.Narrow) {
            $ways[$rule.Local -join ' '] = $true
            $many++
        }
    }
    if ($many -gt $script:Exact -and $ways.Count -le $script:Narrow) {
        $byLocal = Get-BoxByLocal @arguments
        if ((Measure-Cover -Boxes $byLocal -Limit $script:Limit) -lt $many) { return , $byLocal }
    }
    return , (Get-BoxByPort @arguments)
}

function Get-BoxByPort {
    # First as if every rule held for all local addresses. What narrow rules leave closed comes on top, port by port.
    [OutputType([System.Collections.IList])]
    param([object[]] $Rules, [System.Collections.IList] $Segments, [int[]] $Judged, [int[]] $LocalUniverse)

    $columns = [ordered] @{}
    $extras = [ordered] @{}
    foreach ($segment in $Segments) {
        $members = @(foreach ($i in $segment.Rules) { $Rules[$i] })
        $allowed = Get-Union -Sets @(foreach ($rule in $members) { , $rule.Remote })
        Add-Port -To $columns -Key ($allowed -join ' ') -Ports $segment.Ports -Box @{ Allowed = $allowed }
        foreach ($class in (Get-LocalClass -Rules $members -Universe $LocalUniverse)) {
            $applying = Get-Union -Sets @(foreach ($i in $class.Rules) { , $members[$i].Remote })
            $closed = Get-IntervalDifference -Left $allowed -Right $applying
            if ($closed.Length) {
                $key = ($closed -join ' ') + ' at ' + ($class.Local -join ' ')
                Add-Port -To $extras -Key $key -Ports $segment.Ports -Box @{ Remote = $closed; Local = $class.Local }
            }
        }
    }
    $boxes = New-Object 'System.Collections.Generic.List[object]'
    foreach ($box in (Get-Cover -Columns (Get-Box -From $columns) -Judged $Judged -Limit $script:Limit)) {
        $boxes.Add(@{ Ports = $box.Ports; Remote = $box.Remote; Local = $null })
    }
    foreach ($box in (Get-Box -From $extras)) { $boxes.Add($box) }
    return , $boxes
}

function Get-BoxByLocal {
    # The complement anew for each set of local addresses to which the same rules apply.
    [OutputType([System.Collections.IList])]
    param([object[]] $Rules, [System.Collections.IList] $Segments, [int[]] $Judged, [int[]] $LocalUniverse)

    $boxes = New-Object 'System.Collections.Generic.List[object]'
    foreach ($class in (Get-LocalClass -Rules $Rules -Universe $LocalUniverse)) {
        $applies = @{}
        foreach ($i in $class.Rules) { $applies[$i] = $true }
        $columns = [ordered] @{}
        foreach ($segment in $Segments) {
            $allowed = Get-Union -Sets @(foreach ($i in $segment.Rules) { if ($applies.ContainsKey($i)) { , $Rules[$i].Remote } })
            Add-Port -To $columns -Key ($allowed -join ' ') -Ports $segment.Ports -Box @{ Allowed = $allowed }
        }
        foreach ($box in (Get-Cover -Columns (Get-Box -From $columns) -Judged $Judged -Limit $script:Limit)) {
            $boxes.Add(@{ Ports = $box.Ports; Remote = $box.Remote; Local = $class.Local })
        }
    }
    return , $boxes
}

function Get-AllowBox {
    # Boxes for what the rules allow.
    [OutputType([System.Collections.IList])]
    param([object[]] $Rules)

    $exact = [ordered] @{}
    foreach ($rule in $Rules) {
        # To loopback addresses alone nothing has to be allowed.
        if ($rule.Remote.Length -and $rule.Local.Length) {
            $local = $null
            if ($rule.Narrow) { $local = $rule.Local }
            $key = ($rule.Remote -join ' ') + ' at ' + ($local -join ' ')
            Add-Port -To $exact -Key $key -Ports $rule.Ports -Box @{ Remote = $rule.Remote; Local = $local }
        }
    }
    $boxes = Get-Box -From $exact
    if ($boxes.Count -le $script:Exact) { return , $boxes }
    $coarse = New-Object 'System.Collections.Generic.List[object]'
    $coarse.Add(@{
            Ports  = Get-Union -Sets @(foreach ($box in $boxes) { , $box.Ports })
            Remote = Get-Union -Sets @(foreach ($box in $boxes) { , $box.Remote })
            Local  = $null
        })
    return , $coarse
}

function Get-LocalClass {
    # All local addresses, in sets to which the same rules apply: hashtables of Local and Rules. None when no rule is narrow.
    [OutputType([System.Collections.IList])]
    param([object[]] $Rules, [int[]] $Universe)

    $classes = New-Object 'System.Collections.Generic.List[object]'
    if (-not ($Rules | Where-Object { $_.Narrow })) { return , $classes }
    $classes.Add(@{ Local = $Universe; Rules = [int[]] @() })
    for ($i = 0; $i -lt $Rules.Length; $i++) {
        $cut = New-Object 'System.Collections.Generic.List[object]'
        foreach ($class in $classes) {
            $inside = Get-IntervalIntersection -Left $class.Local -Right $Rules[$i].Local
            $outside = Get-IntervalDifference -Left $class.Local -Right $Rules[$i].Local
            if ($inside.Length) { $cut.Add(@{ Local = $inside; Rules = $class.Rules + $i }) }
            if ($outside.Length) { $cut.Add(@{ Local = $outside; Rules = $class.Rules }) }
        }
        $classes = $cut
    }
    return , $classes
}

function Get-Union {
    [OutputType([int[]])]
    param([object[]] $Sets)

    $pairs = New-Object 'System.Collections.Generic.List[int]'
    foreach ($set in $Sets) { $pairs.AddRange([int[]] $set) }
    return , (Join-Interval -Pairs $pairs.ToArray())
}

function Add-Port {
    # Gives the box of a key, which stands for all else that it says, more ports.
    param([System.Collections.IDictionary] $To, [string] $Key, [int[]] $Ports, [hashtable] $Box)

    if (-not $To.Contains($Key)) {
        $Box.Pairs = New-Object 'System.Collections.Generic.List[int]'
        $To[$Key] = $Box
    }
    $To[$Key].Pairs.AddRange($Ports)
}

function Get-Box {
    # The boxes that Add-Port filled.
    [OutputType([System.Collections.IList])]
    param([System.Collections.IDictionary] $From)

    $boxes = New-Object 'System.Collections.Generic.List[object]'
    foreach ($box in $From.Values) {
        $box.Ports = Join-Interval -Pairs $box.Pairs.ToArray()
        $box.Remove('Pairs')
        $boxes.Add($box)
    }
    return , $boxes
}

function ConvertFrom-Box {
    # A box's firewall rules: one, unless it has too many addresses.
    [OutputType([hashtable])]
    param(
        [hashtable] $Box, [string] $Action, [string] $Direction, [hashtable] $Axis, [hashtable] $LocalAxis, [string] $Protocol
    )

    $ports = @('Any')
    if ($Box.Ports.Length -ne 2 -or $Box.Ports[1] - $Box.Ports[0] -lt 65536) {
        $ports = @(for ($i = 0; $i -lt $Box.Ports.Length; $i += 2) {
                $low = $Box.Ports[$i]
                $high = $Box.Ports[$i + 1] - 1
                if ($low -eq $high) { "$low" } else { "$low-$high" }
            })
    }
    $inbound = $Direction -eq 'ingress'
    foreach ($ends in Get-EndPair -Box $Box -Axis $Axis -LocalAxis $LocalAxis) {
        $rule = @{
            Direction     = if ($inbound) { 'Inbound' } else { 'Outbound' }
            Action        = $Action
            Protocol      = $Protocol
            LocalPort     = [string[]] $(if ($inbound) { $ports } else { 'Any' })
            RemotePort    = [string[]] $(if ($inbound) { 'Any' } else { $ports })
            LocalAddress  = [string[]] $ends.Local
            RemoteAddress = [string[]] $ends.Remote
        }
        $rule.Name = 'udp-security-' + (Get-RuleHash -Rule $rule)
        $rule.DisplayName = 'udp-security {0} {1} {2} {3}' -f
            $Action.ToLowerInvariant(), $Direction, $Protocol, (Get-ShortList -Items $ports)
        $rule
    }
}

function Get-EndPair {
    # A box's addresses as pairs of Local and Remote, each within the limit. Rules that name both ends have one family, as flows.
    [OutputType([hashtable])]
    param([hashtable] $Box, [hashtable] $Axis, [hashtable] $LocalAxis)

    $remotes = ConvertTo-AddressRange -Axis $Axis -Intervals $Box.Remote
    if ($null -eq $Box.Local) {
        foreach ($part in Split-List -Items $remotes) { @{ Local = 'Any'; Remote = $part } }
        return
    }
    $locals = ConvertTo-AddressRange -Axis $LocalAxis -Intervals $Box.Local
    foreach ($six in $false, $true) {
        foreach ($localPart in Split-List -Items @($locals | Where-Object { $_.Contains(':') -eq $six })) {
            foreach ($part in Split-List -Items @($remotes | Where-Object { $_.Contains(':') -eq $six })) {
                @{ Local = $localPart; Remote = $part }
            }
        }
    }
}

function Split-List {
    # A list in parts of at most the limit's length.
    param([AllowEmptyCollection()] [string[]] $Items)

    for ($i = 0; $i -lt $Items.Length; $i += $script:Limit) {
        , $Items[$i..([Math]::Min($i + $script:Limit, $Items.Length) - 1)]
    }
}

function Get-ShortList {
    [OutputType([string])]
    param([string[]] $Items)

    $more = ''
    if ($Items.Length -gt 8) {
        $more = ", and $($Items.Length - 8) more"
        $Items = $Items[0..7]
    }
    return ($Items -join ', ') + $more
}

function Get-RuleHash {
    # 16 hexadecimal digits that tell what a rule says.
    [OutputType([string])]
    param([hashtable] $Rule)

    $keys = 'Direction', 'Action', 'Protocol', 'LocalPort', 'RemotePort', 'LocalAddress', 'RemoteAddress'
    $parts = foreach ($key in $keys) { $Rule[$key] -join ',' }
    $sha = [System.Security.Cryptography.SHA256]::Create()
    try {
        $hash = $sha.ComputeHash([System.Text.Encoding]::ASCII.GetBytes($parts -join ' '))
    } finally {
        $sha.Dispose()
    }
    return [BitConverter]::ToString($hash, 0, 8).Replace('-', '').ToLowerInvariant()
}

Export-ModuleMember -Function ConvertTo-FirewallRule
