# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The fake of K2s's infrastructure module: logging, errors, messages to the CLI, configuration.

Import-Module "$PSScriptRoot/../../../../FakeHost.psm1" -Global

$script:showLogs = $false

function Initialize-Logging {
    <#
    .SYNOPSIS
    Says whether everything that is logged goes to the console as well.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param([switch] $ShowLogs, [switch] $Nested)
    $script:showLogs = [bool] $ShowLogs
    $null = Invoke-FakeHost -Call 'Initialize-Logging' -With @{ ShowLogs = $script:showLogs; Nested = [bool] $Nested }
}

function Write-Log {
    <#
    .SYNOPSIS
    Logs messages, each on one line and without one leading tag.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [Parameter(ValueFromPipeline, Position = 0)] [string[]] $Messages,
        [switch] $Console,
        [switch] $Progress,
        [switch] $Error,
        [switch] $Raw
    )
    process {
        foreach ($message in $Messages) {
            $line = ($message -replace '[\r\n]', ' ') -replace '^\[[^\]]+\]\s*', ''
            if (-not $line.Trim()) {
                continue
            }
            $null = Invoke-FakeHost -Call 'Write-Log' -With @{ Message = $line; Console = [bool] $Console; Error = [bool] $Error }
            $stamped = "[$([datetime]::Now.ToString('HH:mm:ss'))] $line"
            if ($Error) {
                Write-Error $stamped -ErrorAction Continue
            } elseif ($Console -or $script:showLogs) {
                Write-Information $stamped -InformationAction Continue
            }
        }
    }
}

function New-Error {
    <#
    .SYNOPSIS
    An error for the CLI.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [ValidateSet('Warning', 'Error')] [string] $Severity = 'Error',
        [Parameter(Mandatory)] [ValidateNotNullOrEmpty()] [string] $Code,
        [Parameter(Mandatory)] [ValidateNotNullOrEmpty()] [string] $Message
    )
    [pscustomobject] @{ Severity = @{ Warning = 3; Error = 4 }[$Severity]; Code = $Code; Message = $Message }
}

function Send-ToCli {
    <#
    .SYNOPSIS
    Writes a message for the CLI to the output: the JSON's gzip in base64, behind a mark and the type.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [Parameter(Mandatory)] [ValidateNotNullOrEmpty()] [string] $MessageType,
        [Parameter(Mandatory)] [object] $Message
    )
    $null = Invoke-FakeHost -Call 'Send-ToCli' -With @{ MessageType = $MessageType }
    $raw = [System.Text.Encoding]::UTF8.GetBytes((ConvertTo-Json -InputObject $Message -Compress -Depth 100))
    $packed = [System.IO.MemoryStream]::new()
    $gzip = [System.IO.Compression.GZipStream]::new($packed, [System.IO.Compression.CompressionMode]::Compress)
    $gzip.Write($raw, 0, $raw.Length)
    $gzip.Dispose()
    $text = "#pm#$MessageType#$([System.Convert]::ToBase64String($packed.ToArray()))"
    # Longer ones may get lost on their way, so K2s refuses them.
    if ($text.Length -gt 8191) {
        throw "The message of type '$MessageType' is $($text.Length) characters long: too long."
    }
    Write-Output $text
}

function Get-ConfigProductVersion {
    <#
    .SYNOPSIS
    K2s's version.
    #>
    [CmdletBinding()]
    param()
    Invoke-FakeHost -Call 'Get-ConfigProductVersion'
}

function Get-SetupConfigFilePath {
    <#
    .SYNOPSIS
    Path of setup.json.
    #>
    [CmdletBinding()]
    param()
    "$env:ProgramData/K2s/setup.json"
}

function Get-ErrCodeSystemNotInstalled { 'system-not-installed' }

function Get-ErrCodeSystemNotRunning { 'system-not-running' }

function Get-ErrCodeWrongSetupType { 'wrong-setup-type' }

Export-ModuleMember -Function Initialize-Logging, Write-Log, New-Error, Send-ToCli, Get-ConfigProductVersion,
    Get-SetupConfigFilePath, Get-ErrCodeSystemNotInstalled, Get-ErrCodeSystemNotRunning, Get-ErrCodeWrongSetupType
