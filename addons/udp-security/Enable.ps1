# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Enables the udp-security addon.

.DESCRIPTION
Rolls the agents out to the cluster's nodes, waits until the policy is in force on all nodes that are ready, and proves that
cluster DNS still answers. When any of that fails, the state before is back. A release that is there already, after an upgrade of
K2s for example, keeps its values unless -Values is given.

.PARAMETER ShowLogs
Shows all logs in the terminal.

.PARAMETER Mode
enforce denies what no rule allows; audit lets it pass and counts it. When it is not given, the values decide.

.PARAMETER Values
Path of a Helm values file with the policy.

.PARAMETER Timeout
Seconds to wait until the nodes that are ready have the policy in force.

.PARAMETER Config
Object whose members Mode, Values and Timeout win over the parameters.

.PARAMETER EncodeStructuredOutput
Encodes the result for the CLI.

.PARAMETER MessageType
Message type of the encoded result.

.EXAMPLE
powershell <installation folder>\addons\udp-security\Enable.ps1

.EXAMPLE
powershell <installation folder>\addons\udp-security\Enable.ps1 -Mode audit -Values C:\policies\ward.yaml
#>
Param(
    [parameter(Mandatory = $false, HelpMessage = 'Show all logs in the terminal')]
    [switch] $ShowLogs = $false,
    [parameter(Mandatory = $false, HelpMessage = 'What happens to UDP packets that no rule allows')]
    [ValidateSet('enforce', 'audit')]
    [string] $Mode = 'enforce',
    [parameter(Mandatory = $false, HelpMessage = 'Path of a Helm values file with the policy')]
    [string] $Values = '',
    [parameter(Mandatory = $false, HelpMessage = 'Seconds to wait until the nodes that are ready have the policy in force')]
    [ValidateRange(10, 3600)]
    [int] $Timeout = 300,
    [parameter(Mandatory = $false, HelpMessage = 'Object whose members Mode, Values and Timeout win over the parameters')]
    [pscustomobject] $Config,
    [parameter(Mandatory = $false, HelpMessage = 'Encode the result for the CLI')]
    [switch] $EncodeStructuredOutput,
    [parameter(Mandatory = $false, HelpMessage = 'Message type of the encoded result')]
    [string] $MessageType
)

try {
    Import-Module (Join-Path $PSScriptRoot 'udp-security.module.psm1') -ErrorAction Stop
} catch {
    # Nothing of ours can be called; K2s's own modules may be there.
    if (-not $EncodeStructuredOutput -or -not (Get-Command -Name New-Error -ErrorAction Ignore)) { throw }
    $message = "Addon 'udp-security' is damaged: $($_.Exception.Message) (import the addon again)"
    Send-ToCli -MessageType $MessageType -Message @{ Error = (New-Error -Code 'addon-enable-failed' -Message $message) }
    return
}

Initialize-Logging -ShowLogs:$ShowLogs

$failure = $null
$isEnabled = $false
try {
    $failure = Get-SystemError
    $isEnabled = -not $failure -and (Test-UdpSecurity)
    if ($isEnabled) {
        $message = "Addon 'udp-security' is already enabled, nothing to do."
        $failure = New-Error -Severity Warning -Code (Get-ErrCodeAddonAlreadyEnabled) -Message $message
    }
    if (-not $failure) {
        $asked = @{ Values = $Values; Timeout = $Timeout }
        # The values have a mode, too; only one that was asked for wins over it.
        if ($PSBoundParameters.ContainsKey('Mode')) { $asked.Mode = $Mode }
        foreach ($name in 'Mode', 'Values', 'Timeout') {
            if ($Config -and $Config.PSObject.Properties[$name]) { $asked[$name] = $Config.$name }
        }
        Enable-UdpSecurity @asked
    }
} catch {
    $failure = ConvertTo-AddonError -Record $_ -Code (Get-ErrCodeAddonEnableFailed)
}

if ($EncodeStructuredOutput) {
    Send-ToCli -MessageType $MessageType -Message @{ Error = $failure }
    return
}
if ($failure) {
    Write-Log $failure.Message -Error
    if ($isEnabled) { exit 1 }
    # An upgrade of K2s takes an exit code for success.
    throw $failure.Message
}
