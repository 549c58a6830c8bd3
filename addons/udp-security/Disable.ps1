# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Disables the udp-security addon.

.DESCRIPTION
Uninstalls the agents, waits until they have removed their rules, and removes what is left on the control plane and on this host.

.PARAMETER ShowLogs
Shows all logs in the terminal.

.PARAMETER EncodeStructuredOutput
Encodes the result for the CLI.

.PARAMETER MessageType
Message type of the encoded result.

.EXAMPLE
powershell <installation folder>\addons\udp-security\Disable.ps1
#>
Param(
    [parameter(Mandatory = $false, HelpMessage = 'Show all logs in the terminal')]
    [switch] $ShowLogs = $false,
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
    Send-ToCli -MessageType $MessageType -Message @{ Error = (New-Error -Code 'addon-disable-failed' -Message $message) }
    return
}

Initialize-Logging -ShowLogs:$ShowLogs

$failure = $null
try {
    $failure = Get-SystemError
    if (-not $failure) {
        if ((Test-UdpSecurity) -or (Test-Leftover)) {
            Disable-UdpSecurity
        } else {
            $message = "Addon 'udp-security' is already disabled, nothing to do."
            $failure = New-Error -Severity Warning -Code (Get-ErrCodeAddonAlreadyDisabled) -Message $message
        }
    }
} catch {
    $failure = ConvertTo-AddonError -Record $_ -Code 'addon-disable-failed'
}

if ($EncodeStructuredOutput) {
    Send-ToCli -MessageType $MessageType -Message @{ Error = $failure }
    return
}
if ($failure) {
    Write-Log $failure.Message -Error
    exit 1
}
