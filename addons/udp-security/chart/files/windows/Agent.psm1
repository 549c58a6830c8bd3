# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The agent's commands, and what all of them know: a hashtable `Agent`.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Watch', 'Health', 'Removal', 'Serve') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

function Invoke-Agent {
    <#
    .SYNOPSIS
        Runs one command; its exit code.
    #>
    [OutputType([int])]
    param(
        [Parameter(Mandatory)] [ValidateSet('Run', 'Check', 'Status', 'Denials', 'Metrics', 'Serve', 'Remove')]
        [string] $Command,
        [switch] $Stopping,
        # The folder that holds `config` and `state`.
        [Parameter(Mandatory)] [string] $Root
    )

    $hash = "$env:UDP_SECURITY_POLICY_SHA256"
    $agent = @{
        Config         = Join-Path $Root 'config'
        State          = Join-Path $Root 'state'
        # Whether this code is the pod's own copy: what is mounted may be another pod's.
        Adopted        = $PSScriptRoot -eq (Join-Path (Join-Path $Root 'state') 'adopted')
        Uid            = "$env:UDP_SECURITY_POD_UID"
        Release        = "$env:UDP_SECURITY_RELEASE"
        Hash           = $hash
        Generation     = $hash.Substring(0, [Math]::Min(12, $hash.Length))
        OnStop         = "$env:UDP_SECURITY_ON_STOP"
        Poll           = [double] $(if ($env:UDP_SECURITY_POLL_SECONDS) { $env:UDP_SECURITY_POLL_SECONDS } else { 60 })
        Node           = "$env:UDP_SECURITY_NODE_NAME"
        NodeIP         = "$env:UDP_SECURITY_NODE_IP"
        # Where the node's metrics are to be had; 0: nowhere.
        MetricsPort    = [int] "$env:UDP_SECURITY_METRICS_PORT"
        # As in policy.json, and the firewall rules that it becomes; see Read-Policy and Read-Wanted.
        Policy         = $null
        Wanted         = $null
        # What this pass found in the firewall, if it is as wanted, and whether the last one found another owner.
        Seen           = $null
        Foreign        = $false
        # The failure that was logged last, and the one of this pass.
        Said           = $null
        Failure        = $null
        OwnerGoneSince = $null
        # The last event in the firewall's log that the agent has taken into account, and whether this pass changed anything.
        LastChange     = 0
        Changed        = $false
        # What the running agent remembers; see Read-State.
        Memory         = $null
        # Whether it was said that the event log cannot be read, that the state folder, that the metrics cannot be written.
        Blind          = $false
        Forgetful      = $false
        Mute           = $false
    }
    switch ($Command) {
        'Run' { return Invoke-Run -Agent $agent }
        'Check' { return Invoke-Check -Agent $agent }
        'Status' { return Invoke-Status -Agent $agent }
        'Denials' { return Invoke-DenialReport -Agent $agent }
        'Metrics' { return Invoke-MetricsReport -Agent $agent }
        'Serve' { return Invoke-Serve -Agent $agent }
        'Remove' { return Invoke-Remove -Agent $agent -Stopping:$Stopping }
    }
}

Export-ModuleMember -Function Invoke-Agent
