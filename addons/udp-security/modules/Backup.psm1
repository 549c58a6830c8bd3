# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# A backup: backup.json with how to enable the addon again, and values.yaml where a user gave values.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Common', 'Facts', 'Release') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

$script:Manifest = 'backup.json'
$script:File = 'values.yaml'

function Write-Backup {
    <#
    .SYNOPSIS
        Writes a backup into a folder. backup.json comes last: without it, a backup is none.
    #>
    [OutputType([void])]
    param([Parameter(Mandatory)] [string] $Folder)

    $null = New-Item -ItemType Directory -Path $Folder -Force
    # Its absolute path: .NET's working directory is not PowerShell's.
    $Folder = (Get-Item -LiteralPath $Folder -Force).FullName
    $manifest = Join-Path $Folder $script:Manifest
    if (Test-Path -LiteralPath $manifest) { Remove-Item -LiteralPath $manifest -Force }
    $values = Get-OwnValue
    $files = @()
    if (@($values.Rest.PSObject.Properties).Count) {
        $files = @($script:File)
        Write-Text -Path (Join-Path $Folder $script:File) -Text (ConvertTo-Json -InputObject $values.Rest -Depth 50)
    }
    $enableParams = [ordered] @{}
    if ($values.Mode) { $enableParams.mode = $values.Mode }
    if ($files) { $enableParams.values = $script:File }
    $backup = [ordered] @{
        k2sVersion   = Get-ConfigProductVersion
        addon        = 'udp-security'
        files        = $files
        createdAt    = Get-Date -Format 'o'
        enableParams = $enableParams
    }
    Write-Text -Path $manifest -Text (ConvertTo-Json -InputObject $backup -Depth 5)
}

function Get-OwnValue {
    <#
    .SYNOPSIS
        The release's values that are the user's: Mode, and the Rest without addresses that are this cluster's own anyway.
    #>
    [OutputType([hashtable])]
    param()

    $rest = Get-ReleaseValue
    if ($null -eq $rest) { $rest = [pscustomobject] @{} }
    $mode = Get-Field $rest 'mode'
    $rest.PSObject.Properties.Remove('mode')
    $cluster = Get-Field $rest 'cluster'
    if ($null -ne $cluster) {
        $facts = Get-ClusterAddition -Known (Get-ChartCluster -Chart (Get-ChartPath)) -Fact (Get-ClusterFact)
        foreach ($key in $facts.Keys) {
            if (-not (Compare-Object -ReferenceObject $facts[$key] -DifferenceObject @(Get-Field $cluster $key))) {
                $cluster.PSObject.Properties.Remove($key)
            }
        }
        if (-not @($cluster.PSObject.Properties).Count) { $rest.PSObject.Properties.Remove('cluster') }
    }
    return @{ Mode = $mode; Rest = $rest }
}

function Read-Backup {
    <#
    .SYNOPSIS
        How to enable the addon as it was: a hashtable of Enable.ps1's parameters Mode and Values, each if it was given.
        Throws when the folder holds no backup of this addon, or a damaged one.
    #>
    [OutputType([hashtable])]
    param([Parameter(Mandatory)] [AllowEmptyString()] [string] $Folder)

    if (-not $Folder -or -not (Test-Path -LiteralPath (Join-Path $Folder $script:Manifest))) {
        throw "$script:Manifest not found in '$Folder' (name a folder that a backup of this addon was written to)"
    }
    try {
        $backup = ConvertFrom-Json -InputObject (Get-Content -Raw -LiteralPath (Join-Path $Folder $script:Manifest))
    } catch {
        throw "$script:Manifest in '$Folder' is damaged: $($_.Exception.Message)"
    }
    $addon = "$(Get-Field $backup 'addon')"
    if ($addon -ne 'udp-security') { throw "$script:Manifest in '$Folder' belongs to addon '$addon', not to 'udp-security'" }
    $parameters = @{}
    $mode = Get-Field $backup 'enableParams', 'mode'
    if ($null -ne $mode) {
        if ('enforce', 'audit' -cnotcontains $mode) { throw "$script:Manifest in '$Folder' is damaged: '$mode' is no mode" }
        $parameters.Mode = $mode
    }
    $listed = @(Get-Field $backup 'files')
    $values = Get-Field $backup 'enableParams', 'values'
    if ($null -ne $values -or $listed) {
        # No other file is ever written, and none outside the folder may be read.
        if ($values -ne $script:File) { throw "$script:Manifest in '$Folder' is damaged: it does not name $script:File" }
        $parameters.Values = Join-Path $Folder $script:File
        if (-not (Test-Path -LiteralPath $parameters.Values -PathType Leaf)) { throw "$script:File not found in '$Folder'" }
    }
    return $parameters
}

Export-ModuleMember -Function Write-Backup, Read-Backup
