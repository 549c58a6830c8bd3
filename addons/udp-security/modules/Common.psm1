# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Calling kubectl and helm through K2s, reading what they print, and failing.

# In this module only: K2s's own modules run native programs and read properties that may be missing.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

Import-Module (Join-Path $PSScriptRoot 'Json.psm1')

$script:RequestTimeout = '--request-timeout=30s'
# Bytes of a message to the CLI.
$script:Most = 4500

function Get-Failure {
    <#
    .SYNOPSIS
        An exception to throw, with a code of K2s's.
    .DESCRIPTION
        What fails with a plain `throw` has the code of the command that failed.
    #>
    [OutputType([System.InvalidOperationException])]
    param([Parameter(Mandatory)] [string] $Message, [Parameter(Mandatory)] [string] $Code)

    $failure = New-Object System.InvalidOperationException $Message
    $failure.Data['code'] = $Code
    return $failure
}

function Invoke-Tool {
    <#
    .SYNOPSIS
        Runs kubectl or helm. Success, Text (standard output) and Said (all output), as texts without blanks around them.
    #>
    [OutputType([pscustomobject])]
    param(
        [Parameter(Mandatory)] [ValidateSet('kubectl', 'helm')] [string] $Name,
        [Parameter(Mandatory)] [string[]] $Params
    )

    # What changes or watches the cluster has time limits of its own.
    if ($Name -eq 'kubectl' -and $Params[0] -eq 'get') { $Params += $script:RequestTimeout }
    if ($Name -eq 'helm') { $result = Invoke-Helm -Params $Params } else { $result = Invoke-Kubectl -Params $Params }
    # K2s merges standard error into the output, as error records, also when all went well.
    $lines = @($result.Output | Where-Object { $null -ne $_ })
    $printed = @($lines | Where-Object { $_ -isnot [System.Management.Automation.ErrorRecord] })
    return [pscustomobject] @{
        Success = [bool] $result.Success
        Text    = ($printed -join "`n").Trim()
        Said    = (@($lines | ForEach-Object { "$_" }) -join "`n").Trim()
    }
}

function Get-ToolText {
    <#
    .SYNOPSIS
        What kubectl or helm prints. Throws what it says when it fails.
    #>
    [OutputType([string])]
    param(
        [Parameter(Mandatory)] [ValidateSet('kubectl', 'helm')] [string] $Name,
        [Parameter(Mandatory)] [string[]] $Params
    )

    $result = Invoke-Tool -Name $Name -Params $Params
    if (-not $result.Success) { throw "'$Name $($Params[0]) $($Params[1])' failed: $($result.Said)" }
    return $result.Text
}

function Get-ToolJson {
    <#
    .SYNOPSIS
        What kubectl or helm prints as JSON, as objects; nothing for null. Throws what it says when it fails.
    #>
    param(
        [Parameter(Mandatory)] [ValidateSet('kubectl', 'helm')] [string] $Name,
        [Parameter(Mandatory)] [string[]] $Params
    )

    $text = Get-ToolText -Name $Name -Params ($Params + '-o', 'json')
    # Assigned: Windows PowerShell emits an array as one object.
    try {
        $found = ConvertFrom-Json -InputObject $text
    } catch {
        # Labels and annotations may differ only in case. This takes ten times as long.
        $found = ConvertFrom-CasedJson -Text $text
    }
    if ($null -ne $found) { return $found }
}

function Get-Field {
    <#
    .SYNOPSIS
        A member of an object that was JSON, or nothing where any part of the path is missing.
    #>
    param([AllowNull()] $Object, [Parameter(Mandatory)] [string[]] $Path)

    foreach ($name in $Path) {
        if ($null -eq $Object) { return }
        if ($Object -is [System.Collections.IDictionary]) {
            $Object = $Object[$name]
            continue
        }
        $property = $Object.PSObject.Properties[$name]
        if ($null -eq $property) { return }
        $Object = $property.Value
    }
    if ($null -ne $Object) { return $Object }
}

function Write-Text {
    <#
    .SYNOPSIS
        Writes a file, UTF-8 without a byte order mark, which Windows PowerShell's own cmdlets cannot.
    #>
    param([Parameter(Mandatory)] [string] $Path, [Parameter(Mandatory)] [string] $Text)

    [System.IO.File]::WriteAllText($Path, "$Text`n")
}

function Join-Sentence {
    <#
    .SYNOPSIS
        Sentences as one text, each with exactly one full stop at its end.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [string[]] $Sentence, [string] $By = ' ')

    return @($Sentence | ForEach-Object { "$($_.TrimEnd(' ', '.', ';'))." }) -join $By
}

function Get-ShortText {
    <#
    .SYNOPSIS
        A text that fits into a message to the CLI: of a longer one the first lines and the last, which says how it ended.
    .DESCRIPTION
        K2s takes 8191 characters at most after packing, which makes 6 kB of any text, with quotes and other letters escaped.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [AllowEmptyString()] [string] $Text)

    if ([System.Text.Encoding]::UTF8.GetByteCount($Text) -le $script:Most) { return $Text }
    $lines = @($Text -split "`r?`n")
    $last = $lines[-1]
    if ($last.Length -gt 2000) { $last = "$($last.Substring(0, 2000))..." }
    $lines = @(foreach ($line in $lines) { if ($line.Length -gt 600) { "$($line.Substring(0, 600))..." } else { $line } })
    $left = $script:Most - [System.Text.Encoding]::UTF8.GetByteCount($last)
    $kept = @()
    foreach ($line in @($lines | Select-Object -SkipLast 1)) {
        $left -= [System.Text.Encoding]::UTF8.GetByteCount($line) + 1
        if ($left -lt 0) { break }
        $kept += $line
    }
    $more = $lines.Count - 1 - $kept.Count
    if ($more) { $kept += "... and $more more lines (see the log)" }
    return ($kept + $last) -join "`n"
}

Export-ModuleMember -Function Get-Failure, Invoke-Tool, Get-ToolText, Get-ToolJson, Get-Field, Write-Text, Join-Sentence,
    Get-ShortText
