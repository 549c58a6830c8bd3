# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

$script:channel = 'Microsoft-Windows-Windows Firewall With Advanced Security/Firewall'
$script:words = @{ 2004 = 'added to'; 2005 = 'modified in'; 2006 = 'deleted from'; 2033 = 'deleted, all of them, from' }

function Get-WinEvent {
    <#
    .SYNOPSIS
    The fake of the cmdlet for event logs, for the firewall's channel: newest first.
    #>
    [CmdletBinding()]
    param([Parameter(Mandatory)] [hashtable] $FilterHashtable, [long] $MaxEvents = [long]::MaxValue)
    end {
        Invoke-FakeCmdlet -Cmdlet $PSCmdlet -Bound $PSBoundParameters -Body {
            param($State)
            $found = Select-FakeEvent -Filter $FilterHashtable -Most $MaxEvents
            if ($found.Count -eq 0) {
                $State.Errors.Add((New-FakeError -Message 'No events were found that match the specified selection criteria.' `
                    -ErrorId 'NoMatchingEventsFound,Microsoft.PowerShell.Commands.GetWinEventCommand' -Category ObjectNotFound))
            }
            $found
        }
    }
}

function Select-FakeEvent {
    param([hashtable] $Filter, [long] $Most)
    $found = [System.Collections.Generic.List[object]]::new()
    if ($script:channel -notin $Filter.LogName -or -not (Test-Path -LiteralPath "$env:FAKE_WINDOWS.states")) {
        return , $found
    }
    $lines = [System.IO.File]::ReadAllLines("$env:FAKE_WINDOWS.states")
    for ($index = $lines.Length - 1; $index -ge 0 -and $found.Count -lt $Most; $index--) {
        $line = ConvertFrom-Json -InputObject $lines[$index]
        $time = $line.time.ToLocalTime()
        if ($Filter.ContainsKey('StartTime') -and $time -lt $Filter.StartTime) {
            break
        }
        if (($Filter.ContainsKey('Id') -and $line.id -notin $Filter.Id) -or
            ($Filter.ContainsKey('EndTime') -and $time -gt $Filter.EndTime)) {
            continue
        }
        $found.Add([pscustomobject] @{
            Id = [int] $line.id; RecordId = $index + 1; TimeCreated = $time; LogName = $script:channel
            ProviderName = 'Microsoft-Windows-Windows Firewall With Advanced Security'
            Message = "A rule was $($script:words[[int] $line.id]) the firewall: $($line.name)"
            Properties = @([pscustomobject] @{ Value = $line.name })
        })
    }
    , $found
}
