# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

#Requires -RunAsAdministrator

<#
.SYNOPSIS
Removes the udp-security addon's rules from this host after K2s was uninstalled.

.DESCRIPTION
K2s itself removes only its own group of firewall rules, and the agent that would remove ours went with the cluster. Never fails.

.EXAMPLE
powershell <installation folder>\addons\hooks\udp-security.AfterUninstall.ps1
#>

try {
    Remove-NetFirewallRule -Group 'udp-security' -ErrorAction Stop
} catch {
    # That is how it says that there is no such rule.
    if ($_.FullyQualifiedErrorId -notlike 'CmdletizationQuery_NotFound*') {
        Write-Output ("The firewall rules of addon 'udp-security' may still be on this host ($($_.Exception.Message)). " +
            'Remove them by: Remove-NetFirewallRule -Group udp-security')
    }
}
