# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

<#
.SYNOPSIS
What `k2s addons status` runs.
#>
param([string] $Name, [string] $Directory, [switch] $EncodeStructuredOutput, [string] $MessageType)

Import-Module "$PSScriptRoot/../lib/modules/k2s/k2s.infra.module/k2s.infra.module.psm1"
Import-Module "$PSScriptRoot/addons.module.psm1"

Send-ToCli -MessageType $MessageType -Message (Get-AddonStatus -Name $Name -Directory $Directory)
