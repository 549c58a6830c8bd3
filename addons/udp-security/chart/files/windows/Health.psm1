# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Check, Status, Denials and Metrics: whether the firewall enforces exactly this pod's policy. All look for themselves.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Firewall', 'Node', 'State', 'Common', 'Metrics') {
    Import-Module (Join-Path $PSScriptRoot "$module.psm1")
}

function Invoke-Check {
    <#
    .SYNOPSIS
        One line: in force, or why not; the exit code.
    #>
    [OutputType([int])]
    param([Parameter(Mandatory)] [hashtable] $Agent)

    $reason = Get-Reason -Agent $Agent
    if ($reason) {
        # A change of rules in progress looks like this, too.
        Start-Sleep -Milliseconds 500
        $reason = Get-Reason -Agent $Agent
    }
    if ($reason) {
        Write-Line -Text "not in force: $(Get-Line -Text $reason)"
        return 1
    }
    Write-Line -Text "in force: policy $($Agent.Generation), mode $($Agent.Policy.mode)"
    return 0
}

function Invoke-Status {
    <#
    .SYNOPSIS
        One JSON object; the exit code.
    #>
    [OutputType([int])]
    param([Parameter(Mandatory)] [hashtable] $Agent)

    $reason = Get-Reason -Agent $Agent
    $policy = @{ version = $null; mode = $null; scope = $null }
    $denyAction = $null
    $owner = $null
    $profiles = @()
    $notGoverned = @()
    $memory = @{ AppliedAt = $null; ApplySeconds = $null; Heals = 0 }
    try {
        $memory = Read-State -Folder $Agent.State
        Read-Policy -Agent $Agent
        $policy = $Agent.Policy
        # Windows Firewall knows no other.
        $denyAction = 'drop'
        $seen = Get-FirewallState -MarksOnly
        $owner = Get-TextOrNull -Text (Get-Owner -Seen $seen)
        $effective = @(Get-EffectiveProfile)
        $notGoverned = @(Get-NotGoverned -Profiles $effective -NodeIP $Agent.NodeIP)
        $profiles = @(foreach ($found in $effective) {
                [ordered] @{
                    name                    = $found.Name
                    enabled                 = $found.Enabled -eq 'True'
                    defaultInboundAction    = $found.DefaultInboundAction
                    defaultOutboundAction   = $found.DefaultOutboundAction
                    allowLocalFirewallRules = $found.AllowLocalFirewallRules -ne 'False'
                }
            })
    } catch {
        if (-not $reason) { $reason = "the firewall cannot be asked: $($_.Exception.Message)" }
    }
    $status = [ordered] @{
        schemaVersion = 1
        os            = 'windows'
        backend       = 'windows-firewall'
        backendReason = $null
        node          = Get-TextOrNull -Text $Agent.Node
        version       = $policy.version
        generation    = Get-TextOrNull -Text $Agent.Generation
        owner         = $owner
        self          = Get-TextOrNull -Text $Agent.Uid
        mode          = $policy.mode
        denyAction    = $denyAction
        scope         = $policy.scope
        healthy       = -not $reason
        reason        = Get-TextOrNull -Text $reason
        appliedAt     = $memory.AppliedAt
        applySeconds  = $memory.ApplySeconds
        heals         = [int] $memory.Heals
        notGoverned   = $notGoverned
        cache         = $null
        # Windows counts neither what a rule allowed nor what one denied.
        counters      = [ordered] @{ rules = @(); denied = @{} }
        deniedFlows   = $null
        deniedPorts   = $null
        profiles      = $profiles
        services      = @(foreach ($found in Get-FirewallService) { [ordered] @{ name = $found.Name; status = $found.Status } })
    }
    Write-Line -Text (ConvertTo-Json -InputObject $status -Depth 5 -Compress)
    return 0
}

function Invoke-DenialReport {
    <#
    .SYNOPSIS
        One JSON object that says that Windows does not tell what it denies; the exit code.
    #>
    [OutputType([int])]
    param([Parameter(Mandatory)] [hashtable] $Agent)

    Write-Line -Text (ConvertTo-Json -Compress -InputObject ([ordered] @{
                schemaVersion = 1
                os            = 'windows'
                node          = Get-TextOrNull -Text $Agent.Node
                mode          = if (Test-Policy -Agent $Agent) { $Agent.Policy.mode } else { $null }
                deniedFlows   = $null
                deniedPorts   = $null
            }))
    return 0
}

function Invoke-MetricsReport {
    <#
    .SYNOPSIS
        The metrics of a look of its own; the exit code.
    #>
    [OutputType([int])]
    param([Parameter(Mandatory)] [hashtable] $Agent)

    $enforced = -not (Get-Reason -Agent $Agent)
    $null = Test-Policy -Agent $Agent
    $text = Get-MetricsText -Agent $Agent -Memory (Read-State -Folder $Agent.State) -Enforced $enforced
    Write-Line -Text $text.TrimEnd()
    return 0
}

function Test-Policy {
    # Whether this pod has a policy that can be read.
    [OutputType([bool])]
    param([hashtable] $Agent)

    try {
        Read-Policy -Agent $Agent
        return $true
    } catch {
        Write-Debug "no policy: $_"
        return $false
    }
}

function Get-TextOrNull {
    param([AllowNull()] [string] $Text)

    if ($Text) { return $Text }
    return $null
}

function Get-Reason {
    # Why the firewall does not enforce exactly this pod's policy; an empty text when it does.
    [OutputType([string])]
    param([hashtable] $Agent)

    try {
        if (Test-Flag -Folder $Agent.State -Name 'released') {
            return 'the rules were removed on request (delete this pod to have them back)'
        }
        $memory = Read-State -Folder $Agent.State
        $reasons = @(Get-StoppedService)
        # While they do not run, nothing else can be asked.
        if (-not $reasons) { $reasons = @(Get-Obstacle -NodeIP $Agent.NodeIP; Get-RuleReason -Agent $Agent -Memory $memory) }
        # What the running agent met explains what is seen here.
        if ($reasons -and $memory.Reason -and $memory.Reason -ne ($reasons -join '; ')) {
            $reasons = @($memory.Reason) + $reasons
        }
        return @($reasons | Select-Object -Unique) -join '; '
    } catch {
        return "the firewall cannot be asked: $($_.Exception.Message)"
    }
}

function Get-RuleReason {
    # What is wrong with the rules and their owner.
    [OutputType([string])]
    param([hashtable] $Agent, [hashtable] $Memory)

    $seen = Get-FirewallState
    $owner = Get-Owner -Seen $seen
    if ($owner -ne $Agent.Uid) {
        # Before its first apply a pod knows best itself what keeps it.
        if (-not $Memory.Claimed) {
            if ($Memory.Reason) { return $Memory.Reason }
            return 'no policy was applied yet'
        }
        if ($owner) { return "superseded: pod $owner owns this node now" }
        'nobody owns this node: the rules or their owner''s mark are gone (the agent puts them back at its next look)'
    }
    Read-Wanted -Agent $Agent -KeysOnly
    $difference = Get-Difference -Wanted $Agent.Wanted -Seen $seen
    if ($difference) { "$difference (the agent mends it at its next look)" }
    Get-Idleness -Seen $seen
}

Export-ModuleMember -Function Invoke-Check, Invoke-Status, Invoke-DenialReport, Invoke-MetricsReport
