# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The state is one JSON file with one rule to a line, so that a change writes text that it need not parse:
#   {"services":{...},"profiles":[...],"faults":[...],"rules":[
#   {...},
#   {...}
#   ]}
# Beside it lie .lock, .calls (a line for each call) and .states (a line for each change of a rule, which is also the
# event log: id, time, name, and the rule or, when it is gone, null).

# Rules by their line: a rule that did not change is not parsed again.
$script:parsed = [System.Collections.Generic.Dictionary[string, object]]::new()

function Lock-FakeState {
    # .NET takes such a file by flock, which Python can do too.
    $until = [datetime]::UtcNow.AddSeconds(60)
    while ($true) {
        try {
            return [System.IO.File]::Open("$env:FAKE_WINDOWS.lock", 'OpenOrCreate', 'ReadWrite', 'None')
        } catch [System.IO.IOException] {
            if ([datetime]::UtcNow -gt $until) {
                throw
            }
            [System.Threading.Thread]::Sleep(2)
        }
    }
}

function Read-FakeState {
    $lines = [System.Collections.Generic.List[string]]::new([System.IO.File]::ReadAllLines($env:FAKE_WINDOWS))
    $header = ConvertFrom-Json -InputObject ($lines[0] + ']}')
    $lines.RemoveAt($lines.Count - 1)
    $lines.RemoveAt(0)
    $unknown = [System.Collections.Generic.List[string]]::new()
    for ($index = 0; $index -lt $lines.Count; $index++) {
        $lines[$index] = $lines[$index].TrimEnd(',')
        if (-not $script:parsed.ContainsKey($lines[$index])) {
            $unknown.Add($lines[$index])
        }
    }
    if ($unknown.Count -gt 0) {
        $index = 0
        foreach ($rule in (ConvertFrom-Json -InputObject ('[' + [string]::Join(',', $unknown) + ']') -NoEnumerate)) {
            $script:parsed[$unknown[$index]] = $rule
            $index++
        }
    }
    $rules = [System.Collections.Generic.List[object]]::new($lines.Count)
    foreach ($line in $lines) {
        $rules.Add($script:parsed[$line])
    }
    @{ Header = $header; Lines = $lines; Rules = $rules; Errors = [System.Collections.Generic.List[object]]::new() }
}

function Write-FakeState {
    param([hashtable] $State)
    $header = ConvertTo-Json -InputObject $State.Header -Compress -Depth 8
    $text = $header.Substring(0, $header.Length - 2) + "`n"
    if ($State.Lines.Count -gt 0) {
        $text += [string]::Join(",`n", $State.Lines) + "`n"
    }
    $text += "]}`n"
    # A process that is killed here leaves the old file or the new one.
    [System.IO.File]::WriteAllText("$env:FAKE_WINDOWS.new", $text)
    [System.IO.File]::Move("$env:FAKE_WINDOWS.new", $env:FAKE_WINDOWS, $true)
}

function Save-FakeRule {
    <#
    .SYNOPSIS
    Adds, changes (-Index) or deletes (-Index, no -Rule) one rule, at once: there are no transactions.
    #>
    param([hashtable] $State, [int] $Index = -1, [System.Collections.IDictionary] $Rule)
    $change = @{ id = 2004; time = [datetime]::UtcNow.ToString('o'); rule = $Rule }
    if ($null -eq $Rule) {
        $change.id = 2006
        $change.name = $State.Rules[$Index].Name
        $State.Lines.RemoveAt($Index)
        $State.Rules.RemoveAt($Index)
    } else {
        $change.name = $Rule.Name
        $line = ConvertTo-Json -InputObject $Rule -Compress
        $record = ConvertFrom-Json -InputObject $line
        if ($Index -lt 0) {
            $State.Lines.Add($line)
            $State.Rules.Add($record)
        } else {
            $change.id = 2005
            $State.Lines[$Index] = $line
            $State.Rules[$Index] = $record
        }
    }
    Write-FakeState -State $State
    Add-FakeLine -Journal 'states' -Value $change
}

function Add-FakeLine {
    param([string] $Journal, [object] $Value)
    [System.IO.File]::AppendAllText("$env:FAKE_WINDOWS.$Journal", (ConvertTo-Json -InputObject $Value -Compress -Depth 4) + "`n")
}
