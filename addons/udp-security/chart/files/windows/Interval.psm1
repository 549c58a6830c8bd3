# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Sets of integers as sorted, disjoint half-open intervals in one flat array: first, end, first, end, ... Intervals that touch
# are one.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Join-Interval {
    <#
    .SYNOPSIS
        The union of intervals given in any order, as flat pairs.
    #>
    [OutputType([int[]])]
    param([Parameter(Mandatory)] [AllowEmptyCollection()] [int[]] $Pairs)

    $count = $Pairs.Length -shr 1
    $firsts = New-Object 'int[]' $count
    $ends = New-Object 'int[]' $count
    for ($i = 0; $i -lt $count; $i++) {
        $firsts[$i] = $Pairs[2 * $i]
        $ends[$i] = $Pairs[2 * $i + 1]
    }
    [Array]::Sort($firsts, $ends)
    $union = New-Object 'System.Collections.Generic.List[int]'
    for ($i = 0; $i -lt $count; $i++) {
        $last = $union.Count - 1
        if ($last -lt 0 -or $firsts[$i] -gt $union[$last]) {
            if ($ends[$i] -gt $firsts[$i]) {
                $union.Add($firsts[$i])
                $union.Add($ends[$i])
            }
        } elseif ($ends[$i] -gt $union[$last]) {
            $union[$last] = $ends[$i]
        }
    }
    return , $union.ToArray()
}

function Get-IntervalIntersection {
    <#
    .SYNOPSIS
        What both sets hold.
    #>
    [OutputType([int[]])]
    param(
        [Parameter(Mandatory)] [AllowEmptyCollection()] [int[]] $Left,
        [Parameter(Mandatory)] [AllowEmptyCollection()] [int[]] $Right
    )

    $common = New-Object 'System.Collections.Generic.List[int]'
    $i = 0
    $j = 0
    while ($i -lt $Left.Length -and $j -lt $Right.Length) {
        $first = [Math]::Max($Left[$i], $Right[$j])
        $end = [Math]::Min($Left[$i + 1], $Right[$j + 1])
        if ($first -lt $end) {
            $common.Add($first)
            $common.Add($end)
        }
        if ($Left[$i + 1] -lt $Right[$j + 1]) { $i += 2 } else { $j += 2 }
    }
    return , $common.ToArray()
}

function Get-IntervalDifference {
    <#
    .SYNOPSIS
        What the left set holds and the right one does not.
    #>
    [OutputType([int[]])]
    param(
        [Parameter(Mandatory)] [AllowEmptyCollection()] [int[]] $Left,
        [Parameter(Mandatory)] [AllowEmptyCollection()] [int[]] $Right
    )

    $rest = New-Object 'System.Collections.Generic.List[int]'
    $j = 0
    for ($i = 0; $i -lt $Left.Length; $i += 2) {
        $first = $Left[$i]
        $end = $Left[$i + 1]
        while ($j -lt $Right.Length -and $Right[$j + 1] -le $first) { $j += 2 }
        # An interval of the right set may reach into the next one of the left.
        for ($k = $j; $k -lt $Right.Length -and $Right[$k] -lt $end; $k += 2) {
            if ($Right[$k] -gt $first) {
                $rest.Add($first)
                $rest.Add($Right[$k])
            }
            $first = $Right[$k + 1]
        }
        if ($first -lt $end) {
            $rest.Add($first)
            $rest.Add($end)
        }
    }
    return , $rest.ToArray()
}

Export-ModuleMember -Function Join-Interval, Get-IntervalIntersection, Get-IntervalDifference
