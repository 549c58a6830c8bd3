# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Run: applies the policy, then watches it.
#
# The node's owner is the pod whose uid stands in the description of a disabled rule of our group. Only the owner changes rules,
# and a pod becomes the owner by applying its policy. Looking and changing happen under a mutex of the whole machine, so that
# two pods of a rollout cannot both believe that they were first. A pod that lost the node stands by with a mark of its own, so
# that an owner who leaves can hand the rules over instead of removing them (a rollback).

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Address', 'Firewall', 'Node', 'State', 'Common', 'Metrics') {
    Import-Module (Join-Path $PSScriptRoot "$module.psm1")
}

# Seconds between two looks at the event log, at a request to stop, at the owner's mark.
$script:Tick = 2
# Seconds until the next pass when changes of others, which were none of ours, led to the last one.
$script:Calm = 10
# Firewall rules from which on a policy is worth a warning: each look asks Windows for all of them.
$script:Many = 1000

function Invoke-Run {
    <#
    .SYNOPSIS
        Guards the node until the pod is asked to stop; the exit code when it cannot.
    #>
    [OutputType([int])]
    param([Parameter(Mandatory)] [hashtable] $Agent)

    if (-not $Agent.Uid -or -not $Agent.Hash -or -not $Agent.Release) {
        Write-Entry -Agent $Agent -Level error -LogEvent 'bad-environment' -Message (
            'UDP_SECURITY_POD_UID, UDP_SECURITY_RELEASE or UDP_SECURITY_POLICY_SHA256 is not set (the chart sets them)')
        return 2
    }
    Write-Entry -Agent $Agent -Level info -LogEvent 'started' -Message "pod $($Agent.Uid)"
    # An earlier container of this pod may have been asked to stop; this one was not.
    Write-Flag -Folder $Agent.State -Name 'stopping' -Off
    $Agent.Memory = Read-State -Folder $Agent.State
    if (-not $Agent.Adopted) {
        Wait-Bundle -Agent $Agent
        # To start anew, and load that. A pod that ends does not.
        if (-not (Test-Flag -Folder $Agent.State -Name 'stopping')) { return 3 }
    }
    $calm = 0
    while (-not (Test-Flag -Folder $Agent.State -Name 'stopping')) {
        Read-LastChange -Agent $Agent
        Invoke-Pass -Agent $Agent
        Publish-MetricsText -Agent $Agent
        $told = Wait-Change -Agent $Agent -Calm $calm
        $calm = 0
        if ($told -and -not $Agent.Changed) { $calm = $script:Calm }
    }
    Publish-MetricsText -Agent $Agent
    Write-Entry -Agent $Agent -Level info -LogEvent 'stopped' -Message 'the pod ends'
    # With a container's first process all others end, the preStop hook that asked for this as well.
    while ($true) { Start-Sleep -Seconds 60 }
}

function Wait-Bundle {
    # This code may be another pod's, so it must not guard the node. Returns when this pod's own was copied, or the pod ends.
    param([hashtable] $Agent)

    while (-not (Test-Flag -Folder $Agent.State -Name 'stopping')) {
        try {
            $why = Copy-Bundle -From $Agent.Config -Folder $Agent.State -Hash $Agent.Hash
            if (-not $why) {
                Write-Failure -Agent $Agent -Level warn -LogEvent 'restarting' -Message (
                    'what was mounted when this container started was another pod''s, and is this pod''s now: the container ' +
                    'ends, and starts again with what is its own')
                return
            }
            Write-Failure -Agent $Agent -LogEvent 'foreign-policy' -Message $why
        } catch {
            Write-Failure -Agent $Agent -LogEvent 'not-applied' -Message (
                "a step failed, and what was denied stays denied: $($_.Exception.Message)")
        }
        Start-Sleep -Milliseconds (1000 * [Math]::Min($script:Tick, $Agent.Poll))
    }
}

function Invoke-Pass {
    # Looks and mends; whatever fails is said, and tried again at the next pass.
    param([hashtable] $Agent)

    $Agent.Failure = $null
    $Agent.Changed = $false
    $Agent.Seen = $null
    try {
        $why = Copy-Bundle -From $Agent.Config -Folder $Agent.State -Hash $Agent.Hash
        if ($why) {
            Write-Failure -Agent $Agent -LogEvent 'foreign-policy' -Message $why
            return
        }
        Read-OwnWanted -Agent $Agent
        $stopped = @(Get-StoppedService)
        if ($stopped) {
            Write-Failure -Agent $Agent -LogEvent 'no-firewall' -Message ($stopped -join '; ')
            return
        }
        Invoke-Alone -Agent $Agent -Block { Invoke-Reconcile -Agent $Agent }
        if ($Agent.Memory.Superseded) { return }
        # The rules are there all the same: they work as soon as the obstacle is gone.
        $obstacles = @(Get-Obstacle -NodeIP $Agent.NodeIP)
        if ($obstacles -and -not $Agent.Failure) {
            Write-Failure -Agent $Agent -LogEvent 'not-enforced' -Message ($obstacles -join '; ')
        }
        if (-not $Agent.Failure) {
            $Agent.Said = $null
            Write-Memory -Agent $Agent -Change @{ Reason = $null }
        }
    } catch {
        Write-Failure -Agent $Agent -LogEvent 'not-applied' -Message (
            "a step failed, and what was denied stays denied: $($_.Exception.Message)")
    }
}

function Read-OwnWanted {
    # Compiles this pod's policy, once, and leaves the result to the probes, which would take as long.
    param([hashtable] $Agent)

    if ($null -ne $Agent.Wanted) { return }
    Read-Wanted -Agent $Agent
    $keys = @(foreach ($rule in $Agent.Wanted) { Get-WantedKey -Rule $rule })
    Invoke-Remembering -Agent $Agent -Block { Write-RuleKey -Folder $Agent.State -Hash $Agent.Hash -Key $keys }
    if ($keys.Length -gt $script:Many) {
        Write-Entry -Agent $Agent -Level warn -LogEvent 'many-rules' -Message (
            "this policy becomes $($keys.Length) firewall rules, which makes applying them and each look slow (port ranges " +
            'inside each other, in rules that have a from and a to of their own, multiply: merge some)')
    }
}

function Invoke-Reconcile {
    # One step of the watch: brings the firewall to what it should hold. Call it alone.
    param([hashtable] $Agent)

    # The request may have come while this pod waited for its turn.
    if (Test-Flag -Folder $Agent.State -Name 'stopping') { return }
    $memory = $Agent.Memory
    $released = Test-Flag -Folder $Agent.State -Name 'released'
    $seen = Get-FirewallState -MarksOnly:($memory.Superseded -and -not $released)
    $owner = Get-Owner -Seen $seen
    $Agent.Foreign = $owner -and $owner -ne $Agent.Uid
    if ($released) {
        if ($owner -eq $Agent.Uid) { Clear-Firewall -Seen $seen }
        return
    }
    if ($memory.Superseded -or ($memory.Claimed -and $owner -and $owner -ne $Agent.Uid)) {
        Invoke-Standby -Agent $Agent -Seen $seen
        return
    }
    $Agent.OwnerGoneSince = $null
    if ($owner -and $owner -ne $Agent.Uid -and $seen.Owner.Release -ne $Agent.Release) {
        Write-Failure -Agent $Agent -LogEvent 'other-release' -Message (
            "Helm release $($seen.Owner.Release) guards this node, pod $owner owns its rules (uninstall one of the two; if " +
            'that release is gone, run on the node: Remove-NetFirewallRule -Group udp-security)')
        return
    }
    if (-not $memory.Claimed) {
        if (Test-Fit -Agent $Agent) { Invoke-Apply -Agent $Agent -Seen $seen -LogEvent 'applied' }
        return
    }
    $difference = @(
        if (-not $owner) { 'nobody owned this node' }
        Get-Difference -Wanted $Agent.Wanted -Seen $seen
    )
    if ($difference) {
        Invoke-Apply -Agent $Agent -Seen $seen -LogEvent 'healed' -Why ", undone: $($difference -join ', ')"
    } else {
        $Agent.Seen = $seen
    }
}

function Invoke-Standby {
    # Waits until the node needs this pod after all: its owner handed the rules over, or its mark has been gone for so long that
    # no owner can be left to heal it.
    param([hashtable] $Agent, [hashtable] $Seen)

    $owner = Get-Owner -Seen $Seen
    if ($owner -and $owner -ne $Agent.Uid) {
        $Agent.OwnerGoneSince = $null
        # No failure: in every rollout the older pod gets here.
        Write-Failure -Agent $Agent -Level info -LogEvent 'superseded' -Message "superseded: pod $owner owns this node now"
        Write-Memory -Agent $Agent -Change @{ Superseded = $true }
        if ($Seen.Standbys -notcontains $Agent.Uid) { Write-StandbyMark -Uid $Agent.Uid }
        return
    }
    if ($null -eq $Seen.Owner) {
        if ($null -eq $Agent.OwnerGoneSince) { $Agent.OwnerGoneSince = [System.Diagnostics.Stopwatch]::StartNew() }
        if ($Agent.OwnerGoneSince.Elapsed.TotalSeconds -le 2 * $Agent.Poll) {
            # Still superseded, as far as this pod can tell.
            $Agent.Failure = $Agent.Said
            return
        }
    }
    Invoke-Apply -Agent $Agent -Seen (Get-FirewallState) -LogEvent 'taken-over'
}

function Invoke-Apply {
    # Makes this pod's policy the node's, and looks whether it is. Call it alone.
    param([hashtable] $Agent, [hashtable] $Seen, [string] $LogEvent, [string] $Why = '')

    $watch = [System.Diagnostics.Stopwatch]::StartNew()
    $arguments = @{ Uid = $Agent.Uid; Release = $Agent.Release; Generation = $Agent.Generation }
    Sync-Firewall -Wanted $Agent.Wanted -Seen $Seen @arguments -Interruption {
        if (Test-Flag -Folder $Agent.State -Name 'stopping') { 'the pod ends' }
    }
    $seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 3)
    $Agent.Changed = $true
    # The look that follows sees what all events until now are about.
    Read-LastChange -Agent $Agent
    $Agent.Foreign = $false
    $after = Get-FirewallState
    $left = Get-Difference -Wanted $Agent.Wanted -Seen $after
    if ($left) { throw "Windows took the rules, but gives back others: $left" }
    $Agent.Seen = $after
    $change = @{
        Claimed = $true; Superseded = $false; Reason = $null; AppliedAt = Get-Timestamp; ApplySeconds = $seconds
    }
    if ($LogEvent -eq 'healed') { $change.Heals = $Agent.Memory.Heals + 1 }
    Write-Memory -Agent $Agent -Change $change
    $before = Get-Owner -Seen $Seen
    if (-not $before) { $before = 'none' }
    Write-Entry -Agent $Agent -Level info -LogEvent $LogEvent -Message (
        "mode $($Agent.Policy.mode), rules $($Agent.Wanted.Count), owner before: $before$Why")
}

function Test-Fit {
    # Whether this policy was written for this node's cluster: one for another would cut it off.
    [OutputType([bool])]
    param([hashtable] $Agent)

    $place = $null
    if ($Agent.NodeIP) { $place = (ConvertFrom-Cidr -Text $Agent.NodeIP)[0] }
    foreach ($cidr in $Agent.Policy.nodeCIDRs) {
        $ends = ConvertFrom-Cidr -Text $cidr
        if ($null -eq $place -or ($place -ge $ends[0] -and $place -lt $ends[1])) { return $true }
    }
    $misfit = "this node's address $($Agent.NodeIP) is not in cluster.nodeCIDRs " +
        "($($Agent.Policy.nodeCIDRs -join ', ')): set the cluster's own CIDRs"
    if ($Agent.Policy.mode -eq 'enforce') {
        Write-Failure -Agent $Agent -LogEvent 'refused' -Message "this policy would cut this node off: $misfit"
        return $false
    }
    Write-Entry -Agent $Agent -Level warn -LogEvent 'misfit' -Message "enforce would be refused here: $misfit"
    return $true
}

function Write-Failure {
    # Remembers why this pod does not enforce, for Check and Status, and logs it once.
    param([hashtable] $Agent, [string] $LogEvent, [string] $Message, [string] $Level = 'error')

    if ($Agent.Said -ne $Message) { Write-Entry -Agent $Agent -Level $Level -LogEvent $LogEvent -Message $Message }
    $Agent.Said = $Message
    $Agent.Failure = $Message
    Write-Memory -Agent $Agent -Change @{ Reason = $Message }
}

function Write-Memory {
    # Changes what the agent remembers.
    param([hashtable] $Agent, [hashtable] $Change)

    foreach ($name in $Change.Keys) { $Agent.Memory[$name] = $Change[$name] }
    Invoke-Remembering -Agent $Agent -Block { Write-State -Folder $Agent.State -State $Agent.Memory }
}

function Invoke-Remembering {
    # Runs a block that writes to the state folder. A full disk is no reason to stop guarding the node.
    param([hashtable] $Agent, [scriptblock] $Block)

    try {
        & $Block
        $Agent.Forgetful = $false
    } catch {
        if (-not $Agent.Forgetful) {
            Write-Entry -Agent $Agent -Level warn -LogEvent 'no-state' -Message (
                "cannot write to $($Agent.State): $_ (is its emptyDir full?)")
        }
        $Agent.Forgetful = $true
    }
}

function Publish-MetricsText {
    # Leaves the metrics of this look to the container that hands them out; takes them away where another pod's agent speaks for
    # the node, or when this one ends.
    param([hashtable] $Agent)

    if (-not $Agent.MetricsPort) { return }
    $text = ''
    if (-not ($Agent.Memory.Superseded -or $Agent.Foreign -or (Test-Flag -Folder $Agent.State -Name 'stopping'))) {
        $text = Get-MetricsText -Agent $Agent -Memory $Agent.Memory -Enforced (Test-Enforced -Agent $Agent)
    }
    try {
        Write-MetricsText -Folder $Agent.State -Text $text
        $Agent.Mute = $false
    } catch {
        if (-not $Agent.Mute) {
            Write-Entry -Agent $Agent -Level warn -LogEvent 'no-metrics' -Message (
                "cannot write to $($Agent.State): $_ (is its emptyDir full?)")
        }
        $Agent.Mute = $true
    }
}

function Test-Enforced {
    # Whether this pass found exactly this pod's policy in force.
    [OutputType([bool])]
    param([hashtable] $Agent)

    if ($null -eq $Agent.Seen -or $Agent.Failure) { return $false }
    try {
        return -not (Get-Idleness -Seen $Agent.Seen)
    } catch {
        Write-Debug "the rules in effect cannot be read: $_"
        return $false
    }
}

function Read-LastChange {
    # Remembers where the event log stands. Without the log there is the poll.
    param([hashtable] $Agent)

    try {
        $Agent.LastChange = Get-LastChange
    } catch {
        if (-not $Agent.Blind) {
            Write-Entry -Agent $Agent -Level warn -LogEvent 'no-events' -Message (
                "the firewall's event log cannot be read, the poll goes on: $_")
        }
        $Agent.Blind = $true
    }
}

function Wait-Change {
    # Returns when the time has come for the next pass: a change in the firewall, a request, or the poll's interval. Whether it
    # was a change.
    [OutputType([bool])]
    param(
        [hashtable] $Agent,
        # Seconds for which changes have to wait.
        [double] $Calm
    )

    # No clock: it may be set back.
    $watch = [System.Diagnostics.Stopwatch]::StartNew()
    while ($watch.Elapsed.TotalSeconds -lt $Agent.Poll) {
        Start-Sleep -Milliseconds (1000 * [Math]::Min($script:Tick, $Agent.Poll))
        if (Test-Flag -Folder $Agent.State -Name 'stopping') { return $false }
        # A pod that stands by looks at each tick, and so finds a node that was handed over before its rules are missed.
        if ($Agent.Failure -like 'superseded*') { return $false }
        if ($watch.Elapsed.TotalSeconds -lt $Calm) { continue }
        $last = $Agent.LastChange
        Read-LastChange -Agent $Agent
        if ($Agent.LastChange -ne $last) { return $true }
    }
    return $false
}

Export-ModuleMember -Function Invoke-Run
