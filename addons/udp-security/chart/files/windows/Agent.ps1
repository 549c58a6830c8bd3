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

# The ConfigMap is mounted as `config`, an emptyDir beside it as `state`. What is mounted follows the ConfigMap, which may still
# be an earlier pod's, or a later one's by now. So Run copies what has this pod's hash, and that copy does the work.
$root = Split-Path -Parent $PSScriptRoot
if ((Split-Path -Leaf $PSScriptRoot) -eq 'adopted') { $root = Split-Path -Parent $root }
$state = Join-Path $root 'state'
$adopted = Join-Path $state 'adopted'
if ($PSScriptRoot -ne $adopted) {
    Import-Module (Join-Path $PSScriptRoot 'State.psm1')
    $hash = "$env:UDP_SECURITY_POLICY_SHA256"
    while ($true) {
        try {
            $why = if ($Command -eq 'Run') {
                Copy-Bundle -From $PSScriptRoot -Folder $state -Hash $hash
            } else {
                Test-Bundle -Folder $adopted -Hash $hash
            }
        } catch {
            $why = "$_"
        }
        if (-not $why) {
            Remove-Module -Name State
            & (Join-Path $adopted 'Agent.ps1') @PSBoundParameters
            exit $LASTEXITCODE
        }
        # It has nothing to hand out before Run has its copy. The others say what is the matter.
        if ($Command -ne 'Serve') { break }
        Start-Sleep -Seconds 1
    }
}

Import-Module (Join-Path $PSScriptRoot 'Agent.psm1')
exit (Invoke-Agent -Command $Command -Stopping:$Stopping -Root $root)
