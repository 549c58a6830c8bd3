# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Enables the udp-security addon as a backup says.

.DESCRIPTION
K2s runs it instead of Enable.ps1 before Restore.ps1. A backup that cannot be read enables nothing: the defaults would be another
policy. Addresses that the cluster has now are added to the backup's CIDRs.

.PARAMETER BackupDir
Folder that the backup was written to.

.PARAMETER ShowLogs
Shows all logs in the terminal.

.PARAMETER Config
Object whose members Mode, Values and Timeout win over the backup.

.PARAMETER EncodeStructuredOutput
Encodes the result for the CLI.

.PARAMETER MessageType
Message type of the encoded result.

.EXAMPLE
powershell <installation folder>\addons\udp-security\EnableForRestore.ps1 -BackupDir C:\Temp\udp-security-backup
#>
Param(
    [parameter(Mandatory = $false, HelpMessage = 'Folder that the backup was written to')]
    [string] $BackupDir,
    [parameter(Mandatory = $false, HelpMessage = 'Show all logs in the terminal')]
    [switch] $ShowLogs = $false,
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
    Send-ToCli -MessageType $MessageType -Message @{ Error = (New-Error -Code 'addon-restore-failed' -Message $message) }
    return
}

Initialize-Logging -ShowLogs:$ShowLogs

$failure = $null
$folder = Join-Path ([System.IO.Path]::GetTempPath()) "udp-security-$([guid]::NewGuid())"
try {
    try {
        $wanted = Read-Backup -Folder $BackupDir
        $null = New-Item -ItemType Directory -Path $folder
        if (-not $wanted.ContainsKey('Values')) {
            # Without a file, a release that is there already would keep its own values.
            $wanted.Values = Join-Path $folder 'defaults.yaml'
            $null = New-Item -ItemType File -Path $wanted.Values
        } elseif (-not (Test-SystemAvailability -Structured)) {
            $wanted.Values = Write-RestoreValue -Values $wanted.Values -Folder $folder
        }
    } catch {
        $failure = ConvertTo-AddonError -Record $_ -Code 'addon-restore-failed'
    }
    if (-not $failure) {
        $options = @{ ShowLogs = $ShowLogs; EncodeStructuredOutput = $EncodeStructuredOutput; MessageType = $MessageType }
        if ($Config) { $options.Config = $Config }
        # Answers the CLI itself, also where the system is not available.
        & (Join-Path $PSScriptRoot 'Enable.ps1') @options @wanted
        return
    }
} finally {
    Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
}

if ($EncodeStructuredOutput) {
    Send-ToCli -MessageType $MessageType -Message @{ Error = $failure }
    return
}
Write-Log $failure.Message -Error
exit 1
