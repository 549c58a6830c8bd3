# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# How to say "this port is closed to these addresses" for many ports in few firewall rules. Block rules may overlap, so what has
# to be blocked may be covered by any boxes (ports x addresses) that hold nothing allowed.
#
# A column is a set of ports (int[] Ports) that are all open to the same addresses (int[] Allowed). The plain cover has one box
# for each column, which everybody can read. Many columns with addresses of their own get a coded cover: each column gets a pair
# of groups, no two columns the same pair. A group's box blocks the addresses of the columns that are in it on the ports of those
# that are not. An address of column A is so blocked on the ports of every other column B, since one of A's groups lacks B, and
# never on A's own. 1,000 columns need 46 groups, as 46 * 45 / 2 >= 1,000.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

Import-Module (Join-Path $PSScriptRoot 'Interval.psm1')

# Above this many boxes few matter more than readable.
$script:Readable = 64
$script:AllPorts = [int[]] @(0, 65536)

function Get-Cover {
    <#
    .SYNOPSIS
        Boxes, each a hashtable of Ports and Remote, that together hold all judged addresses on all ports but what is allowed.
    #>
    [OutputType([System.Collections.IList])]
    param(
        # All ports, each in one column.
        [Parameter(Mandatory)] [AllowEmptyCollection()] [System.Collections.IList] $Columns,
        [Parameter(Mandatory)] [AllowEmptyCollection()] [int[]] $Judged,
        # The most addresses that one firewall rule takes.
        [Parameter(Mandatory)] [int] $Limit
    )

    $plain = Get-PlainCover -Columns $Columns -Judged $Judged
    $count = Measure-Cover -Boxes $plain -Limit $Limit
    if ($count -le $script:Readable) { return , $plain }
    $coded = Get-CodedCover -Columns $Columns -Judged $Judged -Limit $Limit
    if ((Measure-Cover -Boxes $coded -Limit $Limit) -lt $count) { return , $coded }
    return , $plain
}

function Measure-Cover {
    <#
    .SYNOPSIS
        How many firewall rules boxes need.
    #>
    [OutputType([int])]
    param(
        [Parameter(Mandatory)] [AllowEmptyCollection()] [System.Collections.IList] $Boxes,
        [Parameter(Mandatory)] [int] $Limit
    )

    $count = 0
    foreach ($box in $Boxes) { $count += [int] [Math]::Ceiling($box.Remote.Length / 2 / $Limit) }
    return $count
}

function Get-PlainCover {
    [OutputType([System.Collections.IList])]
    param([System.Collections.IList] $Columns, [int[]] $Judged)

    $boxes = New-Object 'System.Collections.Generic.List[object]'
    foreach ($column in $Columns) {
        $blocked = Get-IntervalDifference -Left $Judged -Right $column.Allowed
        if ($blocked.Length) { $boxes.Add(@{ Ports = $column.Ports; Remote = $blocked }) }
    }
    return , $boxes
}

function Get-CodedCover {
    [OutputType([System.Collections.IList])]
    param([System.Collections.IList] $Columns, [int[]] $Judged, [int] $Limit)

    # An address that several columns allow has no code. What is open to nearly all addresses stands in the way of all the others.
    $coded = @(foreach ($column in $Columns) { if ($column.Allowed.Length) { $column } })
    $plain = @()
    $rows = Get-Row -Columns $coded -Judged $Judged
    for ($try = 0; $try -lt 8; $try++) {
        $inTheWay = Get-ColumnInTheWay -Rows $rows -Count $coded.Length
        if ($inTheWay -lt 0) { break }
        $plain += , $coded[$inTheWay]
        $coded = @(for ($i = 0; $i -lt $coded.Length; $i++) { if ($i -ne $inTheWay) { $coded[$i] } })
        $rows = Get-Row -Columns $coded -Judged $Judged
    }
    $boxes = Get-PlainCover -Columns $plain -Judged $Judged
    $ports = Get-Rest -Columns $plain
    $remote = @{ Gaps = New-Object 'System.Collections.Generic.List[int]' }
    $owners = @{}
    $groups = Get-Group -Rows $rows -Limit $Limit
    for ($i = 0; $i -lt $rows.Count; $i++) {
        $row = $rows[$i]
        if ($row.Members.Length -eq 0) {
            # Between addresses of two columns a gap is blocked on all ports by the groups of both.
            if (-not (Test-Between -Rows $rows -Index $i)) {
                $remote.Gaps.Add($row.First)
                $remote.Gaps.Add($row.End)
            }
            continue
        }
        $first = $row.First
        $end = $row.End
        if ($row.Members.Length -eq 1) {
            if ($i -gt 0 -and (Test-Between -Rows $rows -Index ($i - 1))) { $first = $rows[$i - 1].First }
            if ($i + 1 -lt $rows.Count -and (Test-Between -Rows $rows -Index ($i + 1))) { $end = $rows[$i + 1].End }
            $keys = foreach ($group in $groups[$row.Members[0]]) { "group $group" }
        } else {
            $keys = 'columns ' + ($row.Members -join ' ')
            $owners[$keys] = $row.Members
        }
        foreach ($key in $keys) {
            if (-not $remote.ContainsKey($key)) { $remote[$key] = New-Object 'System.Collections.Generic.List[int]' }
            $remote[$key].Add($first)
            $remote[$key].Add($end)
        }
    }
    foreach ($column in $groups.Keys) {
        foreach ($group in $groups[$column]) {
            $key = "group $group"
            if (-not $owners.ContainsKey($key)) { $owners[$key] = New-Object 'System.Collections.Generic.List[int]' }
            $owners[$key].Add($column)
        }
    }
    foreach ($key in $remote.Keys | Sort-Object) {
        if ($remote[$key].Count -eq 0) { continue }
        $open = New-Object 'System.Collections.Generic.List[int]'
        foreach ($column in $owners[$key]) { $open.AddRange([int[]] $coded[$column].Ports) }
        $closed = Get-IntervalDifference -Left $ports -Right (Join-Interval -Pairs $open.ToArray())
        $boxes.Add(@{ Ports = $closed; Remote = Join-Interval -Pairs $remote[$key].ToArray() })
    }
    return , $boxes
}

function Get-Rest {
    # The ports that are in none of the columns.
    [OutputType([int[]])]
    param([System.Collections.IList] $Columns)

    $named = New-Object 'System.Collections.Generic.List[int]'
    foreach ($column in $Columns) { $named.AddRange([int[]] $column.Ports) }
    return , (Get-IntervalDifference -Left $script:AllPorts -Right (Join-Interval -Pairs $named.ToArray()))
}

function Get-Row {
    # The judged addresses from low to high, cut wherever the columns that allow them change: First, End, Members (indices).
    [OutputType([System.Collections.IList])]
    param([object[]] $Columns, [int[]] $Judged)

    $places = New-Object 'System.Collections.Generic.List[int]'
    $changes = New-Object 'System.Collections.Generic.List[int]'
    for ($i = -1; $i -lt $Columns.Length; $i++) {
        $intervals = $Judged
        if ($i -ge 0) { $intervals = Get-IntervalIntersection -Left $Columns[$i].Allowed -Right $Judged }
        for ($k = 0; $k -lt $intervals.Length; $k++) {
            $places.Add($intervals[$k])
            $changes.Add($i)
        }
    }
    $places = $places.ToArray()
    $changes = $changes.ToArray()
    [Array]::Sort($places, $changes)
    $rows = New-Object 'System.Collections.Generic.List[object]'
    $members = New-Object 'System.Collections.Generic.SortedSet[int]'
    for ($k = 0; $k -lt $places.Length; $k++) {
        # Each end of an interval switches its column; -1 stands for the judged addresses themselves.
        if (-not $members.Add($changes[$k])) { $null = $members.Remove($changes[$k]) }
        if ($k + 1 -lt $places.Length -and $places[$k + 1] -gt $places[$k] -and $members.Count -and $members.Min -eq -1) {
            $named = New-Object 'int[]' $members.Count
            $members.CopyTo($named)
            $columns = [int[]] @(if ($named.Length -gt 1) { $named[1..($named.Length - 1)] })
            $rows.Add(@{ First = $places[$k]; End = $places[$k + 1]; Members = $columns })
        }
    }
    return , $rows
}

function Get-ColumnInTheWay {
    # The column that is among the members of at least half of the rows with several, or -1.
    [OutputType([int])]
    param([System.Collections.IList] $Rows, [int] $Count)

    $kinds = @{}
    foreach ($row in $Rows) { if ($row.Members.Length -gt 1) { $kinds[$row.Members -join ' '] = $row.Members } }
    $seen = New-Object 'int[]' ($Count + 1)
    foreach ($members in $kinds.Values) { foreach ($column in $members) { $seen[$column]++ } }
    $most = 0
    for ($i = 1; $i -lt $Count; $i++) { if ($seen[$i] -gt $seen[$most]) { $most = $i } }
    if ($seen[$most] -ge 2 -and 2 * $seen[$most] -ge $kinds.Count) { return $most }
    return -1
}

function Get-Group {
    # Each column that alone allows some address, and its two groups.
    [OutputType([hashtable])]
    param([System.Collections.IList] $Rows, [int] $Limit)

    $columns = New-Object 'System.Collections.Generic.SortedSet[int]'
    $single = 0
    foreach ($row in $Rows) {
        if ($row.Members.Length -eq 1) {
            $null = $columns.Add($row.Members[0])
            $single++
        }
    }
    # So many that there are pairs enough, and that a group's addresses fit one rule.
    $size = [Math]::Max(3, [int] [Math]::Ceiling(2 * $single / $Limit))
    while ($size * ($size - 1) / 2 -lt $columns.Count) { $size++ }
    $groups = @{}
    $distance = 1
    $first = 0
    foreach ($column in $columns) {
        # Pairs of one distance after the other: so the groups fill evenly.
        $groups[$column] = @($first, (($first + $distance) % $size))
        $first++
        # Half of an even number is the distance of each pair from both sides.
        if ($first -eq $size -or (2 * $distance -eq $size -and 2 * $first -eq $size)) {
            $first = 0
            $distance++
        }
    }
    return $groups
}

function Test-Between {
    # Whether a row that no column allows lies between, and touches, two rows that one column each allows, and not the same.
    [OutputType([bool])]
    param([System.Collections.IList] $Rows, [int] $Index)

    if ($Index -lt 1 -or $Index + 1 -ge $Rows.Count -or $Rows[$Index].Members.Length) { return $false }
    $before = $Rows[$Index - 1]
    $after = $Rows[$Index + 1]
    return $before.End -eq $Rows[$Index].First -and $after.First -eq $Rows[$Index].End -and
        $before.Members.Length -eq 1 -and $after.Members.Length -eq 1 -and $before.Members[0] -ne $after.Members[0]
}

Export-ModuleMember -Function Get-Cover, Measure-Cover
