# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What a pod's agent remembers and its commands share: files in the pod's emptyDir, which outlives the container, not the pod.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Read-State {
    <#
    .SYNOPSIS
        What the agent knew last: Claimed (it owned the node once), Superseded (bool), Reason, AppliedAt (text or $null),
        ApplySeconds (how long that took, or $null), Heals (count). One who forgot all of it was here before, so it may have
        owned the node.
    #>
    [OutputType([hashtable])]
    param([Parameter(Mandatory)] [string] $Folder)

    $state = @{ Claimed = $false; Superseded = $false; Reason = $null; AppliedAt = $null; ApplySeconds = $null; Heals = 0 }
    $path = Join-Path $Folder 'state.json'
    for ($try = 0; $try -lt 10; $try++) {
        if (-not (Test-Path -LiteralPath $path)) { return $state }
        try {
            $saved = [System.IO.File]::ReadAllText($path) | ConvertFrom-Json
            $known = @{}
            foreach ($name in $state.Keys) { $known[$name] = $saved.$name }
            $state = $known
            # PowerShell 7 reads dates where Windows PowerShell reads texts.
            if ($state.AppliedAt -is [datetime]) { $state.AppliedAt = Get-Timestamp -Time $state.AppliedAt }
            return $state
        } catch {
            # Replaced at this moment by the running agent.
            Start-Sleep -Milliseconds 100
        }
    }
    $state.Claimed = $true
    return $state
}

function Write-State {
    <#
    .SYNOPSIS
        Remembers, in one step.
    #>
    param([Parameter(Mandatory)] [string] $Folder, [Parameter(Mandatory)] [hashtable] $State)

    $path = Join-Path $Folder 'state.json'
    $text = ConvertTo-Json -InputObject $State -Compress
    if ((Test-Path -LiteralPath $path) -and [System.IO.File]::ReadAllText($path) -eq $text) { return }
    Write-Whole -Path $path -Text $text
}

function Write-RuleKey {
    <#
    .SYNOPSIS
        Leaves the keys of the rules that a policy becomes to the agent's other commands, in one step.
    #>
    param(
        [Parameter(Mandatory)] [string] $Folder,
        # Of the policy and the scripts that compiled it.
        [Parameter(Mandatory)] [string] $Hash,
        [Parameter(Mandatory)] [AllowEmptyCollection()] [string[]] $Key
    )

    $text = $Key -join "`n"
    Write-Whole -Path (Join-Path $Folder 'wanted') -Text ((Get-TextHash -Text "$Hash`n$text") + "`n" + $text)
}

function Read-RuleKey {
    <#
    .SYNOPSIS
        What Write-RuleKey left; $null when there is nothing, or not exactly what it left for this policy.
    #>
    [OutputType([string[]])]
    param([Parameter(Mandatory)] [string] $Folder, [Parameter(Mandatory)] [AllowEmptyString()] [string] $Hash)

    try {
        $given, $text = [System.IO.File]::ReadAllText((Join-Path $Folder 'wanted')).Split([char[]] "`n", 2)
    } catch {
        # There is none, or it is replaced at this moment.
        return $null
    }
    if ($given -ne (Get-TextHash -Text "$Hash`n$text")) { return $null }
    if (-not $text) { return , [string[]] @() }
    return , $text.Split([char[]] "`n")
}

function Write-Whole {
    # Replaces a file in one step.
    param([string] $Path, [string] $Text)

    [System.IO.File]::WriteAllText("$Path.new", $Text)
    Invoke-Patiently -Block {
        if (Test-Path -LiteralPath $Path) {
            [System.IO.File]::Replace("$Path.new", $Path, [NullString]::Value)
        } else {
            [System.IO.File]::Move("$Path.new", $Path)
        }
    }
}

function Get-MetricsPath {
    <#
    .SYNOPSIS
        The file that holds the metrics of the pod's last look. It is there only while this pod speaks for the node.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [string] $Folder)

    return Join-Path $Folder 'metrics.prom'
}

function Write-MetricsText {
    <#
    .SYNOPSIS
        Leaves the metrics for who hands them out, in one step; an empty text takes them away.
    #>
    param([Parameter(Mandatory)] [string] $Folder, [Parameter(Mandatory)] [AllowEmptyString()] [string] $Text)

    $path = Get-MetricsPath -Folder $Folder
    if ($Text) {
        Write-Whole -Path $path -Text $Text
    } elseif (Test-Path -LiteralPath $path) {
        Invoke-Patiently -Block { [System.IO.File]::Delete($path) }
    }
}

function Invoke-Patiently {
    # Windows moves no file that somebody reads at this moment, a virus scanner for example.
    param([scriptblock] $Block)

    for ($try = 1; $true; $try++) {
        try {
            & $Block
            return
        } catch {
            if ($try -eq 5) { throw }
            Start-Sleep -Milliseconds 200
        }
    }
}

function Get-Timestamp {
    <#
    .SYNOPSIS
        A time as RFC 3339 in UTC; by default now.
    #>
    [OutputType([string])]
    param([datetime] $Time = [datetime]::UtcNow)

    return $Time.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ssZ', [System.Globalization.CultureInfo]::InvariantCulture)
}

function Test-Flag {
    <#
    .SYNOPSIS
        Whether one of the agent's commands left a request: `released` (remove, and do not heal) or `stopping` (the pod ends).
    #>
    [OutputType([bool])]
    param([Parameter(Mandatory)] [string] $Folder, [Parameter(Mandatory)] [string] $Name)

    return Test-Path -LiteralPath (Join-Path $Folder $Name)
}

function Write-Flag {
    <#
    .SYNOPSIS
        Leaves a request, or takes it back.
    #>
    param([Parameter(Mandatory)] [string] $Folder, [Parameter(Mandatory)] [string] $Name, [switch] $Off)

    $path = Join-Path $Folder $Name
    if (-not $Off) {
        [System.IO.File]::WriteAllText($path, '')
    } elseif (Test-Path -LiteralPath $path) {
        [System.IO.File]::Delete($path)
    }
}

function Copy-Bundle {
    <#
    .SYNOPSIS
        Copies what is mounted, if it has this hash, to where no later change of the ConfigMap reaches it.
    .OUTPUTS
        Why not, or nothing.
    #>
    [OutputType([string])]
    param(
        [Parameter(Mandatory)] [string] $From,
        [Parameter(Mandatory)] [string] $Folder,
        [Parameter(Mandatory)] [AllowEmptyString()] [string] $Hash
    )

    $to = Join-Path $Folder 'adopted'
    if ((Test-Path -LiteralPath $to) -and -not (Test-Bundle -Folder $to -Hash $Hash)) { return }
    $why = Test-Bundle -Folder $From -Hash $Hash
    if ($why) { return $why }
    # Somebody has laid hands on the copy.
    if (Test-Path -LiteralPath $to) { Remove-Item -LiteralPath $to -Recurse -Force }
    $new = "$to.new"
    if (Test-Path -LiteralPath $new) { Remove-Item -LiteralPath $new -Recurse -Force }
    $null = New-Item -ItemType Directory -Path $new
    foreach ($path in Get-BundleFile -Folder $From) { Copy-Item -LiteralPath $path -Destination $new }
    if ((Get-BundleHash -Folder $new) -ne $Hash) { return "cannot copy the policy to $new (is its emptyDir full?)" }
    Invoke-Patiently -Block { Move-Item -LiteralPath $new -Destination $to }
}

function Test-Bundle {
    <#
    .SYNOPSIS
        Why a folder does not hold the files with this hash; nothing when it does.
    #>
    [OutputType([string])]
    param([Parameter(Mandatory)] [string] $Folder, [Parameter(Mandatory)] [AllowEmptyString()] [string] $Hash)

    $found = Get-BundleHash -Folder $Folder
    if ($found -ne $Hash) {
        return "$Folder holds policy $($found.Substring(0, 12)), not this pod's $($Hash.PadRight(12).Substring(0, 12)) " +
            '(the ConfigMap was changed without a rollout: run helm upgrade, or delete this pod after the rollout)'
    }
}

function Get-BundleFile {
    # The ConfigMap's files in the order that the hash has them.
    [OutputType([string[]])]
    param([string] $Folder)

    $paths = [System.IO.Directory]::GetFiles($Folder)
    [Array]::Sort($paths, [StringComparer]::Ordinal)
    return $paths
}

function Get-BundleHash {
    # SHA-256 of all files, one after the other, in hexadecimal.
    [OutputType([string])]
    param([string] $Folder)

    $sha = [System.Security.Cryptography.SHA256]::Create()
    try {
        foreach ($path in Get-BundleFile -Folder $Folder) {
            $bytes = [System.IO.File]::ReadAllBytes($path)
            $null = $sha.TransformBlock($bytes, 0, $bytes.Length, $null, 0)
        }
        $null = $sha.TransformFinalBlock([byte[]] @(), 0, 0)
        return [BitConverter]::ToString($sha.Hash).Replace('-', '').ToLowerInvariant()
    } finally {
        $sha.Dispose()
    }
}

function Get-TextHash {
    # SHA-256 of a text in UTF-8, in hexadecimal.
    [OutputType([string])]
    param([string] $Text)

    $sha = [System.Security.Cryptography.SHA256]::Create()
    try {
        $hash = $sha.ComputeHash([System.Text.Encoding]::UTF8.GetBytes($Text))
    } finally {
        $sha.Dispose()
    }
    return [BitConverter]::ToString($hash).Replace('-', '').ToLowerInvariant()
}

Export-ModuleMember -Function Read-State, Write-State, Write-RuleKey, Read-RuleKey, Get-MetricsPath, Write-MetricsText,
    Get-Timestamp, Test-Flag, Write-Flag, Copy-Bundle, Test-Bundle
