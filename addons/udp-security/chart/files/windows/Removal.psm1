# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Remove: by an operator, or by the preStop hook of a pod that ends. From inside, a deleted pod looks like an uninstall.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'Firewall', 'Node', 'State', 'Common') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

# Seconds in which a pod that stands by announces itself again: three of its looks.
$script:Announcing = 6

function Invoke-Remove {
    <#
    .SYNOPSIS
        Removes the rules if they are this pod's to remove; the exit code.
    #>
    [OutputType([int])]
    param([Parameter(Mandatory)] [hashtable] $Agent, [switch] $Stopping)

    $flag = 'released'
    if ($Stopping) { $flag = 'stopping' }
    $hasState = Test-Path -LiteralPath $Agent.State
    try {
        # Tells the running agent not to heal what is about to happen.
        if ($hasState) { Write-Flag -Folder $Agent.State -Name $flag }
        if ($Stopping -and -not $Agent.Uid) { throw 'UDP_SECURITY_POD_UID is not set (the chart sets it)' }
        $answer = Invoke-Alone -Agent $Agent -Block { Remove-Own -Agent $Agent -Stopping:$Stopping }
        if ($answer.HandOver) {
            Start-Sleep -Seconds $script:Announcing
            $answer = Invoke-Alone -Agent $Agent -Block { Complete-HandOver -Agent $Agent }
        }
    } catch {
        $answer = @{ Code = 1; Message = "not removed: $($_.Exception.Message) (run this again)" }
    }
    if ($answer.Code -and -not $Stopping -and $hasState) { Write-Flag -Folder $Agent.State -Name $flag -Off }
    Write-Line -Text (Get-Line -Text $answer.Message)
    return $answer.Code
}

function Remove-Own {
    # Code, Message; HandOver when other pods, which are asked to announce themselves, may want the rules. Call it alone.
    [Diagnostics.CodeAnalysis.SuppressMessageAttribute('PSUseShouldProcessForStateChangingFunctions', '',
        Justification = 'internal; the agent is never interactive')]
    [OutputType([hashtable])]
    param([hashtable] $Agent, [switch] $Stopping)

    $seen = Get-FirewallState
    $owner = Get-Owner -Seen $seen
    $others = @($seen.Standbys | Where-Object { $_ -ne $Agent.Uid })
    $code = 0
    $handOver = $false
    if ($Agent.Uid -and $owner -and $owner -ne $Agent.Uid) {
        if ($Stopping) {
            $message = "the rules stay: they belong to pod $owner"
            if ($seen.Standbys -contains $Agent.Uid) { Remove-FirewallRule -Name (Get-MarkName -Standby $Agent.Uid) }
        } else {
            $code = 1
            $message = "not removed: pod $owner owns the rules (run this in that pod, or on the node: " +
                'Remove-NetFirewallRule -Group udp-security)'
        }
    } elseif ($null -eq $seen.Owner -and -not $seen.Rules.Count -and -not $seen.Standbys) {
        $message = 'nothing to remove'
    } elseif ($Stopping -and -not $owner -and -not (Read-State -Folder $Agent.State).Claimed) {
        $message = 'the rules stay: this pod never owned them'
        # What its first apply left that never came to its end.
        if (@($seen.Rules | Where-Object { $_.Pod -eq $Agent.Uid })) {
            Clear-Firewall -Seen $seen -Pod $Agent.Uid
            $message = 'removed'
        }
    } elseif ($Stopping -and $owner -and $others) {
        $handOver = $true
        $message = ''
        # Whoever is alive announces itself again.
        Remove-FirewallRule -Name (Get-MarkName -Standby $others)
    } elseif ($Stopping -and $Agent.OnStop -eq 'keep') {
        $message = 'the rules stay in force (windows.onStop: keep)'
    } else {
        $message = 'removed'
        Clear-Firewall -Seen $seen
    }
    return @{ Code = $code; Message = $message; HandOver = $handOver }
}

function Complete-HandOver {
    # Leaves the rules in force, without an owner, to a pod that stands by; removes them where none is alive. Call it alone.
    [OutputType([hashtable])]
    param([hashtable] $Agent)

    $seen = Get-FirewallState
    if ((Get-Owner -Seen $seen) -ne $Agent.Uid -or -not $seen.Standbys) {
        return Remove-Own -Agent $Agent -Stopping
    }
    Write-OwnerMark -Uid '' -Release $seen.Owner.Release -Generation $seen.Owner.Generation -Exists $true
    return @{ Code = 0; Message = 'handed the rules over to the pod that stands by' }
}

Export-ModuleMember -Function Invoke-Remove
