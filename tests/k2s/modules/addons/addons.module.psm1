# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The fake of K2s's addons module: which addons are enabled (setup.json), their hooks, status and updates.

Import-Module "$PSScriptRoot/../lib/modules/k2s/k2s.infra.module/k2s.infra.module.psm1"
Import-Module "$PSScriptRoot/../lib/modules/k2s/k2s.cluster.module/k2s.cluster.module.psm1"

# Not $script:hooks: for a script that one of these functions runs, that is the script's own.
$hooks = Join-Path $PSScriptRoot 'hooks'

# Reads setup.json. A hashtable is no pscustomobject with a Name, so K2s throws at one.
function Get-Setup {
    param([Parameter(Mandatory)] $Addon)
    if (-not ($Addon | Get-Member -MemberType Properties -Name 'Name')) {
        throw "The addon has no property 'Name'"
    }
    ConvertFrom-Json (Get-Content -Raw -LiteralPath (Get-SetupConfigFilePath))
}

function Save-Setup {
    param([Parameter(Mandatory)] $Setup)
    ConvertTo-Json -InputObject $Setup -Depth 100 | Set-Content -Force -LiteralPath (Get-SetupConfigFilePath)
}

function Get-EnabledAddon {
    $setup = ConvertFrom-Json (Get-Content -Raw -LiteralPath (Get-SetupConfigFilePath))
    if ($setup.PSObject.Properties['EnabledAddons']) {
        $setup.EnabledAddons
    }
}

function Test-IsAddonEnabled {
    <#
    .SYNOPSIS
    Whether an addon is enabled.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [pscustomobject] $Addon)
    $null = Invoke-FakeHost -Call 'Test-IsAddonEnabled' -With @{ Name = $Addon.Name }
    $null = Get-Setup -Addon $Addon
    [bool] (Get-EnabledAddon | Where-Object { $_.Name -eq $Addon.Name })
}

function Add-AddonToSetupJson {
    <#
    .SYNOPSIS
    Notes an addon as enabled. Leaves one that is noted already as it is.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [pscustomobject] $Addon)
    $null = Invoke-FakeHost -Call 'Add-AddonToSetupJson' -With @{ Name = $Addon.Name }
    $setup = Get-Setup -Addon $Addon
    $enabled = @(Get-EnabledAddon)
    if ($enabled | Where-Object { $_.Name -eq $Addon.Name }) {
        return
    }
    $setup | Add-Member -Force -NotePropertyName EnabledAddons -NotePropertyValue @($enabled + $Addon)
    Save-Setup -Setup $setup
}

function Remove-AddonFromSetupJson {
    <#
    .SYNOPSIS
    Forgets that an addon is enabled. The last one takes the list with it.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [pscustomobject] $Addon)
    $null = Invoke-FakeHost -Call 'Remove-AddonFromSetupJson' -With @{ Name = $Addon.Name }
    $setup = Get-Setup -Addon $Addon
    $others = @(Get-EnabledAddon | Where-Object { $_.Name -ne $Addon.Name })
    $setup.PSObject.Properties.Remove('EnabledAddons')
    if ($others) {
        $setup | Add-Member -NotePropertyName EnabledAddons -NotePropertyValue $others
    }
    Save-Setup -Setup $setup
}

function Get-AddonConfig {
    <#
    .SYNOPSIS
    What setup.json holds of an addon; null when it is not enabled.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [string] $Name)
    Get-EnabledAddon | Where-Object { $_.Name -eq $Name } | Select-Object -First 1
}

function New-AddonStatusProperty {
    <#
    .SYNOPSIS
    A property of an addon's status that is okay or not.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [Parameter(Mandatory)] [string] $Name,
        [Parameter(Mandatory)] [object] $Value,
        [string] $SuccessMessage,
        [string] $FailureMessage
    )
    $okay = $Value -eq $true
    $message = $FailureMessage
    if ($okay) {
        $message = $SuccessMessage
    }
    @{ Name = $Name; Value = $Value; Okay = $okay; Message = $message }
}

function Copy-ScriptsToHooksDir {
    <#
    .SYNOPSIS
    Installs hooks.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [System.Collections.ArrayList] $ScriptPaths)
    $null = Invoke-FakeHost -Call 'Copy-ScriptsToHooksDir' -With @{ ScriptPaths = $ScriptPaths }
    $null = New-Item -Path $hooks -ItemType Directory -Force
    foreach ($path in $ScriptPaths) {
        if (-not (Test-Path -LiteralPath $path)) {
            Write-Warning "There is no hook '$path'."
            continue
        }
        Copy-Item -LiteralPath $path -Destination $hooks -Force
    }
}

function Remove-ScriptsFromHooksDir {
    <#
    .SYNOPSIS
    Removes hooks.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [System.Collections.ArrayList] $ScriptNames)
    $null = Invoke-FakeHost -Call 'Remove-ScriptsFromHooksDir' -With @{ ScriptNames = $ScriptNames }
    foreach ($name in $ScriptNames) {
        $path = Join-Path $hooks $name
        if (-not (Test-Path -LiteralPath $path)) {
            Write-Warning "There is no hook '$path'."
            continue
        }
        Remove-Item -LiteralPath $path -Force
    }
}

function Get-AddonStatus {
    <#
    .SYNOPSIS
    An addon's status for the CLI.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [string] $Directory)
    $status = @{ Error = $null }
    $status.Error = Test-SystemAvailability -Structured
    if ($status.Error) {
        return $status
    }
    $status.Enabled = Test-IsAddonEnabled -Addon ([pscustomobject] @{ Name = $Name })
    if ($status.Enabled) {
        $status.Props = & (Join-Path $Directory 'Get-Status.ps1')
    }
    $status
}

function Update-Addons {
    <#
    .SYNOPSIS
    Runs Update.ps1 of every other enabled addon, as ingress, security, storage and dicom do when they are switched.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [string] $AddonName)
    foreach ($addon in @(Get-EnabledAddon | Where-Object { $_.Name -ne $AddonName })) {
        $script = Join-Path (Join-Path $PSScriptRoot $addon.Name) 'Update.ps1'
        if (Test-Path -LiteralPath $script) {
            & $script
        }
    }
}

function Restore-Addons {
    <#
    .SYNOPSIS
    Enables addons again after an upgrade of K2s: each whose Enable.ps1 does not throw is called re-enabled.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [string[]] $Names)
    foreach ($name in $Names) {
        $script = Join-Path (Join-Path $PSScriptRoot $name) 'Enable.ps1'
        if (-not (Test-Path -LiteralPath $script)) {
            Write-Warning "Addon '$name' seems to be gone."
            continue
        }
        & $script
        Write-Output "Addon '$name' re-enabled."
    }
}

function Get-ErrCodeAddonAlreadyDisabled { 'addon-already-disabled' }

function Get-ErrCodeAddonAlreadyEnabled { 'addon-already-enabled' }

function Get-ErrCodeAddonEnableFailed { 'addon-enable-failed' }

function Get-ErrCodeAddonNotFound { 'addon-not-found' }

function Get-ErrCodeInvalidParameter { 'addon-invalid-parameter' }

Export-ModuleMember -Function Test-IsAddonEnabled, Add-AddonToSetupJson, Remove-AddonFromSetupJson, Get-AddonConfig,
    New-AddonStatusProperty, Copy-ScriptsToHooksDir, Remove-ScriptsFromHooksDir, Get-AddonStatus, Update-Addons, Restore-Addons,
    Get-ErrCodeAddonAlreadyDisabled, Get-ErrCodeAddonAlreadyEnabled, Get-ErrCodeAddonEnableFailed, Get-ErrCodeAddonNotFound,
    Get-ErrCodeInvalidParameter
