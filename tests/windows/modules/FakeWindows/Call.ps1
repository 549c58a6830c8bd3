# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

function Invoke-FakeCmdlet {
    <#
    .SYNOPSIS
    Runs the body of a fake cmdlet on the locked state, and reports and records its errors.

    .DESCRIPTION
    The body gets the state. It adds to $State.Errors, or calls Stop-FakeCmdlet. Such errors end no
    caller's script unless it asks for that, as with the real cmdlets. A fault of the state that is due comes first.
    #>
    param(
        [Parameter(Mandatory)] [System.Management.Automation.PSCmdlet] $Cmdlet,
        [Parameter(Mandatory)] [System.Collections.IDictionary] $Bound,
        [Parameter(Mandatory)] [scriptblock] $Body
    )
    $result, $errors = Invoke-LockedBody -Cmdlet $Cmdlet.MyInvocation.MyCommand.Name -Bound $Bound -Body $Body
    $result
    foreach ($record in $errors) {
        $Cmdlet.WriteError($record)
    }
}

# What the body gives and its errors, as two lists.
function Invoke-LockedBody {
    param([string] $Cmdlet, [System.Collections.IDictionary] $Bound, [scriptblock] $Body)
    $ErrorActionPreference = 'Stop'
    $call = @{ cmdlet = $Cmdlet; parameters = (ConvertTo-PlainParameter -Bound $Bound); ok = $true; error = $null; pid = $PID }
    $result = @()
    $lock = Lock-FakeState
    try {
        $state = Read-FakeState
        $fault = Get-DueFault -State $state -Cmdlet $Cmdlet
        if ($fault) {
            $state.Errors.Add((New-FakeError -Message $fault.message -ErrorId 'Fault'))
        } else {
            try {
                $result = @(& $Body $state)
            } catch {
                if (-not $_.Exception.Data.Contains('record')) {
                    throw
                }
                $state.Errors.Add($_.Exception.Data['record'])
            }
        }
        if ($state.Errors.Count -gt 0) {
            $call.ok = $false
            $call.error = $state.Errors[0].Exception.Message
        }
        Add-FakeLine -Journal 'calls' -Value $call
        if ($fault -and $fault.exit) {
            [System.Environment]::Exit(137)
        }
    } finally {
        $lock.Dispose()
    }
    , $result
    , $state.Errors
}

# The fault of this call, if it has one. Calls are counted only while a fault waits for them.
function Get-DueFault {
    param([hashtable] $State, [string] $Cmdlet)
    $due = $null
    $counted = $false
    foreach ($fault in $State.Header.faults) {
        if ($fault.cmdlet -eq $Cmdlet) {
            $fault.seen++
            $counted = $true
            if ($fault.seen -eq $fault.call) {
                $due = $fault
            }
        }
    }
    if ($counted) {
        Write-FakeState -State $State
    }
    $due
}

# What can be written as JSON: an object stands for the rule that it names.
function ConvertTo-PlainParameter {
    param([System.Collections.IDictionary] $Bound)
    $plain = @{}
    foreach ($name in $Bound.Keys) {
        $value = $Bound[$name]
        if ($value -is [System.Collections.IDictionary]) {
            $plain[$name] = ConvertTo-PlainParameter -Bound $value
        } elseif ($value -is [array]) {
            $plain[$name] = @(foreach ($item in $value) { ConvertTo-PlainText -Value $item })
        } else {
            $plain[$name] = ConvertTo-PlainText -Value $value
        }
    }
    $plain
}

function ConvertTo-PlainText {
    param([object] $Value)
    if ($Value -is [psobject] -and $Value.psobject.Properties['InstanceID']) {
        return [string] $Value.InstanceID
    }
    [string] $Value
}
