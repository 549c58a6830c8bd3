# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Gets the status of the udp-security addon.

.DESCRIPTION
K2s runs it while the system is up and the addon enabled. Nodes that could not be asked, or did not answer, are named.

.EXAMPLE
powershell <installation folder>\addons\udp-security\Get-Status.ps1
#>

try {
    Import-Module (Join-Path $PSScriptRoot 'udp-security.module.psm1') -ErrorAction Stop
} catch {
    $message = "Addon 'udp-security' is damaged: $($_.Exception.Message) (import the addon again)"
    return , @(@{ Name = 'IsStatusKnown'; Value = $false; Okay = $false; Message = $message })
}

return , @(Get-StatusProperty)
