# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What several of the agent's commands do: say something, read the policy, be alone with the rules.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'State', 'Compile') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

# Seconds to wait for another agent, well below the time that a pod has for its preStop hook.
$script:Patience = 20

function Write-Line {
    <#
    .SYNOPSIS
        Prints a line at once.
    #>
    param([Parameter(Mandatory)] [string] $Text)

    # In UTF-8: Windows PowerShell would write the system's old code page.
    $bytes = [System.Text.Encoding]::UTF8.GetBytes("$Text`n")
    $stream = [Console]::OpenStandardOutput()
    $stream.Write($bytes, 0, $bytes.Length)
    $stream.Flush()
}

function Get-Line {
    <#
    .SYNOPSIS
        A text with blanks for its control characters.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [AllowEmptyString()] [string] $Text)

    return ($Text -replace '[\x00-\x1f]+', ' ').Trim()
}

function Write-Entry {
    <#
    .SYNOPSIS
        Logs one line.
    #>
    param(
        [Parameter(Mandatory)] [hashtable] $Agent,
        [Parameter(Mandatory)] [ValidateSet('info', 'warn', 'error')] [string] $Level,
        [Parameter(Mandatory)] [string] $LogEvent,
        [Parameter(Mandatory)] [string] $Message
    )

    $clean = foreach ($text in $Agent.Node, $Message) { (Get-Line -Text $text).Replace('"', "'") }
    Write-Line -Text ('time={0} level={1} event={2} node="{3}" policy={4} msg="{5}"' -f
        (Get-Timestamp), $Level, $LogEvent, $clean[0], $Agent.Generation, $clean[1])
}

function Read-Policy {
    <#
    .SYNOPSIS
        Reads this pod's policy, once: its own copy, or what is mounted until there is one. Throws when it is another pod's, or
        nothing that the chart makes.
    #>
    param([Parameter(Mandatory)] [hashtable] $Agent)

    if ($null -ne $Agent.Policy) { return }
    $folder = Join-Path $Agent.State 'adopted'
    if (-not (Test-Path -LiteralPath $folder)) { $folder = $Agent.Config }
    $why = Test-Bundle -Folder $folder -Hash $Agent.Hash
    if ($why) { throw $why }
    $path = Join-Path $folder 'policy.json'
    try {
        $policy = [System.IO.File]::ReadAllText($path) | ConvertFrom-Json
        # Throws where one is missing.
        $null = $policy.version, $policy.mode, $policy.scope
    } catch {
        throw "$path is not what the chart makes: $($_.Exception.Message)"
    }
    $Agent.Policy = $policy
}

function Read-Wanted {
    <#
    .SYNOPSIS
        Reads this pod's policy and the firewall rules that it becomes, once. Throws as Read-Policy does.
    #>
    param(
        [Parameter(Mandatory)] [hashtable] $Agent,
        # Of each rule its Key will do: then they need not be compiled again, which can take minutes.
        [switch] $KeysOnly
    )

    if ($null -ne $Agent.Wanted) { return }
    Read-Policy -Agent $Agent
    $keys = $null
    if ($KeysOnly) { $keys = Read-RuleKey -Folder $Agent.State -Hash $Agent.Hash }
    if ($null -ne $keys) {
        $Agent.Wanted = @(foreach ($key in $keys) { @{ Key = $key } })
        return
    }
    try {
        $Agent.Wanted = ConvertTo-FirewallRule -Policy $Agent.Policy
    } catch {
        throw "policy.json is not what the chart makes: $($_.Exception.Message)"
    }
}

function Invoke-Alone {
    <#
    .SYNOPSIS
        Runs a block while no other agent of this machine looks at or changes the rules.
    .DESCRIPTION
        Any process can hold the mutex back, so it is waited for only so long. Two agents at once may each undo what the other
        did, and find that at their next looks; a node without rules would be worse.
    #>
    param([Parameter(Mandatory)] [hashtable] $Agent, [Parameter(Mandatory)] [scriptblock] $Block)

    $mutex = $null
    $held = $false
    try {
        $mutex = New-Object System.Threading.Mutex($false, 'Global\udp-security')
        $held = $mutex.WaitOne([timespan]::FromSeconds($script:Patience))
    } catch [System.Threading.AbandonedMutexException] {
        # Its last holder died; what it left is seen and mended like any other change.
        $held = $true
    } catch {
        Write-Debug "no mutex: $_"
    }
    try {
        if (-not $held) {
            Write-Entry -Agent $Agent -Level warn -LogEvent 'not-alone' -Message (
                'the mutex Global\udp-security cannot be had: another agent is slow, or some process holds it. Going on without')
        }
        & $Block
    } finally {
        if ($held) { $mutex.ReleaseMutex() }
        if ($null -ne $mutex) { $mutex.Dispose() }
    }
}

Export-ModuleMember -Function Write-Line, Get-Line, Write-Entry, Read-Policy, Read-Wanted, Invoke-Alone
