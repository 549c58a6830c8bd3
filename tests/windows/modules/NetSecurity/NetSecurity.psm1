# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# No $ErrorActionPreference: it would make the cmdlets' errors end their callers' scripts.
Set-StrictMode -Version Latest

Import-Module -Name (Join-Path -Path $PSScriptRoot -ChildPath '../FakeWindows/FakeWindows.psd1')

foreach ($part in 'Type', 'Store', 'Value', 'Rule', 'Change', 'Filter', 'Profile') {
    . (Join-Path -Path $PSScriptRoot -ChildPath "$part.ps1")
}
