# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

@{
    RootModule        = 'FakeWindows.psm1'
    ModuleVersion     = '1.0'
    GUID              = '5b7a2c0e-6a52-4f0f-9d0c-0d7c5f3c9a11'
    Description       = 'A fake Windows for tests: its state in one file, its services and its event log.'
    FunctionsToExport = @('Get-Service', 'Get-NetIPAddress', 'Get-WinEvent', 'Invoke-FakeCmdlet', 'New-FakeError',
        'Stop-FakeCmdlet', 'Save-FakeRule')
    CmdletsToExport   = @()
    AliasesToExport   = @()
    VariablesToExport = @()
}
