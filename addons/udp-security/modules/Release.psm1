# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The Helm release, which is the one place where the values in use are kept.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Common', 'Facts') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

# The addon's folder.
$script:Root = Split-Path -Parent $PSScriptRoot
$script:Release = @('udp-security', '-n', 'udp-security')
# Whoever changed the objects last, their fields become Helm's: K2s's upgrade re-applies them with kubectl.
$script:Forced = @('--server-side=true', '--force-conflicts')

function Get-ChartPath {
    <#
    .SYNOPSIS
        The packaged chart of this addon's version. An import never deletes older ones, which therefore may lie beside it.
    #>
    [OutputType([string])]
    param()

    $manifest = Get-Content -Raw -LiteralPath (Join-Path $script:Root 'addon.manifest.yaml')
    if ($manifest -notmatch '(?m)^\s*version:\s*"([^"]+)"') {
        throw 'addon.manifest.yaml has no version (import the addon again)'
    }
    $path = Join-Path (Join-Path (Join-Path $script:Root 'manifests') 'chart') "udp-security-$($Matches[1]).tgz"
    if (-not (Test-Path -LiteralPath $path)) { throw "The chart '$path' is missing (import the addon again)" }
    return $path
}

function Get-DeployedChartPath {
    <#
    .SYNOPSIS
        The packaged chart of the version that is deployed, which may be older than the addon's folder.
    #>
    [OutputType([string])]
    param()

    $revision = Get-Revision
    if (-not $revision.Deployed) { throw 'No revision of the release is deployed' }
    $path = Join-Path (Join-Path (Join-Path $script:Root 'manifests') 'chart') "$($revision.Chart).tgz"
    if (Test-Path -LiteralPath $path) { return $path }
    throw ("The chart that is deployed, '$path', is missing (upgrade the release to the chart of the addon's version with " +
        "'helm upgrade', or disable the addon and enable it again)")
}

function Get-Revision {
    <#
    .SYNOPSIS
        Where the release stands: Latest revision and the one that is Deployed, each 0 for none, the latter's Chart with its
        version; Pending when Helm was ended in the middle of its work.
    #>
    [OutputType([hashtable])]
    param()

    $revision = @{ Latest = 0; Deployed = 0; Chart = ''; Pending = $false }
    $history = Invoke-Tool -Name helm -Params (@('history') + $script:Release + '-o', 'json')
    if (-not $history.Success) {
        if ($history.Said -match 'release: not found') { return $revision }
        throw "'helm history' failed: $($history.Said)"
    }
    $entries = ConvertFrom-Json -InputObject $history.Text
    foreach ($entry in $entries) {
        $revision.Latest = [int] $entry.revision
        $revision.Pending = $entry.status -like 'pending-*' -or $entry.status -eq 'uninstalling'
        if ($entry.status -ne 'deployed') { continue }
        $revision.Deployed = [int] $entry.revision
        $revision.Chart = $entry.chart
    }
    return $revision
}

function Get-ReleaseValue {
    <#
    .SYNOPSIS
        The release's values as an object: those that were given, or with -All those in effect.
    #>
    param([switch] $All)

    $options = @()
    if ($All) { $options = @('--all') }
    return Invoke-Utf8 { Get-ToolJson -Name helm -Params (@('get', 'values') + $script:Release + $options) }
}

function Invoke-Utf8 {
    <#
    .SYNOPSIS
        Runs a block whose programs write UTF-8, as Helm does; Windows PowerShell reads what the console's code page says.
    #>
    param([scriptblock] $Block)

    $encoding = [System.Console]::OutputEncoding
    try {
        [System.Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false
    } catch {
        Write-Log "The console's encoding stays as it is: $($_.Exception.Message)"
    }
    try {
        & $Block
    } finally {
        if ([System.Console]::OutputEncoding -ne $encoding) { [System.Console]::OutputEncoding = $encoding }
    }
}

function Get-ChartCluster {
    <#
    .SYNOPSIS
        The chart's default cluster.* values, an object.
    #>
    param([Parameter(Mandatory)] [string] $Chart)

    return ConvertFrom-Json -InputObject (Get-ToolText -Name helm -Params 'show', 'values', $Chart, '--jsonpath', '{.cluster}')
}

function Write-Addition {
    <#
    .SYNOPSIS
        Helm's arguments for changed cluster.* values, which it writes into the folder; none for none.
    #>
    [OutputType([string[]])]
    param([Parameter(Mandatory)] [hashtable] $Addition, [Parameter(Mandatory)] [string] $Folder)

    if (-not $Addition.Count) { return }
    $path = Join-Path $Folder 'cluster.yaml'
    Write-Text -Path $path -Text (ConvertTo-Json -InputObject @{ cluster = $Addition } -Depth 4)
    return '-f', $path
}

function Get-ValueArgument {
    <#
    .SYNOPSIS
        Helm's arguments for the values wanted.
    .DESCRIPTION
        The user's file goes over the cluster's facts. Without one, a release that is there already keeps the values it was
        given: so they come through an upgrade of K2s.
    .PARAMETER Exists
        Whether a revision is deployed. One that failed has no values to keep.
    .PARAMETER Mode
        The mode that the user asked for; empty when none was.
    .PARAMETER Values
        The user's file; empty for none.
    #>
    [OutputType([string[]])]
    param(
        [Parameter(Mandatory)] [string] $Chart,
        [Parameter(Mandatory)] [string] $Folder,
        [Parameter(Mandatory)] [bool] $Exists,
        [string] $Mode,
        [string] $Values
    )

    $fact = Get-ClusterFact
    if ($Exists -and -not $Values) {
        Write-Log 'The release is there already: its values are kept' -Console
        $known = Get-Field (Get-ReleaseValue -All) 'cluster'
        '--reset-then-reuse-values'
        Write-Addition -Addition (Get-ClusterAddition -Known $known -Fact $fact -KeepAll) -Folder $Folder
    } else {
        Write-Addition -Addition (Get-ClusterAddition -Known (Get-ChartCluster -Chart $Chart) -Fact $fact) -Folder $Folder
        # Without it, Helm keeps the values of any revision before where the new ones are empty.
        '--reset-values'
        if ($Values) {
            # Helm splits paths at commas.
            $copy = Get-CopyPath -Folder $Folder
            Copy-Item -LiteralPath $Values -Destination $copy
            '-f', $copy
        }
    }
    if ($Mode) { '--set', "mode=$Mode" }
}

function Get-CopyPath {
    # Where in the folder the copy of the user's file is.
    [OutputType([string])]
    param([string] $Folder)

    return Join-Path $Folder 'values.yaml'
}

function Get-Rendering {
    <#
    .SYNOPSIS
        The objects that Helm renders of the chart with these arguments, a text. Throws what Helm says when it cannot.
    .PARAMETER Values
        The user's file, by whose name errors call the copy in Folder.
    #>
    [OutputType([string])]
    param(
        [Parameter(Mandatory)] [string] $Chart,
        [Parameter(Mandatory)] [AllowEmptyCollection()] [string[]] $Arguments,
        [Parameter(Mandatory)] [string] $Folder,
        [string] $Values
    )

    # Only an upgrade knows those.
    $rendering = @($Arguments | Where-Object { $_ -notlike '--reset-*' })
    $result = Invoke-Tool -Name helm -Params (@('template', 'udp-security', $Chart, '-n', 'udp-security') + $rendering)
    if ($result.Success) { return $result.Text }
    $said = $result.Said.Replace((Get-CopyPath -Folder $Folder), $Values)
    throw (Get-Failure -Code (Get-ErrCodeInvalidParameter) -Message "The values are not valid: $said")
}

function Install-Release {
    <#
    .SYNOPSIS
        Installs or upgrades the release. Does not wait: Helm's own wait would undo everything for one node that is off.
    #>
    param([Parameter(Mandatory)] [string] $Chart, [Parameter(Mandatory)] [AllowEmptyCollection()] [string[]] $Arguments)

    $options = @('--install', '--take-ownership') + $script:Forced + $Arguments
    $null = Get-ToolText -Name helm -Params (@('upgrade', $script:Release[0], $Chart) + $script:Release[1..2] + $options)
}

function Undo-Release {
    <#
    .SYNOPSIS
        Goes back to a revision.
    #>
    param([Parameter(Mandatory)] [int] $Revision)

    $what = @('rollback', $script:Release[0], "$Revision") + $script:Release[1..2]
    $null = Get-ToolText -Name helm -Params ($what + $script:Forced)
}

function Uninstall-Release {
    <#
    .SYNOPSIS
        Uninstalls the release, if there is one.
    #>
    param()

    $null = Get-ToolText -Name helm -Params (@('uninstall') + $script:Release + '--ignore-not-found')
}

function Install-Namespace {
    <#
    .SYNOPSIS
        Creates the namespace with its pod security labels, or labels the one that is there.
    #>
    param()

    $manifest = Join-Path (Join-Path $script:Root 'manifests') '00-namespace.yaml'
    $null = Get-ToolText -Name kubectl -Params 'apply', '-f', $manifest
}

function Test-Namespace {
    <#
    .SYNOPSIS
        Whether the namespace is there.
    #>
    [OutputType([bool])]
    param()

    return [bool] (Get-ToolText -Name kubectl -Params 'get', 'namespace', 'udp-security', '--ignore-not-found')
}

function Uninstall-Namespace {
    <#
    .SYNOPSIS
        Deletes the namespace, if there is one, and waits until it is gone.
    #>
    param()

    $null = Get-ToolText -Name kubectl -Params 'delete', 'namespace', 'udp-security', '--ignore-not-found', '--timeout=120s'
}

Export-ModuleMember -Function Get-ChartPath, Get-DeployedChartPath, Get-Revision, Get-ReleaseValue, Get-ChartCluster,
    Write-Addition, Get-ValueArgument, Get-Rendering, Install-Release, Undo-Release, Uninstall-Release, Install-Namespace,
    Test-Namespace, Uninstall-Namespace
