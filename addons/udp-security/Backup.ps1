# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Backs up the udp-security addon.

.DESCRIPTION
Writes the mode and the values that the user gave, wherever they were given. Not backed up are counters, and addresses that the
addon adds to the policy in this cluster anyway.

.PARAMETER BackupDir
Folder to write to.

.PARAMETER ShowLogs
Shows all logs in the terminal.

.PARAMETER EncodeStructuredOutput
Encodes the result for the CLI.

.PARAMETER MessageType
Message type of the encoded result.

.EXAMPLE
powershell <installation folder>\addons\udp-security\Backup.ps1 -BackupDir C:\Temp\udp-security-backup
#>
Param(
    [parameter(Mandatory = $true, HelpMessage = 'Folder to write to')]
    [string] $BackupDir,
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
    Send-ToCli -MessageType $MessageType -Message @{ Error = (New-Error -Code 'addon-backup-failed' -Message $message) }
    return
}

Initialize-Logging -ShowLogs:$ShowLogs

$failure = $null
try {
    $failure = Get-SystemError
    if (-not $failure -and -not (Test-UdpSecurity)) {
        $message = "Addon 'udp-security' is not enabled. Enable it before running backup."
        $failure = New-Error -Code 'addon-not-enabled' -Message $message
    }
    if (-not $failure) {
        Write-Log "Backing up addon 'udp-security'" -Console
        Write-Backup -Folder $BackupDir
    }
} catch {
    $failure = ConvertTo-AddonError -Record $_ -Code 'addon-backup-failed'
}

if ($EncodeStructuredOutput) {
    Send-ToCli -MessageType $MessageType -Message @{ Error = $failure }
    return
}
if ($failure) {
    Write-Log $failure.Message -Error
    exit 1
}
