# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# A backup: backup.json with how to enable the addon again, and values.yaml where a user gave values.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Common', 'Json', 'Facts', 'Release') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

$script:Manifest = 'backup.json'
$script:File = 'values.yaml'
# The member of backup.json that has the file's SHA-256. Backups of version 0.1.0 may lack it.
$script:Sum = 'valuesSha256'

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
    $path = Join-Path $Folder $script:File
    if (@($values.Rest.PSObject.Properties).Count) {
        $files = @($script:File)
        Write-Text -Path $path -Text (ConvertTo-Json -InputObject $values.Rest -Depth 50)
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
    if ($files) { $backup[$script:Sum] = (Get-FileHash -LiteralPath $path -Algorithm SHA256).Hash }
    Write-Text -Path $manifest -Text (ConvertTo-Json -InputObject $backup -Depth 5)
}

function Get-OwnValue {
    <#
    .SYNOPSIS
        The release's values that are the user's: Mode, and the Rest without addresses that are this cluster's own anyway.
    .DESCRIPTION
        Nothing tells the addresses that the addon added from a user's, but that the cluster has them, so those of a node that
        has left count as a user's. (A record of its own would have to be right after every change with Helm, rollback and
        upgrade of K2s: where it was not, a user's CIDR would be lost unseen.)
    #>
    [OutputType([hashtable])]
    param()

    $rest = Get-ReleaseValue
    if ($null -eq $rest) { $rest = [pscustomobject] @{} }
    $mode = Get-Field $rest 'mode'
    $rest.PSObject.Properties.Remove('mode')
    $cluster = Get-Field $rest 'cluster'
    if ($null -ne $cluster) {
        $defaults = Get-ChartCluster -Chart (Get-ChartPath)
        $facts = Get-ClusterAddition -Known $defaults -Fact (Get-ClusterFact)
        foreach ($key in @($facts.Keys | Where-Object { $cluster.PSObject.Properties[$_] })) {
            $given = @(Get-Field $defaults $key)
            $own = @(Get-Field $cluster $key | Where-Object { $given -contains $_ -or $facts[$key] -notcontains $_ })
            $untouched = @($facts[$key] | Where-Object { $given -contains $_ })
            if (($own -join ' ') -eq ($untouched -join ' ')) {
                $cluster.PSObject.Properties.Remove($key)
            } else {
                $cluster.$key = $own
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
        Assert-File -Path $parameters.Values -Sum (Get-Field $backup $script:Sum)
    }
    return $parameters
}

function Assert-File {
    <#
    .SYNOPSIS
        Throws when a values file is not the one that was backed up, or holds none, which Helm would take for the defaults.
    .PARAMETER Sum
        Its SHA-256; empty where the backup does not say.
    #>
    [OutputType([void])]
    param([string] $Path, [string] $Sum)

    if ($Sum -and (Get-FileHash -LiteralPath $Path -Algorithm SHA256).Hash -ne $Sum) {
        throw "'$Path' is not the file that was backed up (if you changed it yourself, take $script:Sum out of $script:Manifest)"
    }
    # Without comments, blanks and YAML's marks of a document.
    $content = (Read-Text -Path $Path) -replace '(?m)#.*$' -replace '---|\.\.\.|\s'
    if ('', 'null', '~', '{}' -contains $content) { throw "'$Path' is damaged: it has no values" }
}

function Read-Text {
    # A file's text, UTF-8 also without a byte order mark, which Windows PowerShell's own cmdlets cannot.
    [OutputType([string])]
    param([string] $Path)

    return [System.IO.File]::ReadAllText((Get-Item -LiteralPath $Path -Force).FullName)
}

function Write-RestoreValue {
    <#
    .SYNOPSIS
        Returns the path of a values file with a backup's values, whose CIDRs cover this cluster's addresses, too.
    .DESCRIPTION
        Nodes may have come since: an agent whose own address is missing would refuse the policy. CIDRs that the backup does
        not give are the addon's to find, as always.
    .PARAMETER Values
        The backup's file, which is returned where nothing is missing.
    .PARAMETER Folder
        Folder to write another into.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [string] $Values, [Parameter(Mandatory)] [string] $Folder)

    try {
        $wanted = ConvertFrom-CasedJson -Text (Read-Text -Path $Values)
    } catch {
        # YAML that somebody wrote into it, or damage: Helm reads it, and says what is wrong.
        return $Values
    }
    $cluster = Get-Field $wanted 'cluster'
    $keys = @('podCIDRs', 'serviceCIDRs', 'nodeCIDRs' | Where-Object { $null -ne $cluster -and $cluster.PSObject.Properties[$_] })
    if (-not $keys) { return $Values }
    $facts = Get-ClusterFact
    $given = @{}
    foreach ($key in $keys) { $given[$key] = $facts[$key] }
    try {
        $addition = Get-ClusterAddition -Known $cluster -Fact $given -KeepAll
    } catch {
        # Something in it is no address: again Helm's to say.
        return $Values
    }
    if (-not $addition.Count) { return $Values }
    foreach ($key in $addition.Keys) { $cluster.$key = $addition[$key] }
    $path = Join-Path $Folder 'restored.yaml'
    Write-Text -Path $path -Text (ConvertTo-Json -InputObject $wanted -Depth 50)
    return $path
}

Export-ModuleMember -Function Write-Backup, Read-Backup, Write-RestoreValue
