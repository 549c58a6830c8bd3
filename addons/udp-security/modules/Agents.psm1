# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The agents on the nodes: where they run, what they say, and whether the policy is in force.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

Import-Module (Join-Path $PSScriptRoot 'Common.psm1')

$script:Mine = @('-n', 'udp-security', '-l', 'app.kubernetes.io/instance=udp-security')
# The name that a self-test asks cluster DNS for: every cluster has it.
$script:Asked = 'kubernetes.default.svc.cluster.local.'

function Get-GovernedOs {
    <#
    .SYNOPSIS
        The operating systems that this K2s has nodes of.
    #>
    [OutputType([string[]])]
    param()

    'linux'
    if (-not (Get-SetupInfo).LinuxOnly) { 'windows' }
}

function Get-ClusterNode {
    <#
    .SYNOPSIS
        The cluster's nodes: Name, Os, Ready, Labels (an object).
    #>
    [OutputType([pscustomobject[]])]
    param()

    foreach ($node in @(Get-Field (Get-ToolJson -Name kubectl -Params 'get', 'nodes') 'items')) {
        $ready = @(Get-Field $node 'status', 'conditions') | Where-Object { $_.type -eq 'Ready' }
        [pscustomobject] @{
            Name   = $node.metadata.name
            Os     = Get-Field $node 'metadata', 'labels', 'kubernetes.io/os'
            Ready  = (Get-Field $ready 'status') -eq 'True'
            Labels = Get-Field $node 'metadata', 'labels'
        }
    }
}

function Get-AgentSet {
    <#
    .SYNOPSIS
        The agents' DaemonSets: Name, Os, Observed (the status is about this version of it), Desired, Current, Ready, Generation
        (of the policy), Check (the agents' own check), Keeps (an agent that ends leaves its rules in force) and Selector: an
        object with the labels of the nodes that get a pod, or null where more than labels decides.
    .PARAMETER Os
        Only those for these operating systems.
    #>
    [OutputType([pscustomobject[]])]
    param([Parameter(Mandatory)] [string[]] $Os)

    foreach ($set in @(Get-Field (Get-ToolJson -Name kubectl -Params (@('get', 'daemonsets') + $script:Mine)) 'items')) {
        $system = Get-Field $set 'metadata', 'labels', 'app.kubernetes.io/component'
        if ($Os -notcontains $system) { continue }
        $pod = $set.spec.template.spec
        $agent = @($pod.containers)[0]
        $hash = @(Get-Field $agent 'env') | Where-Object { $_.name -eq 'UDP_SECURITY_POLICY_SHA256' }
        $onStop = @(Get-Field $agent 'env') | Where-Object { $_.name -eq 'UDP_SECURITY_ON_STOP' }
        $selector = $null
        $tolerant = @(Get-Field $pod 'tolerations') |
            Where-Object { (Get-Field $_ 'operator') -eq 'Exists' -and -not (Get-Field $_ 'key') }
        if ($tolerant -and -not (Get-Field $pod 'affinity')) { $selector = Get-Field $pod 'nodeSelector' }
        [pscustomobject] @{
            Name       = $set.metadata.name
            Os         = $system
            Observed   = [long] (Get-Field $set 'status', 'observedGeneration') -ge [long] $set.metadata.generation
            Selector   = $selector
            Desired    = [int] (Get-Field $set 'status', 'desiredNumberScheduled')
            Current    = [int] (Get-Field $set 'status', 'currentNumberScheduled')
            Ready      = [int] (Get-Field $set 'status', 'numberReady')
            Generation = "$(Get-Field $hash 'value')".PadRight(12).Substring(0, 12).Trim()
            Check      = @(Get-Field $agent 'readinessProbe', 'exec', 'command')
            Keeps      = (Get-Field $onStop 'value') -eq 'keep'
        }
    }
}

function Get-AgentPod {
    <#
    .SYNOPSIS
        The agents' pods that have a node: Name, Os, Node, Running, Leaving.
    #>
    [OutputType([pscustomobject[]])]
    param()

    foreach ($pod in @(Get-Field (Get-ToolJson -Name kubectl -Params (@('get', 'pods') + $script:Mine)) 'items')) {
        $node = Get-Field $pod 'spec', 'nodeName'
        if (-not $node) { continue }
        [pscustomobject] @{
            Name    = $pod.metadata.name
            Os      = Get-Field $pod 'metadata', 'labels', 'app.kubernetes.io/component'
            Node    = $node
            Running = (Get-Field $pod 'status', 'phase') -eq 'Running'
            Leaving = [bool] (Get-Field $pod 'metadata', 'deletionTimestamp')
        }
    }
}

function Get-Bare {
    <#
    .SYNOPSIS
        The names of those of the nodes that a DaemonSet selects, but where none of the pods is.
    .PARAMETER Set
        One of Get-AgentSet.
    #>
    [OutputType([string[]])]
    param(
        [Parameter(Mandatory)] [pscustomobject] $Set,
        [AllowEmptyCollection()] [pscustomobject[]] $Nodes,
        [AllowEmptyCollection()] [pscustomobject[]] $Pods
    )

    if ($null -eq $Set.Selector) { return }
    $occupied = @($Pods | Where-Object { $_.Os -eq $Set.Os } | ForEach-Object { $_.Node })
    foreach ($node in $Nodes) {
        if ($occupied -contains $node.Name) { continue }
        $other = @($Set.Selector.PSObject.Properties | Where-Object { (Get-Field $node.Labels $_.Name) -ne $_.Value })
        if (-not $other) { $node.Name }
    }
}

function Invoke-InPod {
    <#
    .SYNOPSIS
        Runs a command in an agent's pod; what Invoke-Tool returns.
    .DESCRIPTION
        The time limits are for reaching the pod: kubectl has none for a command that runs, and those of the agents end by
        themselves.
    #>
    [OutputType([pscustomobject])]
    param([Parameter(Mandatory)] [string] $Pod, [Parameter(Mandatory)] [string[]] $Command)

    $limits = '--request-timeout=30s', '--pod-running-timeout=10s'
    return Invoke-Tool -Name kubectl -Params (@('exec', $Pod, '-n', 'udp-security') + $limits + '--' + $Command)
}

function Get-Words {
    <#
    .SYNOPSIS
        What a command in a pod said for itself; what kubectl said where it said nothing.
    #>
    [OutputType([string])]
    param([pscustomobject] $Of)

    if ($Of.Text) { return $Of.Text }
    return $Of.Said
}

function Invoke-Agent {
    <#
    .SYNOPSIS
        Runs one of an agent's own commands in its pod; what Invoke-Tool returns.
    .PARAMETER Set
        The pod's DaemonSet, one of Get-AgentSet.
    #>
    [OutputType([pscustomobject])]
    param([Parameter(Mandatory)] [pscustomobject] $Set, [Parameter(Mandatory)] [pscustomobject] $Pod, [string] $Command)

    # The check's last word is the agent's command. Windows PowerShell takes it in any case.
    $last = $Set.Check.Count - 1
    return Invoke-InPod -Pod $Pod.Name -Command ($Set.Check[0..($last - 1)] + $Command)
}

function Get-AgentStatus {
    <#
    .SYNOPSIS
        What an agent's `status` prints, an object; nothing when it does not answer.
    .PARAMETER Set
        The pod's DaemonSet, one of Get-AgentSet.
    #>
    param([Parameter(Mandatory)] [pscustomobject] $Set, [Parameter(Mandatory)] [pscustomobject] $Pod)

    $result = Invoke-Agent -Set $Set -Pod $Pod -Command 'status'
    if (-not $result.Success) { return }
    try {
        return ConvertFrom-Json -InputObject $result.Text
    } catch {
        Write-Log "The agent on node $($Pod.Node) printed no status: $($result.Said)"
    }
}

function Get-Doubt {
    <#
    .SYNOPSIS
        Why the policy is not in force on the nodes that are ready, one text each; nothing when it is.
    #>
    [OutputType([string[]])]
    param([AllowEmptyCollection()] [pscustomobject[]] $Sets, [AllowEmptyCollection()] [pscustomobject[]] $Nodes)

    $up = @($Nodes | Where-Object { $_.Ready })
    $ready = @($up | ForEach-Object { $_.Name })
    $pods = @(Get-AgentPod | Where-Object { -not $_.Leaving -and $ready -contains $_.Node })
    foreach ($set in $Sets) {
        if (-not $set.Observed) { "$($set.Name): Kubernetes has not come to it yet" }
        foreach ($name in Get-Bare -Set $set -Nodes $up -Pods $pods) { "node ${name}: no agent is there" }
        if ($set.Current -lt $set.Desired) { "$($set.Name): $($set.Current) of $($set.Desired) pods exist" }
        foreach ($pod in @($pods | Where-Object { $_.Os -eq $set.Os })) {
            $check = Invoke-InPod -Pod $pod.Name -Command $set.Check
            if (-not $check.Success) {
                "node $($pod.Node): $(Get-Words -Of $check)"
            } elseif ($set.Generation -and $check.Text -notmatch [regex]::Escape($set.Generation)) {
                "node $($pod.Node): an older policy is in force still ($($check.Text))"
            }
        }
    }
}

function Wait-InForce {
    <#
    .SYNOPSIS
        Waits until the policy is in force on all nodes that are ready. Throws why it is not, where.
    .DESCRIPTION
        Nodes that are not ready are named and left out: their agents will apply the policy when they are back. Their pods of
        before are dropped, since each would hold up the rollout on all other nodes.
    .PARAMETER Os
        The operating systems whose agents count.
    #>
    [OutputType([void])]
    param([Parameter(Mandatory)] [int] $Timeout, [Parameter(Mandatory)] [string[]] $Os)

    $deadline = [datetime]::UtcNow.AddSeconds($Timeout)
    $down = @(Skip-Down -Nodes @(Get-ClusterNode) -Os $Os)
    $problem = @()
    foreach ($set in @(Get-AgentSet -Os $Os)) {
        # A rollout counts nodes that are not ready, too.
        if ($down | Where-Object { $_.Os -eq $set.Os }) { continue }
        $left = [math]::Max(1, [int] ($deadline - [datetime]::UtcNow).TotalSeconds)
        $params = 'rollout', 'status', "daemonset/$($set.Name)", '-n', 'udp-security', "--timeout=${left}s"
        $rollout = Invoke-Tool -Name kubectl -Params $params
        if ($rollout.Success) { continue }
        $down = @(Skip-Down -Nodes @(Get-ClusterNode) -Os $Os -Known $down)
        if ($down | Where-Object { $_.Os -eq $set.Os }) {
            # A node that went down held it up: the others get their pods only now.
            $deadline = [datetime]::UtcNow.AddSeconds(60)
            continue
        }
        $problem = @("the rollout of $($set.Name) did not end ($($rollout.Said))")
        break
    }
    # After a rollout only a moment, for a change of rules in progress.
    if (-not $down) { $deadline = [datetime]::UtcNow.AddSeconds(6) }
    while ($true) {
        $nodes = @(Get-ClusterNode)
        $down = @(Skip-Down -Nodes $nodes -Os $Os -Known $down)
        $doubts = @(Get-Doubt -Sets @(Get-AgentSet -Os $Os) -Nodes $nodes)
        if (-not $problem -and -not $doubts) { return }
        if ($problem -or [datetime]::UtcNow -ge $deadline) {
            throw "The policy is not in force: $(($problem + $doubts) -join ";`n")"
        }
        Start-Sleep -Seconds 2
    }
}

function Skip-Down {
    <#
    .SYNOPSIS
        The nodes that are not ready, which it names when they are not Known to be so; their pods are dropped.
    #>
    [OutputType([pscustomobject[]])]
    param([pscustomobject[]] $Nodes, [string[]] $Os, [AllowEmptyCollection()] [pscustomobject[]] $Known = @())

    $down = @(foreach ($node in $Nodes) { if (-not $node.Ready -and $Os -contains $node.Os) { $node } })
    $names = @($down | ForEach-Object { $_.Name })
    $named = @($Known | ForEach-Object { $_.Name })
    $new = @($names | Where-Object { $named -notcontains $_ })
    if ($new) {
        Write-Log ("Not ready, so skipped: $($new -join ', '). The agents there apply the policy as soon as these nodes are " +
            'back.') -Console
        $stuck = @(Get-AgentPod | Where-Object { $new -contains $_.Node })
        if ($stuck) { Remove-AgentPod -Pod @($stuck | ForEach-Object { $_.Name }) }
    }
    return $down
}

function Remove-AgentPod {
    <#
    .SYNOPSIS
        Drops pods that cannot end by themselves.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'K2s calls it without anybody to ask')]
    [OutputType([void])]
    param([Parameter(Mandatory)] [string[]] $Pod)

    $params = @('delete', 'pod') + $Pod + '-n', 'udp-security', '--force', '--grace-period=0', '--ignore-not-found'
    $null = Get-ToolText -Name kubectl -Params $params
}

function Remove-KeptRule {
    <#
    .SYNOPSIS
        Has agents that would leave their rules in force when they end remove them now. Returns the pods of those that did not.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'K2s calls it without anybody to ask')]
    [OutputType([pscustomobject[]])]
    param()

    $keeping = @(Get-AgentSet -Os 'linux', 'windows' | Where-Object { $_.Keeps })
    if (-not $keeping) { return }
    $ready = @(Get-ClusterNode | Where-Object { $_.Ready } | ForEach-Object { $_.Name })
    foreach ($pod in @(Get-AgentPod | Where-Object { $ready -contains $_.Node })) {
        $set = $keeping | Where-Object { $_.Os -eq $pod.Os } | Select-Object -First 1
        if ($set -and -not (Invoke-Agent -Set $set -Pod $pod -Command 'remove').Success) { $pod }
    }
}

function Remove-AgentSet {
    <#
    .SYNOPSIS
        Deletes the agents' DaemonSets, also those that no Helm release has: their pods begin to end, and get no successors.
    #>
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'K2s calls it without anybody to ask')]
    [OutputType([void])]
    param()

    # Usually Helm has.
    if (-not @(Get-AgentSet -Os 'linux', 'windows')) { return }
    $null = Get-ToolText -Name kubectl -Params (@('delete', 'daemonsets') + $script:Mine + '--ignore-not-found', '--timeout=60s')
}

function Assert-ClusterDns {
    <#
    .SYNOPSIS
        Throws unless cluster DNS answers the Linux nodes that are ready.
    .DESCRIPTION
        Any answer will do, also that the name does not exist.
    #>
    [OutputType([void])]
    param()

    $service = Get-ToolJson -Name kubectl -Params 'get', 'service', 'kube-dns', '-n', 'kube-system'
    $server = $service.spec.clusterIP
    $ready = @(Get-ClusterNode | Where-Object { $_.Ready } | ForEach-Object { $_.Name })
    foreach ($pod in @(Get-AgentPod | Where-Object { $_.Os -eq 'linux' -and -not $_.Leaving -and $ready -contains $_.Node })) {
        foreach ($attempt in 1..3) {
            $answer = Invoke-InPod -Pod $pod.Name -Command 'nslookup', '-type=a', $script:Asked, $server
            if ($answer.Success -or $answer.Said -match 'NXDOMAIN|No answer') { break }
            if ($answer.Said -match 'executable file not found') {
                Write-Log "linux.image has no nslookup: whether cluster DNS answers node $($pod.Node) is not known" -Console
                break
            }
            if ($attempt -eq 3) {
                throw "Cluster DNS ($server) did not answer node $($pod.Node) under this policy: $(Get-Words -Of $answer)"
            }
        }
    }
}

Export-ModuleMember -Function Get-GovernedOs, Get-ClusterNode, Get-AgentSet, Get-AgentPod, Get-Bare, Get-AgentStatus,
    Wait-InForce, Remove-AgentPod, Remove-AgentSet, Remove-KeptRule, Assert-ClusterDns
