# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Addresses of both families on one axis. Set algebra runs on ranks, small integers that stand for the places where some CIDR of
# the policy begins or ends; only the result is written as addresses again.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# .NET Framework does not load it by itself.
Add-Type -AssemblyName System.Numerics

$script:One = [System.Numerics.BigInteger]::One
# IPv6 begins where IPv4 ends.
$script:Six = [System.Numerics.BigInteger]::Pow(2, 32)
$script:End = $script:Six + [System.Numerics.BigInteger]::Pow(2, 128)
# All that can be a remote end: without loopback, and without :: and ::1, with which no IPv6 range of a firewall rule may begin or
# end (MS-FASP, section 2.2.10).
$script:Universe = @(
    [System.Numerics.BigInteger]::Zero, [System.Numerics.BigInteger]::new(127 * 16777216L)
    [System.Numerics.BigInteger]::new(128 * 16777216L), $script:Six
    ($script:Six + 2), $script:End
)

function ConvertFrom-Cidr {
    <#
    .SYNOPSIS
        The places on the axis where an address or CIDR begins and where it has ended.
    #>
    [OutputType([System.Numerics.BigInteger[]])]
    param([Parameter(Mandatory)] [string] $Text)

    $parts = $Text.Split('/')
    $bytes = [System.Net.IPAddress]::Parse($parts[0]).GetAddressBytes()
    $bits = 8 * $bytes.Length
    # BigInteger reads the lowest byte first; a last byte of zero keeps it positive.
    [Array]::Reverse($bytes)
    $first = [System.Numerics.BigInteger]::new([byte[]] ($bytes + [byte] 0))
    if ($bits -eq 128) { $first += $script:Six }
    $length = $bits
    if ($parts.Length -eq 2) { $length = [int] $parts[1] }
    return , @($first, ($first + [System.Numerics.BigInteger]::Pow(2, $bits - $length)))
}

function ConvertTo-AddressText {
    <#
    .SYNOPSIS
        The address at a place of the axis.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [System.Numerics.BigInteger] $Place)

    $size = 4
    if ($Place -ge $script:Six) {
        $Place -= $script:Six
        $size = 16
    }
    $bytes = $Place.ToByteArray()
    [Array]::Resize([ref] $bytes, $size)
    [Array]::Reverse($bytes)
    return [System.Net.IPAddress]::new($bytes).ToString()
}

function Get-Axis {
    <#
    .SYNOPSIS
        The axis on which all the given CIDRs can be told apart.
    .OUTPUTS
        Places (sorted, BigInteger), Ranks (CIDR text to its flat pair of ranks), Universe (the ranks of all that can be an end
        of a flow), Texts (a cache).
    #>
    [OutputType([hashtable])]
    param([Parameter(Mandatory)] [AllowEmptyCollection()] [string[]] $Cidrs)

    $ends = @{}
    $places = New-Object 'System.Collections.Generic.HashSet[System.Numerics.BigInteger]'
    foreach ($place in $script:Universe) { $null = $places.Add($place) }
    foreach ($cidr in $Cidrs) {
        if (-not $ends.ContainsKey($cidr)) {
            $pair = ConvertFrom-Cidr -Text $cidr
            $ends[$cidr] = $pair
            $null = $places.Add($pair[0])
            $null = $places.Add($pair[1])
        }
    }
    $sorted = New-Object 'System.Numerics.BigInteger[]' $places.Count
    $places.CopyTo($sorted)
    [Array]::Sort($sorted)
    $rankOf = New-Object 'System.Collections.Generic.Dictionary[System.Numerics.BigInteger, int]'
    for ($i = 0; $i -lt $sorted.Length; $i++) { $rankOf[$sorted[$i]] = $i }
    $ranks = @{}
    foreach ($cidr in $ends.Keys) {
        $pair = $ends[$cidr]
        $ranks[$cidr] = [int[]] @($rankOf[$pair[0]], $rankOf[$pair[1]])
    }
    return @{
        Places   = $sorted
        Ranks    = $ranks
        Universe = [int[]] @(foreach ($place in $script:Universe) { $rankOf[$place] })
        Texts    = @{}
    }
}

function ConvertTo-AddressRange {
    <#
    .SYNOPSIS
        Intervals of an axis in the form that comes back from the firewall as it was given: single addresses and ranges.
    #>
    [OutputType([string[]])]
    param(
        [Parameter(Mandatory)] [hashtable] $Axis,
        [Parameter(Mandatory)] [AllowEmptyCollection()] [int[]] $Intervals
    )

    $texts = $Axis.Texts
    $places = $Axis.Places
    $ranges = New-Object 'System.Collections.Generic.List[string]'
    for ($i = 0; $i -lt $Intervals.Length; $i += 2) {
        $first = 2 * $Intervals[$i]
        $last = 2 * $Intervals[$i + 1] - 1
        if (-not $texts.ContainsKey($first)) { $texts[$first] = ConvertTo-AddressText -Place $places[$Intervals[$i]] }
        if (-not $texts.ContainsKey($last)) {
            $texts[$last] = ConvertTo-AddressText -Place ($places[$Intervals[$i + 1]] - $script:One)
        }
        $range = $texts[$first]
        if ($texts[$last] -ne $range) { $range += '-' + $texts[$last] }
        $ranges.Add($range)
    }
    return , $ranges.ToArray()
}

Export-ModuleMember -Function ConvertFrom-Cidr, ConvertTo-AddressText, Get-Axis, ConvertTo-AddressRange
