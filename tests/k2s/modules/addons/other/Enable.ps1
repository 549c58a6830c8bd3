# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

<#
.SYNOPSIS
Another addon, of those that have all enabled addons adapt themselves when they are switched.
#>
param([switch] $ShowLogs, [switch] $EncodeStructuredOutput, [string] $MessageType)

Import-Module "$PSScriptRoot/../../lib/modules/k2s/k2s.infra.module/k2s.infra.module.psm1"
Import-Module "$PSScriptRoot/../addons.module.psm1"

Initialize-Logging -ShowLogs:$ShowLogs
Update-Addons -AddonName 'other'
Add-AddonToSetupJson -Addon ([pscustomobject] @{ Name = 'other' })
Send-ToCli -MessageType $MessageType -Message @{ Error = $null }
