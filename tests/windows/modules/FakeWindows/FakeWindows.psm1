# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# No $ErrorActionPreference: it would make the cmdlets' errors end their callers' scripts.
Set-StrictMode -Version Latest

foreach ($part in 'Error', 'State', 'Call', 'Service', 'IPAddress', 'Event') {
    . (Join-Path -Path $PSScriptRoot -ChildPath "$part.ps1")
}
