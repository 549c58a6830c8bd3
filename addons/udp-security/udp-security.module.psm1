# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What the addon's scripts do, between checking the system and answering the CLI.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Global, as if each script did it: Update.ps1 runs inside K2s's own module, where a script's imports stay.
foreach ($module in 'infra', 'cluster', 'node') {
    $path = "lib/modules/k2s/k2s.$module.module/k2s.$module.module.psm1"
    Import-Module (Join-Path (Join-Path (Join-Path $PSScriptRoot '..') '..') $path) -Global
}
Import-Module (Join-Path (Join-Path $PSScriptRoot '..') 'addons.module.psm1') -Global
foreach ($module in 'Common', 'Facts', 'Release', 'Agents', 'Removal', 'Status', 'Backup') {
    Import-Module (Join-Path (Join-Path $PSScriptRoot 'modules') "$module.psm1")
}

$script:Addon = [pscustomobject] @{ Name = 'udp-security' }
$script:Hook = 'udp-security.AfterUninstall.ps1'

function Get-SystemError {
    <#
    .SYNOPSIS
        Why the addon cannot work on this system now, an error for the CLI; nothing when it can.
    #>
    param()

    Write-Log 'Checking cluster status' -Console
    $problem = Test-SystemAvailability -Structured
    if ($problem) { return $problem }
    if ((Get-SetupInfo).Name -ne 'k2s') {
        $message = "Addon 'udp-security' can only be used with the 'k2s' setup."
        return New-Error -Severity Warning -Code (Get-ErrCodeWrongSetupType) -Message $message
    }
}

function Test-UdpSecurity {
    <#
    .SYNOPSIS
        Whether K2s takes the addon for enabled.
    #>
    [OutputType([bool])]
    param()

    return [bool] (Test-IsAddonEnabled -Addon $script:Addon)
}

function ConvertTo-AddonError {
    <#
    .SYNOPSIS
        An error for the CLI. The whole text is in the log.
    .PARAMETER Record
        What was thrown.
    .PARAMETER Code
        The code of failures that do not have one of their own.
    #>
    param(
        [Parameter(Mandatory)] [System.Management.Automation.ErrorRecord] $Record,
        [Parameter(Mandatory)] [string] $Code
    )

    # What .NET threw is wrapped in what PowerShell says of the call.
    $cause = $Record.Exception.GetBaseException()
    Write-Log "$($cause.Message) $($Record.ScriptStackTrace)"
    $own = $cause.Data['code']
    if ($own) { $Code = $own }
    return New-Error -Code $Code -Message (Get-ShortText -Text $cause.Message)
}

function Enable-UdpSecurity {
    <#
    .SYNOPSIS
        Rolls the policy out, and takes it back when it does not come into force.
    .PARAMETER Mode
        The mode that the user asked for; empty when none was.
    .PARAMETER Values
        The user's values file; empty for none.
    .PARAMETER Timeout
        Seconds for the nodes that are ready.
    #>
    [OutputType([void])]
    param([string] $Mode, [string] $Values, [int] $Timeout)

    if ($Values) { $Values = Resolve-ValuesFile -Path $Values }
    $chart = Get-ChartPath
    $folder = Join-Path ([System.IO.Path]::GetTempPath()) "udp-security-$([guid]::NewGuid())"
    $null = New-Item -ItemType Directory -Path $folder
    try {
        $before = Get-StartingPoint
        $hadNamespace = Test-Namespace
        $options = @{ Chart = $chart; Folder = $folder; Exists = $before.Deployed -gt 0; Mode = $Mode; Values = $Values }
        $arguments = @(Get-ValueArgument @options)
        if ($Values) { $null = Get-Rendering -Chart $chart -Arguments $arguments -Folder $folder -Values $Values }
        Write-Log 'Installing the agents' -Console
        try {
            Install-Namespace
            Install-Release -Chart $chart -Arguments $arguments
            Write-Log 'Waiting until the policy is in force' -Console
            Wait-InForce -Timeout $Timeout -Os (Get-GovernedOs)
            $inEffect = Get-ReleaseValue -All
            if ((Get-Field $inEffect 'mode') -eq 'enforce') { Assert-ClusterDns }
            Copy-ScriptsToHooksDir -ScriptPaths @(Join-Path (Join-Path $PSScriptRoot 'hooks') $script:Hook)
            Add-AddonToSetupJson -Addon $script:Addon
        } catch {
            $undone = Undo-Enabling -Before $before -KeepNamespace $hadNamespace
            throw (Join-Sentence $_.Exception.Message, $undone -By "`n")
        }
    } finally {
        Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
    }
    try {
        Write-Summary -Values $inEffect
    } catch {
        Write-Log "What is in force now could not be summed up: $($_.Exception.Message)"
    }
}

function Resolve-ValuesFile {
    <#
    .SYNOPSIS
        The absolute path of a user's values file.
    #>
    [OutputType([string])]
    param([string] $Path)

    if (Test-Path -LiteralPath $Path -PathType Leaf) {
        $file = (Get-Item -LiteralPath $Path -Force).FullName
        if (-not (Test-Utf16 -Path $file)) { return $file }
        $message = "Values file '$Path' is UTF-16, which Helm cannot read (save it as UTF-8)"
        throw (Get-Failure -Code (Get-ErrCodeInvalidParameter) -Message $message)
    }
    $message = "Values file '$Path' not found (name a Helm values file that this host can read)"
    throw (Get-Failure -Code (Get-ErrCodeInvalidParameter) -Message $message)
}

function Test-Utf16 {
    <#
    .SYNOPSIS
        Whether a file begins with UTF-16's byte order mark, as what Windows PowerShell's '>' writes.
    #>
    [OutputType([bool])]
    param([string] $Path)

    $stream = [System.IO.File]::OpenRead($Path)
    try {
        $mark = @($stream.ReadByte(), $stream.ReadByte()) -join ' '
    } finally {
        $stream.Dispose()
    }
    return '255 254', '254 255' -contains $mark
}

function Get-StartingPoint {
    <#
    .SYNOPSIS
        Where the release stands (Get-Revision), after work that Helm did not end was taken back: it refuses any other until then.
    #>
    [OutputType([hashtable])]
    param()

    $revision = Get-Revision
    if (-not $revision.Pending) { return $revision }
    Write-Log 'Helm was ended in the middle of its work here: taking that back first' -Console
    if ($revision.Deployed) { Undo-Release -Revision $revision.Deployed } else { Uninstall-Release }
    return Get-Revision
}

function Undo-Enabling {
    <#
    .SYNOPSIS
        Brings the state before back; one sentence on how that went.
    #>
    [OutputType([string])]
    param([hashtable] $Before, [bool] $KeepNamespace)

    Write-Log 'Taking everything back' -Console
    $remnant = @()
    try {
        if ($Before.Deployed) {
            if ((Get-Revision).Latest -gt $Before.Latest) {
                Undo-Release -Revision $Before.Deployed
                Wait-InForce -Timeout 120 -Os (Get-GovernedOs)
            }
            return 'The policy that was in force before is in force again on all nodes that are ready'
        }
        $remnant = @(Clear-Everything)
        if (-not $KeepNamespace) { Uninstall-Namespace }
        Remove-ScriptsFromHooksDir -ScriptNames @($script:Hook)
        if ($remnant) { return Join-Sentence (@('Everything was taken back, but not on all nodes') + $remnant) }
        return 'Everything was taken back: no UDP traffic is denied'
    } catch {
        $failed = "Going back failed as well: $($_.Exception.Message)"
        return Join-Sentence (@($failed) + $remnant + "Run 'k2s addons disable udp-security'")
    }
}

function Clear-Everything {
    <#
    .SYNOPSIS
        Uninstalls the agents, whoever installed them, and makes sure that no rule stays. Returns what Wait-Removal says of nodes
        where some may.
    #>
    [OutputType([string])]
    param()

    $kept = @(Remove-KeptRule)
    Uninstall-Release
    Remove-AgentSet
    $remnant = Wait-Removal -Timeout 120 -Kept $kept
    try {
        Clear-NodeRule
    } catch {
        throw ((@($_.Exception.Message) + @($remnant)) -join "`n").Trim()
    }
    return $remnant
}

function Write-Summary {
    <#
    .SYNOPSIS
        Tells the user what is denied now, how to look, how to go back.
    #>
    [OutputType([void])]
    param($Values)

    $presets = @(Get-Field $Values 'presets' | ForEach-Object { $_.PSObject.Properties } | Where-Object { $_.Value })
    $systems = @(foreach ($os in Get-GovernedOs) {
            if (-not (Get-Field $Values $os, 'enabled')) { continue }
            "$(@{ linux = 'Linux'; windows = 'Windows' }[$os]) nodes (scope $(Get-Field $Values $os, 'scope'))"
        })
    $fate = "Denied now: every UDP flow that no rule allows, on $($systems -join ' and ')"
    if ((Get-Field $Values 'mode') -eq 'audit') {
        $fate = 'Mode audit: nothing is denied. Linux nodes count every UDP flow that no rule allows'
    }
    if (-not $systems) { $fate = 'Nothing is denied: linux.enabled and windows.enabled are both false' }
    $allowed = (@($presets | ForEach-Object { $_.Name }) -join ', ')
    $lines = @(
        'Installation of udp-security finished.'
        "$fate. TCP, ICMP and all other protocols are untouched"
        "Allowed: presets $allowed, and $(@(Get-Field $Values 'rules').Count) rule(s) of your own"
        "In force on each node, or why not; what was denied: 'k2s addons status udp-security'"
        "To go back: 'k2s addons disable udp-security'; to count without denying, enable it after that with '--mode audit'"
    )
    foreach ($line in $lines) { Write-Log $line -Console }
}

function Disable-UdpSecurity {
    <#
    .SYNOPSIS
        Uninstalls the agents, and removes what they left on the nodes. Works as often as it is run.
    #>
    [OutputType([void])]
    param()

    Write-Log 'Uninstalling the agents' -Console
    $remnant = Clear-Everything
    if ($remnant) { Write-Log $remnant -Console }
    Uninstall-Namespace
    Remove-ScriptsFromHooksDir -ScriptNames @($script:Hook)
    Remove-AddonFromSetupJson -Addon $script:Addon
    Write-Log 'Its rules and values are gone with it: a later enable starts from the defaults and its own --values' -Console
    Write-Log 'Uninstallation of udp-security finished' -Console
}

function Test-Leftover {
    <#
    .SYNOPSIS
        Whether anything of the addon is in the cluster, or of its rules on this host or the control plane.
    #>
    [OutputType([bool])]
    param()

    return (Test-Namespace) -or (Test-NodeRule)
}

function Update-UdpSecurity {
    <#
    .SYNOPSIS
        Adds addresses that the cluster got meanwhile to the policy's; changes nothing when it covers all. Asks nobody, waits for
        nothing: a rollout stops by itself at the first node that refuses. The chart stays the one that is deployed.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'K2s calls it without anybody to ask')]
    [OutputType([void])]
    param()

    $addition = Get-ClusterAddition -Known (Get-Field (Get-ReleaseValue -All) 'cluster') -Fact (Get-ClusterFact) -KeepAll
    if (-not $addition.Count) { return }
    $folder = Join-Path ([System.IO.Path]::GetTempPath()) "udp-security-$([guid]::NewGuid())"
    $null = New-Item -ItemType Directory -Path $folder
    try {
        $arguments = @('--reset-then-reuse-values') + (Write-Addition -Addition $addition -Folder $folder)
        Install-Release -Chart (Get-DeployedChartPath) -Arguments $arguments
    } finally {
        Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
    }
}

function Confirm-Restore {
    <#
    .SYNOPSIS
        Throws unless the policy of a backup, which EnableForRestore.ps1 has enabled, is in force.
    #>
    [OutputType([void])]
    param([Parameter(Mandatory)] [string] $Folder)

    $wanted = Read-Backup -Folder $Folder
    if (-not (Test-UdpSecurity)) {
        $message = "Addon 'udp-security' is not enabled. Enable it before running restore."
        throw (Get-Failure -Code 'addon-not-enabled' -Message $message)
    }
    $mode = Get-Field (Get-ReleaseValue -All) 'mode'
    if ($wanted.ContainsKey('Mode') -and $wanted.Mode -ne $mode) {
        throw "The mode is '$mode', not '$($wanted.Mode)' as in the backup (disable the addon and restore again)"
    }
    Assert-Policy -Wanted $wanted
    Wait-InForce -Timeout 120 -Os (Get-GovernedOs)
}

function Assert-Policy {
    <#
    .SYNOPSIS
        Throws unless the policy rolled out is the one that a backup's values make.
    .PARAMETER Wanted
        What Read-Backup returns.
    #>
    [OutputType([void])]
    param([hashtable] $Wanted)

    $chart = Get-ChartPath
    $folder = Join-Path ([System.IO.Path]::GetTempPath()) "udp-security-$([guid]::NewGuid())"
    $null = New-Item -ItemType Directory -Path $folder
    try {
        $place = @{ Chart = $chart; Folder = $folder }
        if ($Wanted['Values']) { $Wanted.Values = Write-RestoreValue -Values $Wanted.Values -Folder $folder }
        $arguments = @(Get-ValueArgument @place @Wanted -Exists $false)
        $rendering = Get-Rendering @place -Arguments $arguments -Values $Wanted['Values']
    } finally {
        Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
    }
    foreach ($set in @(Get-AgentSet -Os (Get-GovernedOs))) {
        # Helm renders the policy's hash; the set has its beginning.
        if ($rendering -match [regex]::Escape($set.Generation)) { continue }
        throw "The policy in $($set.Name) is not the backup's (disable the addon and restore again)"
    }
}

Export-ModuleMember -Function Get-SystemError, Test-UdpSecurity, ConvertTo-AddonError, Enable-UdpSecurity, Disable-UdpSecurity,
    Test-Leftover, Update-UdpSecurity, Confirm-Restore, Get-StatusProperty, Write-Backup, Read-Backup, Write-RestoreValue
