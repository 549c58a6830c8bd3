# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The cluster's own addresses: what the nodes really have, and what of it a policy's cluster.* values do not cover.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

Import-Module (Join-Path $PSScriptRoot 'Common.psm1')

function Get-ClusterFact {
    <#
    .SYNOPSIS
        The running cluster's addresses as CIDRs: a hashtable of podCIDRs, serviceCIDRs and nodeCIDRs.
    .DESCRIPTION
        Pods: the nodes' pod ranges. Services: the ServiceCIDR objects (Kubernetes 1.33 and newer; none before). Nodes: their
        internal addresses, each alone. Throws when the cluster does not tell its nodes.
    #>
    [OutputType([hashtable])]
    param()

    $fact = @{ podCIDRs = @(); serviceCIDRs = @(); nodeCIDRs = @() }
    foreach ($node in @(Get-Field (Get-ToolJson -Name kubectl -Params 'get', 'nodes') 'items')) {
        $fact.podCIDRs += @(Get-Field $node 'spec', 'podCIDRs')
        foreach ($address in @(Get-Field $node 'status', 'addresses')) {
            if ($address.type -ne 'InternalIP') { continue }
            $length = 32
            if ($address.address.Contains(':')) { $length = 128 }
            $fact.nodeCIDRs += "$($address.address)/$length"
        }
    }
    try {
        $services = Get-ToolJson -Name kubectl -Params 'get', 'servicecidrs'
        foreach ($service in @(Get-Field $services 'items')) { $fact.serviceCIDRs += @(Get-Field $service 'spec', 'cidrs') }
    } catch {
        if ($_.Exception.Message -notmatch "doesn't have a resource type") {
            Write-Log ("The cluster does not tell its service CIDRs, so the policy's own are taken (cluster.serviceCIDRs): " +
                $_.Exception.Message) -Console
        }
    }
    return $fact
}

function Get-ClusterAddition {
    <#
    .SYNOPSIS
        The cluster.* values that must change for all facts to be covered: a hashtable, empty when they already are.
    .PARAMETER Known
        The cluster.* values so far, an object.
    .PARAMETER Fact
        What Get-ClusterFact returns.
    .PARAMETER KeepAll
        Keep those known CIDRs, too, that hold nothing of this cluster's: a user may have written them.
    #>
    [OutputType([hashtable])]
    param(
        [Parameter(Mandatory)] [AllowNull()] $Known,
        [Parameter(Mandatory)] [hashtable] $Fact,
        [switch] $KeepAll
    )

    $addition = @{}
    foreach ($key in $Fact.Keys) {
        $old = @(Get-Field $Known $key)
        $missing = @($Fact[$key] | Where-Object { -not (Test-Covered -Cidr $_ -By $old) } | Select-Object -Unique)
        if (-not $missing) { continue }
        $kept = $old
        if (-not $KeepAll) {
            $kept = @(foreach ($candidate in $old) {
                    if ($Fact[$key] | Where-Object { Test-Covered -Cidr $_ -By $candidate }) { $candidate }
                })
        }
        $addition[$key] = @($kept + $missing)
    }
    return $addition
}

function Test-Covered {
    <#
    .SYNOPSIS
        Whether one of the CIDRs By holds all of Cidr.
    #>
    [OutputType([bool])]
    param([string] $Cidr, [AllowEmptyCollection()] [string[]] $By)

    $inner = ConvertTo-Prefix -Cidr $Cidr
    foreach ($candidate in $By) {
        $outer = ConvertTo-Prefix -Cidr $candidate
        if ($inner.Family -eq $outer.Family -and $inner.Bits.StartsWith($outer.Bits, [System.StringComparison]::Ordinal)) {
            return $true
        }
    }
    return $false
}

function ConvertTo-Prefix {
    <#
    .SYNOPSIS
        Family and the network's Bits as a text of 0 and 1, of a CIDR or an address.
    #>
    [OutputType([hashtable])]
    param([string] $Cidr)

    $address, $length = $Cidr -split '/', 2
    $parsed = [System.Net.IPAddress]::Parse($address)
    $bits = -join ($parsed.GetAddressBytes() | ForEach-Object { [System.Convert]::ToString($_, 2).PadLeft(8, '0') })
    if ($length) { $bits = $bits.Substring(0, [int] $length) }
    return @{ Family = $parsed.AddressFamily; Bits = $bits }
}

Export-ModuleMember -Function Get-ClusterFact, Get-ClusterAddition
