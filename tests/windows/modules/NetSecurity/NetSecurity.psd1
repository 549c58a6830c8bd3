# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

@{
    RootModule        = 'NetSecurity.psm1'
    ModuleVersion     = '2.0.0.0'
    GUID              = 'c2f1f1de-2f4b-4cf1-9d3a-4a5f0a0d7f52'
    Description       = 'A fake of the cmdlets for the firewall of Windows, for tests.'
    FunctionsToExport = @(
        'Get-NetFirewallRule', 'New-NetFirewallRule', 'Set-NetFirewallRule', 'Remove-NetFirewallRule',
        'Get-NetFirewallPortFilter', 'Get-NetFirewallAddressFilter', 'Get-NetFirewallApplicationFilter',
        'Get-NetFirewallServiceFilter', 'Get-NetFirewallInterfaceFilter', 'Get-NetFirewallInterfaceTypeFilter',
        'Get-NetFirewallSecurityFilter', 'Get-NetFirewallProfile')
    CmdletsToExport   = @()
    AliasesToExport   = @()
    VariablesToExport = @()
}
