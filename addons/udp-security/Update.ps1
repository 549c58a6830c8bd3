# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Adapts the udp-security addon to what changed in the cluster.

.DESCRIPTION
K2s runs it while another addon is enabled or disabled. Adds addresses that the cluster has now and the policy does not know; says
nothing, and never fails: the policy that is in force stays so. The version stays the one that is deployed, also where the addon's
folder has another; where its chart is no longer there, the log says so, and nothing is added.

.EXAMPLE
powershell <installation folder>\addons\udp-security\Update.ps1
#>

try {
    Import-Module (Join-Path $PSScriptRoot 'udp-security.module.psm1') -ErrorAction Stop
    if (Test-UdpSecurity) { $null = Update-UdpSecurity }
} catch {
    $problem = "The addresses of addon 'udp-security' were not updated: $($_.Exception.Message)"
    if (Get-Command -Name Write-Log -ErrorAction SilentlyContinue) { Write-Log $problem }
}
