# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

<#
.SYNOPSIS
Runs a script for the CLI and sorts what it writes: what the console shows goes to the outputs, the rest nowhere.
#>
param([string] $Script)

$showLogs = $Script.Contains('-ShowLogs')
# A line of Write-Log begins so.
$stamp = '^\[\d{2}:\d{2}:\d{2}\]'

& { Invoke-Expression $Script } *>&1 | ForEach-Object {
    $isError = $_ -is [System.Management.Automation.ErrorRecord]
    $isLogged = "$_" -match $stamp
    if ($_ -is [string] -and $_.StartsWith('#pm#')) {
        $_
    } elseif ($isError -and ($showLogs -or -not $isLogged)) {
        [System.Console]::Error.WriteLine("$_")
    } elseif ($showLogs -or ($isLogged -and $_ -is [System.Management.Automation.InformationRecord])) {
        [System.Console]::Out.WriteLine("$_")
    }
}
