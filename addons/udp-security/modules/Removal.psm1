# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# That nothing stays on the nodes. Agents remove their rules when they end; what they could not, is removed here.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Common', 'Agents') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

$script:Table = 'inet udp_security'
$script:List = "sudo nft list table $script:Table 2>&1"

function Wait-Removal {
    <#
    .SYNOPSIS
        Waits until no agent's pod is left on a node that is ready, and drops the pods of the other nodes, which it names.
    .DESCRIPTION
        A pod that does not end in time is dropped as well: what it leaves behind is removed afterwards.
    #>
    [OutputType([void])]
    param([Parameter(Mandatory)] [int] $Timeout)

    $deadline = [datetime]::UtcNow.AddSeconds($Timeout)
    $ready = @(Get-ClusterNode | Where-Object { $_.Ready } | ForEach-Object { $_.Name })
    $pods = @(Get-AgentPod)
    while (($pods | Where-Object { $ready -contains $_.Node }) -and [datetime]::UtcNow -lt $deadline) {
        Start-Sleep -Seconds 1
        $pods = @(Get-AgentPod)
    }
    if (-not $pods) { return }
    $names = ($pods | ForEach-Object { $_.Node } | Select-Object -Unique) -join ', '
    Write-Log ("The agents on these nodes did not end: $names. Where their rules are still in force when the node is back, run " +
        "'nft delete table $script:Table' (Linux) or 'Remove-NetFirewallRule -Group udp-security' (Windows) there") -Console
    Remove-AgentPod -Pod @($pods | ForEach-Object { $_.Name })
}

function Clear-ControlPlane {
    <#
    .SYNOPSIS
        Deletes our table on the control plane, if it is there. Throws when it stays.
    #>
    [OutputType([void])]
    param()

    $found = Get-Table
    if ($found.Success) {
        Write-Log 'Removing the rules that the agent left on the control plane' -Console
        $null = Invoke-CmdOnControlPlaneViaSSHKey -CmdToExecute "sudo nft delete table $script:Table" -IgnoreErrors
        $found = Get-Table
        if ($found.Success) { throw "The table '$script:Table' on the control plane could not be deleted (run this again)" }
    }
    # nft's words for a table that does not exist; anything else is no proof that it doesn't.
    $said = @($found.Output | ForEach-Object { "$_" }) -join ' '
    if ($said -notmatch 'No such file or directory') {
        Write-Log "Whether the control plane is free of rules is not known ($said). To be sure, run there: $script:List" -Console
    }
}

function Get-Table {
    # What listing our table on the control plane comes to: Success and Output.
    return Invoke-CmdOnControlPlaneViaSSHKey -CmdToExecute $script:List -IgnoreErrors
}

function Clear-WindowsHost {
    <#
    .SYNOPSIS
        Removes our group of rules from this host's Windows Firewall, if there is one. Throws when it stays.
    #>
    [OutputType([void])]
    param()

    if (-not (Test-HostRule)) { return }
    Write-Log 'Removing the rules that the agent left on this host' -Console
    Remove-NetFirewallRule -Group 'udp-security' -ErrorAction Stop
    if (Test-HostRule) { throw 'The firewall rules of group udp-security on this host could not be removed (run this again)' }
}

function Test-HostRule {
    <#
    .SYNOPSIS
        Whether this host's Windows Firewall has rules of our group.
    #>
    [OutputType([bool])]
    param()

    try {
        return [bool] @(Get-NetFirewallRule -Group 'udp-security' -ErrorAction Stop).Count
    } catch {
        # That is how it says that there is none. A cmdlet that is not found is another matter.
        if ($_.FullyQualifiedErrorId -like 'CmdletizationQuery_NotFound*') { return $false }
        throw
    }
}

function Test-NodeRule {
    <#
    .SYNOPSIS
        Whether rules of ours are on this host or on the control plane. One that does not answer is taken for free of them.
    #>
    [OutputType([bool])]
    param()

    return (Test-HostRule) -or (Get-Table).Success
}

Export-ModuleMember -Function Wait-Removal, Clear-ControlPlane, Clear-WindowsHost, Test-NodeRule
