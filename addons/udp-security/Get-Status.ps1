# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Gets the status of the udp-security addon.

.DESCRIPTION
K2s runs it while the system is up and the addon enabled.

.EXAMPLE
powershell <installation folder>\addons\udp-security\Get-Status.ps1
#>

Import-Module (Join-Path $PSScriptRoot 'udp-security.module.psm1')

return , @(Get-StatusProperty)
