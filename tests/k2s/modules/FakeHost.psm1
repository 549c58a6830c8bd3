# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The fakes' line to the test process (tests/k2s/host.py), which answers for the cluster and writes down every call.

$script:connection = $null

function Invoke-FakeHost {
    <#
    .SYNOPSIS
    Tells the test process of a call; returns what it answers. Throws when it says so.
    #>
    param([Parameter(Mandatory)] [string] $Call, [System.Collections.IDictionary] $With = @{})
    if (-not $script:connection) {
        $client = [System.Net.Sockets.TcpClient]::new('127.0.0.1', [int] $env:FAKE_K2S)
        $client.NoDelay = $true
        $stream = $client.GetStream()
        $plain = [System.Text.UTF8Encoding]::new($false)
        $script:connection = @{
            Reader = [System.IO.StreamReader]::new($stream, $plain)
            Writer = [System.IO.StreamWriter]::new($stream, $plain)
        }
    }
    # What a caller bound may be any object, of which only the text counts.
    $texts = [ordered] @{}
    foreach ($name in $With.Keys) {
        $texts[$name] = $With[$name]
        if ($With[$name] -is [System.Collections.IEnumerable] -and $With[$name] -isnot [string]) {
            $texts[$name] = @($With[$name] | ForEach-Object { "$_" })
        } elseif ($With[$name] -is [switch]) {
            $texts[$name] = [bool] $With[$name]
        }
    }
    $script:connection.Writer.WriteLine((ConvertTo-Json @{ call = $Call; with = $texts } -Compress -Depth 6))
    $script:connection.Writer.Flush()
    $answer = ConvertFrom-Json $script:connection.Reader.ReadLine()
    if ($null -ne $answer.throw) {
        throw $answer.throw
    }
    $answer.value
}

function ConvertTo-NativeResult {
    <#
    .SYNOPSIS
    The result of a native program as K2s hands it on: standard error's lines are error records among the output.
    #>
    param([Parameter(Mandatory)] $Answer)
    # Nothing for no line, the line itself for one, an array for more: as an assignment of a pipeline gives.
    $output = foreach ($line in $Answer.lines) {
        if ($line.error) {
            $carrier = [System.Management.Automation.RemoteException]::new($line.text)
            [System.Management.Automation.ErrorRecord]::new($carrier, 'NativeCommandError', 'NotSpecified', $line.text)
        } else {
            $line.text
        }
    }
    [pscustomobject] @{ Success = $Answer.code -eq 0; Output = $output }
}

function Start-Sleep {
    <#
    .SYNOPSIS
    The fake of the cmdlet: the model's time passes, and hardly any other.
    #>
    [CmdletBinding()]
    param([Parameter(Position = 0)] [double] $Seconds = 0, [int] $Milliseconds = 0)
    $null = Invoke-FakeHost -Call 'Start-Sleep' -With @{ Seconds = $Seconds + $Milliseconds / 1000 }
    [System.Threading.Thread]::Sleep(100)
}

Export-ModuleMember -Function Invoke-FakeHost, ConvertTo-NativeResult, Start-Sleep
