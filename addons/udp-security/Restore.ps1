# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Restores the udp-security addon.

.DESCRIPTION
EnableForRestore.ps1, which K2s runs before, has rolled the policy of the backup out: this only makes sure of it.

.PARAMETER BackupDir
Folder that the backup was written to.

.PARAMETER ShowLogs
Shows all logs in the terminal.

.PARAMETER EncodeStructuredOutput
Encodes the result for the CLI.

.PARAMETER MessageType
Message type of the encoded result.

.EXAMPLE
powershell <installation folder>\addons\udp-security\Restore.ps1 -BackupDir C:\Temp\udp-security-backup
#>
Param(
    [parameter(Mandatory = $true, HelpMessage = 'Folder that the backup was written to')]
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
    Send-ToCli -MessageType $MessageType -Message @{ Error = (New-Error -Code 'addon-restore-failed' -Message $message) }
    return
}

Initialize-Logging -ShowLogs:$ShowLogs

$failure = $null
try {
    $failure = Get-SystemError
    if (-not $failure) {
        Write-Log "Restoring addon 'udp-security'" -Console
        Confirm-Restore -Folder $BackupDir
    }
} catch {
    $failure = ConvertTo-AddonError -Record $_ -Code 'addon-restore-failed'
}

if ($EncodeStructuredOutput) {
    Send-ToCli -MessageType $MessageType -Message @{ Error = $failure }
    return
}
if ($failure) {
    Write-Log $failure.Message -Error
    exit 1
}
