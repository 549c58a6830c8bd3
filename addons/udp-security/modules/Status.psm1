# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What `k2s addons status udp-security` shows: properties of Name, Value, Okay (true, false, null: no matter) and Message.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Common', 'Agents', 'Release') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

$script:Remedy = "Try restarting the cluster with 'k2s start' or disable and re-enable the addon with " +
    "'k2s addons disable udp-security' and 'k2s addons enable udp-security'"
$script:SystemNames = @{ linux = 'Linux'; windows = 'Windows' }

function Get-StatusProperty {
    <#
    .SYNOPSIS
        All properties. Never throws: what cannot be asked is a property that is not okay.
    #>
    [OutputType([hashtable[]])]
    param()

    try {
        $sets = @(Get-AgentSet -Os (Get-GovernedOs))
        if (-not $sets) { throw 'There are no agents in the cluster' }
        $nodes = @(Get-ClusterNode)
        $up = @($nodes | Where-Object { $_.Ready })
        $ready = @($up | ForEach-Object { $_.Name })
        $pods = @(Get-AgentPod | Where-Object { -not $_.Leaving })
        $askable = @($pods | Where-Object { $_.Running -and $ready -contains $_.Node })
        $answers = @(Get-Answer -Sets $sets -Pods $askable)
        $bare = @($sets | ForEach-Object { Get-Bare -Set $_ -Nodes $up -Pods $askable })
        $unasked = @($sets | ForEach-Object { Get-Unasked -Set $_ -Nodes $nodes -Pods $pods -Askable $askable })
        $values = Get-ReleaseValue -All
        $sets | ForEach-Object { Get-RolloutProperty -Set $_ }
        Get-ModeProperty -Values $values
        Get-GenerationProperty -Answers $answers -Unasked $unasked
        Get-ForceProperty -Answers $answers -Bare $bare
        Get-DeniedProperty -Values $values -Answers $answers
        Get-ChangeProperty -Answers $answers
    } catch {
        Get-Property -Name 'IsStatusKnown' -Value $false -Okay $false -Message (
            Join-Sentence $_.Exception.Message, $script:Remedy)
    }
}

function Get-Property {
    <#
    .SYNOPSIS
        A property with exactly the keys that K2s takes.
    #>
    [OutputType([hashtable])]
    param([string] $Name, $Value, [AllowNull()] $Okay, [string] $Message)

    return @{ Name = $Name; Value = $Value; Okay = $Okay; Message = $Message }
}

function Get-Unasked {
    <#
    .SYNOPSIS
        The names of the nodes that should have one of a DaemonSet's agents, but none that can be asked.
    .PARAMETER Pods
        All agents' pods, which tell what nodes are meant where more than labels decides.
    .PARAMETER Askable
        Those of them that can be asked.
    #>
    [OutputType([string[]])]
    param(
        [pscustomobject] $Set,
        [AllowEmptyCollection()] [pscustomobject[]] $Nodes,
        [AllowEmptyCollection()] [pscustomobject[]] $Pods,
        [AllowEmptyCollection()] [pscustomobject[]] $Askable
    )

    $asked = @($Askable | Where-Object { $_.Os -eq $Set.Os } | ForEach-Object { $_.Node })
    $meant = @(Get-Bare -Set $Set -Nodes $Nodes -Pods $Askable) +
        @($Pods | Where-Object { $_.Os -eq $Set.Os } | ForEach-Object { $_.Node })
    $meant | Where-Object { $asked -notcontains $_ } | Select-Object -Unique
}

function Get-Answer {
    <#
    .SYNOPSIS
        The agents of these pods: Set, Node and Status, which is null when it does not answer.
    #>
    [OutputType([pscustomobject[]])]
    param([pscustomobject[]] $Sets, [AllowEmptyCollection()] [pscustomobject[]] $Pods)

    foreach ($set in $Sets) {
        foreach ($pod in @($Pods | Where-Object { $_.Os -eq $set.Os })) {
            [pscustomobject] @{ Set = $set; Node = $pod.Node; Status = Get-AgentStatus -Set $set -Pod $pod }
        }
    }
}

function Get-RolloutProperty {
    <#
    .SYNOPSIS
        How many of an operating system's agents are ready.
    #>
    [OutputType([hashtable])]
    param([pscustomobject] $Set)

    $system = $script:SystemNames[$Set.Os]
    $okay = $Set.Ready -ge $Set.Desired
    $message = "The agents on $system nodes are running ($($Set.Ready) of $($Set.Desired) ready)"
    if (-not $okay) {
        $message = "The agents on $system nodes are not all running ($($Set.Ready) of $($Set.Desired) ready). $script:Remedy"
    }
    return Get-Property -Name "Is${system}DaemonsetRunning" -Value $okay -Okay $okay -Message $message
}

function Get-ModeProperty {
    <#
    .SYNOPSIS
        What happens to flows that no rule allows.
    #>
    [OutputType([hashtable])]
    param($Values)

    $mode = "$(Get-Field $Values 'mode')"
    $message = "Mode $mode`: UDP flows that no rule allows are denied"
    if ($mode -eq 'audit') { $message = 'Mode audit: UDP flows that no rule allows pass, and Linux nodes count them' }
    return Get-Property -Name 'Mode' -Value $mode -Okay $null -Message $message
}

function Get-GenerationProperty {
    <#
    .SYNOPSIS
        Whether every node has the policy that was rolled out last. Linux and Windows nodes have their own forms of it.
    #>
    [OutputType([hashtable])]
    param(
        [AllowEmptyCollection()] [pscustomobject[]] $Answers,
        # Names of nodes that should have an agent, but none that can be asked.
        [AllowEmptyCollection()] [string[]] $Unasked
    )

    $heard = @($Answers | Where-Object { $null -ne $_.Status })
    $silent = @($Answers | Where-Object { $null -eq $_.Status } | ForEach-Object { $_.Node })
    $other = @($heard | Where-Object { (Get-Field $_.Status 'generation') -ne $_.Set.Generation } | ForEach-Object { $_.Node })
    $gaps = @(
        if ($other) { "another policy on $($other -join ', ')" }
        if ($silent) { "did not answer: $($silent -join ', ')" }
        if ($Unasked) { "not asked: $($Unasked -join ', ')" }
        if (-not $Answers -and -not $Unasked) { 'no agent runs' }
    )
    $okay = -not $gaps
    $seen = @($heard | ForEach-Object { "$($_.Set.Os) $(Get-Field $_.Status 'generation')" } | Select-Object -Unique)
    $message = "All nodes have the same policy ($($seen -join ', '))"
    if (-not $okay) {
        $message = "Not every node is known to have the policy rolled out: $($gaps -join '; '). $script:Remedy"
    }
    return Get-Property -Name 'IsPolicyTheSame' -Value $okay -Okay $okay -Message $message
}

function Get-ForceProperty {
    <#
    .SYNOPSIS
        Whether the policy is in force on every node that is ready, or where not and why.
    #>
    [OutputType([hashtable])]
    param(
        [AllowEmptyCollection()] [pscustomobject[]] $Answers,
        # Names of nodes that should have an agent.
        [AllowEmptyCollection()] [string[]] $Bare
    )

    $reasons = @(foreach ($name in $Bare) { "node ${name}: no agent runs there" })
    $reasons += @(foreach ($answer in $Answers) {
            if ($null -eq $answer.Status) {
                "node $($answer.Node): the agent does not answer"
            } elseif (-not (Get-Field $answer.Status 'healthy')) {
                "node $($answer.Node): $(Get-Field $answer.Status 'reason')"
            }
        })
    if (-not $Answers -and -not $reasons) { $reasons = @('no agent runs on a node that is ready') }
    $okay = -not $reasons
    $message = "The policy is in force on $($Answers.Count) node(s)"
    if (-not $okay) { $message = "The policy is not in force: $($reasons -join '; '). $script:Remedy" }
    return Get-Property -Name 'IsPolicyInForce' -Value $okay -Okay $okay -Message $message
}

function Get-DeniedProperty {
    <#
    .SYNOPSIS
        Windows nodes count nothing.
    #>
    [OutputType([hashtable])]
    param($Values, [AllowEmptyCollection()] [pscustomobject[]] $Answers)

    $packets = [long] 0
    foreach ($answer in $Answers) {
        foreach ($direction in 'ingress', 'egress', 'forward') {
            $packets += [long] (Get-Field $answer.Status 'counters', 'denied', $direction, 'packets')
        }
    }
    $message = "Packets denied on Linux nodes: $packets"
    if ((Get-Field $Values 'mode') -eq 'audit') { $message = "Packets that enforce would have denied on Linux nodes: $packets" }
    return Get-Property -Name 'DeniedPackets' -Value $packets -Okay $null -Message $message
}

function Get-ChangeProperty {
    <#
    .SYNOPSIS
        When a node's policy changed last.
    #>
    [OutputType([hashtable])]
    param([AllowEmptyCollection()] [pscustomobject[]] $Answers)

    $times = @($Answers | ForEach-Object { Get-Field $_.Status 'appliedAt' } | ForEach-Object { ConvertTo-Timestamp -Time $_ })
    $last = $times | Sort-Object | Select-Object -Last 1
    if (-not $last) { $last = 'never' }
    return Get-Property -Name 'LastChange' -Value $last -Okay $null -Message "Last change of a node's policy: $last"
}

function ConvertTo-Timestamp {
    <#
    .SYNOPSIS
        RFC 3339 in UTC. PowerShell 7 reads such a text as a date.
    #>
    [OutputType([string])]
    param($Time)

    if ($Time -isnot [datetime]) { return "$Time" }
    return $Time.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ssZ', [System.Globalization.CultureInfo]::InvariantCulture)
}

Export-ModuleMember -Function Get-StatusProperty
