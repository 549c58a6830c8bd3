# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The fake of K2s's cluster module: kubectl, Helm, the state of the system.

Import-Module "$PSScriptRoot/../../../../FakeHost.psm1" -Global
Import-Module "$PSScriptRoot/../k2s.infra.module/k2s.infra.module.psm1"

function Invoke-Kubectl {
    <#
    .SYNOPSIS
    Runs kubectl. Success, and Output with standard error among it.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [array] $Params)
    ConvertTo-NativeResult -Answer (Invoke-FakeHost -Call 'kubectl' -With @{ Params = $Params })
}

function Invoke-Helm {
    <#
    .SYNOPSIS
    Runs Helm. Success, and Output with standard error among it.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([Parameter(Mandatory)] [array] $Params)
    ConvertTo-NativeResult -Answer (Invoke-FakeHost -Call 'helm' -With @{ Params = $Params })
}

function Wait-ForPodCondition {
    <#
    .SYNOPSIS
    Waits for pods that exist now to be ready or deleted. Throws when time is up.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [Parameter(Mandatory)] [string] $Label,
        [string] $Namespace = 'default',
        [ValidateSet('Ready', 'Deleted')] [string] $Condition = 'Ready',
        [int] $TimeoutSeconds = 60
    )
    $for = @{ Ready = 'condition=ready'; Deleted = 'delete' }[$Condition]
    $params = 'wait', 'pod', '-l', $Label, '-n', $Namespace, "--for=$for", "--timeout=${TimeoutSeconds}s"
    $result = Invoke-Kubectl -Params $params
    if (-not $result.Success) {
        throw "Pods '$Label' in '$Namespace' did not become $Condition`: $($result.Output)"
    }
    $true
}

function Get-SetupInfo {
    <#
    .SYNOPSIS
    What setup.json says of this K2s.
    #>
    [CmdletBinding()]
    param()
    $path = Get-SetupConfigFilePath
    if (-not (Test-Path -LiteralPath $path)) {
        return [pscustomobject] @{ Name = $null; Version = $null; Error = 'system-not-installed'; LinuxOnly = $false }
    }
    $setup = ConvertFrom-Json (Get-Content -Raw -LiteralPath $path)
    [pscustomobject] @{ Name = $setup.SetupType; Version = $setup.Version; Error = $null; LinuxOnly = $setup.LinuxOnly }
}

function Test-SystemAvailability {
    <#
    .SYNOPSIS
    Why the system can't be used, an error or its code; nothing when it can.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([switch] $Structured)
    $code = (Get-SetupInfo).Error
    if (-not $code -and -not (Invoke-FakeHost -Call 'Test-SystemAvailability')) {
        $code = Get-ErrCodeSystemNotRunning
    }
    if (-not $code) {
        return $null
    }
    if (-not $Structured) {
        return $code
    }
    New-Error -Severity Warning -Code $code -Message "K2s cannot be used now: $code."
}

Export-ModuleMember -Function Invoke-Kubectl, Invoke-Helm, Wait-ForPodCondition, Get-SetupInfo, Test-SystemAvailability
