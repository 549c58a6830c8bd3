# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Serve: hands out the metrics that Run leaves in the pod's state folder, one request after the other. A process of its own, so
# that nothing that is sent to it can hold up the agent.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($module in 'State', 'Common') { Import-Module (Join-Path $PSScriptRoot "$module.psm1") }

# Microseconds until it looks again whether there is something to hand out.
$script:Tick = 1000000
# Milliseconds for one request, and as many for its answer; bytes of a request's head that are read.
$script:Patience = 2000
$script:Most = 8192
# Connections that wait for their turn; Windows refuses further ones.
$script:Backlog = 16

function Invoke-Serve {
    <#
    .SYNOPSIS
        Answers requests while there are metrics, for as long as the process lives; the exit code when it cannot.
    #>
    [OutputType([int])]
    param([Parameter(Mandatory)] [hashtable] $Agent)

    $address = $null
    if (-not $Agent.MetricsPort -or -not [System.Net.IPAddress]::TryParse($Agent.NodeIP, [ref] $address)) {
        Write-Entry -Agent $Agent -Level error -LogEvent 'bad-environment' -Message (
            'UDP_SECURITY_NODE_IP or UDP_SECURITY_METRICS_PORT is not set (the chart sets them)')
        return 2
    }
    $place = New-Object System.Net.IPEndPoint($address, $Agent.MetricsPort)
    $path = Get-MetricsPath -Folder $Agent.State
    $listener = $null
    $said = ''
    while ($true) {
        $offered = Test-Offer -Path $path
        if ($offered -and $null -eq $listener) {
            try {
                $listener = Open-Listener -Place $place
                $said = ''
                Write-Entry -Agent $Agent -Level info -LogEvent 'serving' -Message "metrics at http://$place/metrics"
            } catch {
                $message = "cannot listen at ${place}, and tries again: $($_.Exception.GetBaseException().Message) " +
                    '(does another program have the port? metrics.port is another one)'
                if ($message -ne $said) {
                    Write-Entry -Agent $Agent -Level error -LogEvent 'not-serving' -Message $message
                }
                $said = $message
            }
        } elseif (-not $offered -and $null -ne $listener) {
            $listener.Stop()
            $listener = $null
        }
        if ($null -eq $listener) {
            Start-Sleep -Milliseconds ($script:Tick / 1000)
        } elseif ($listener.Server.Poll($script:Tick, [System.Net.Sockets.SelectMode]::SelectRead)) {
            Send-Answer -Listener $listener -Path $path -Oldest (3 * $Agent.Poll + 60)
        }
    }
}

function Open-Listener {
    [OutputType([System.Net.Sockets.TcpListener])]
    param([System.Net.IPEndPoint] $Place)

    $listener = New-Object System.Net.Sockets.TcpListener($Place)
    try {
        $listener.Start($script:Backlog)
    } catch {
        $listener.Stop()
        throw
    }
    return $listener
}

function Test-Offer {
    # Whether there are metrics. Between two texts the file may be missing for a moment.
    [OutputType([bool])]
    param([string] $Path)

    for ($try = 0; $try -lt 3; $try++) {
        if (Test-Path -LiteralPath $Path) { return $true }
        Start-Sleep -Milliseconds 50
    }
    return $false
}

function Send-Answer {
    # Answers the next connection, whatever it sends or fails to read.
    param([System.Net.Sockets.TcpListener] $Listener, [string] $Path, [double] $Oldest)

    $client = $null
    try {
        $client = $Listener.AcceptTcpClient()
        $stream = $client.GetStream()
        $watch = [System.Diagnostics.Stopwatch]::StartNew()
        $head = Read-Head -Stream $stream -Watch $watch
        if (-not $head) { return }
        $answer = [System.Text.Encoding]::UTF8.GetBytes((Get-Answer -Head $head -Path $Path -Oldest $Oldest))
        $stream.WriteTimeout = $script:Patience
        $stream.Write($answer, 0, $answer.Length)
        $client.Client.Shutdown([System.Net.Sockets.SocketShutdown]::Send)
        # A connection that is closed with something unread, a body, is reset, and the answer lost.
        if (-not (Test-Get -Head $head)) { Read-Rest -Stream $stream -Watch $watch }
    } catch {
        Write-Debug "no answer: $_"
    } finally {
        if ($null -ne $client) { $client.Close() }
    }
}

function Read-Head {
    # What a client sends until its first empty line; an empty text when that does not come in time, or not within the limit.
    [OutputType([string])]
    param([System.Net.Sockets.NetworkStream] $Stream, [System.Diagnostics.Stopwatch] $Watch)

    $buffer = New-Object 'byte[]' $script:Most
    $length = 0
    while ($length -lt $buffer.Length) {
        $count = Read-More -Stream $Stream -Watch $Watch -Buffer $buffer -From $length
        if (-not $count) { return '' }
        $length += $count
        $head = [System.Text.Encoding]::ASCII.GetString($buffer, 0, $length)
        if ($head -match '\r?\n\r?\n') { return $head }
    }
    return ''
}

function Read-Rest {
    # Reads until the client, which has its answer, leaves; within limits.
    param([System.Net.Sockets.NetworkStream] $Stream, [System.Diagnostics.Stopwatch] $Watch)

    $buffer = New-Object 'byte[]' $script:Most
    for ($times = 0; $times -lt 64; $times++) {
        if (-not (Read-More -Stream $Stream -Watch $Watch -Buffer $buffer)) { return }
    }
}

function Read-More {
    # How many bytes were read to this place of the buffer; 0 at the end, or when the client's time is over.
    [OutputType([int])]
    param(
        [System.Net.Sockets.NetworkStream] $Stream,
        [System.Diagnostics.Stopwatch] $Watch,
        [byte[]] $Buffer,
        [int] $From = 0
    )

    $left = $script:Patience - [int] $Watch.ElapsedMilliseconds
    if ($left -le 0) { return 0 }
    $Stream.ReadTimeout = $left
    return $Stream.Read($Buffer, $From, $Buffer.Length - $From)
}

function Test-Get {
    [OutputType([bool])]
    param([string] $Head)

    return $Head.StartsWith('GET ', [StringComparison]::Ordinal)
}

function Get-Answer {
    # A whole HTTP response.
    [OutputType([string])]
    param([string] $Head, [string] $Path, [double] $Oldest)

    $more = ''
    if (-not (Test-Get -Head $Head)) {
        $status, $body = '405 Method Not Allowed', "only GET is possible`n"
        $more = "Allow: GET`r`n"
    } elseif ($Head -cnotmatch '^GET /metrics[ ?]') {
        $status, $body = '404 Not Found', "only /metrics is here`n"
    } else {
        # A dead agent must not look alive. Time comes in steps of 16 ms, not everywhere the same.
        $age = ([datetime]::UtcNow - [System.IO.File]::GetLastWriteTimeUtc($Path)).TotalSeconds
        if ($age -lt -1 -or $age -gt $Oldest) {
            $status, $body = '503 Service Unavailable', "no fresh metrics from the agent (see its log)`n"
        } else {
            $status, $body = '200 OK', (Read-Shared -Path $Path)
        }
    }
    $size = [System.Text.Encoding]::UTF8.GetByteCount($body)
    return "HTTP/1.1 $status`r`nContent-Type: text/plain; version=0.0.4`r`nContent-Length: $size`r`n" +
        "${more}Connection: close`r`n`r`n$body"
}

function Read-Shared {
    # A file's text, in a way that lets the agent replace the file meanwhile.
    [OutputType([string])]
    param([string] $Path)

    $share = [System.IO.FileShare]::ReadWrite -bor [System.IO.FileShare]::Delete
    $file = [System.IO.File]::Open($Path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, $share)
    try {
        return (New-Object System.IO.StreamReader($file)).ReadToEnd()
    } finally {
        $file.Dispose()
    }
}

Export-ModuleMember -Function Invoke-Serve
