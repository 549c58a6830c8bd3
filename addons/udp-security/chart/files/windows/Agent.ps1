# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

<#
.SYNOPSIS
    The Windows agent: keeps the rule group `udp-security` of Windows Firewall equal to the policy beside this script.
.DESCRIPTION
    It runs in Windows PowerShell 5.1 as SYSTEM, and needs no network, no API server and nothing to install.
.PARAMETER Command
    Run     apply the policy, then watch it
    Check   exit 0 only if the firewall enforces exactly this pod's policy; one line says so, or why not
    Status  one JSON object (files/status.schema.json in the chart)
    Denials one JSON object: what was denied, which Windows cannot tell
    Metrics what Status tells in numbers, in Prometheus's text format
    Serve   hand out over HTTP the metrics of Run's last look: in a container of its own
    Remove  remove all that is ours, unless another pod owns it
.PARAMETER Stopping
    With Remove: the pod is about to end, and UDP_SECURITY_ON_STOP says what becomes of the rules.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [ValidateSet('Run', 'Check', 'Status', 'Denials', 'Metrics', 'Serve', 'Remove')]
    [string] $Command,
    [switch] $Stopping
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# The ConfigMap is mounted as `config`, an emptyDir beside it as `state`. A pod keeps to the agent it began with, as to its
# policy: what is mounted follows the ConfigMap, which may be a later pod's by now.
$root = Split-Path -Parent $PSScriptRoot
if ((Split-Path -Leaf $PSScriptRoot) -eq 'adopted') { $root = Split-Path -Parent $root }
$adopted = Join-Path (Join-Path $root 'state') 'adopted'
$agent = Join-Path $adopted 'Agent.ps1'
if ($PSScriptRoot -ne $adopted -and (Test-Path -LiteralPath $agent)) {
    Import-Module (Join-Path $PSScriptRoot 'State.psm1')
    # Not a copy that somebody has laid hands on.
    if (-not (Test-Bundle -Folder $adopted -Hash "$env:UDP_SECURITY_POLICY_SHA256")) {
        Remove-Module -Name State
        & $agent @PSBoundParameters
        exit $LASTEXITCODE
    }
}

Import-Module (Join-Path $PSScriptRoot 'Agent.psm1')
exit (Invoke-Agent -Command $Command -Stopping:$Stopping -Root $root)
