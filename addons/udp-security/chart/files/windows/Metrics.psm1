# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What Prometheus is told: what the agent knows of itself. Windows Firewall counts neither flows nor packets.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Get-MetricsText {
    <#
    .SYNOPSIS
        The metrics of a look at this moment, in Prometheus's text format 0.0.4, with a newline at the end.
    #>
    [OutputType([string])]
    param(
        # Its Policy may be missing.
        [Parameter(Mandatory)] [hashtable] $Agent,
        # As from Read-State.
        [Parameter(Mandatory)] [hashtable] $Memory,
        [Parameter(Mandatory)] [bool] $Enforced
    )

    $policy = $Agent.Policy
    if ($null -eq $policy) { $policy = @{ mode = ''; scope = ''; version = '' } }
    $labels = [ordered] @{
        os         = 'windows'
        backend    = 'windows-firewall'
        mode       = $policy.mode
        scope      = $policy.scope
        generation = $Agent.Generation
        version    = $policy.version
    }
    $pairs = foreach ($name in $labels.Keys) { '{0}="{1}"' -f $name, (Get-LabelText -Text $labels[$name]) }
    $lines = @(
        Get-Metric -Name 'info' -Help 'What this agent runs; always 1.' -Labels "{$($pairs -join ',')}" -Value 1
        Get-Metric -Name 'enforced' -Value ([int] $Enforced) -Help (
            'Whether the firewall holds exactly the policy of this pod, 1 or 0; in mode audit that blocks nothing.')
        Get-Metric -Name 'heals_total' -Type 'counter' -Value $Memory.Heals -Help (
            'Foreign changes of the rules that this pod has undone.')
        if ($Memory.AppliedAt) {
            Get-Metric -Name 'apply_seconds' -Value $Memory.ApplySeconds -Help 'How long the last load of the rules took.'
            Get-Metric -Name 'applied_timestamp_seconds' -Help 'When the rules were loaded last, in Unix time.' -Value (
                Get-UnixTime -Time ([DateTimeOffset]::Parse($Memory.AppliedAt, [cultureinfo]::InvariantCulture)))
        }
        Get-Metric -Name 'last_look_timestamp_seconds' -Help 'When the agent compared the rules last, in Unix time.' -Value (
            Get-UnixTime -Time ([DateTimeOffset]::UtcNow))
    )
    return ($lines -join "`n") + "`n"
}

function Get-Metric {
    # The lines of one metric with one sample.
    [OutputType([string[]])]
    param([string] $Name, [string] $Help, [string] $Type = 'gauge', [string] $Labels = '', [double] $Value)

    # In no country's way to write numbers.
    $number = $Value.ToString('0.###', [cultureinfo]::InvariantCulture)
    "# HELP udp_security_$Name $Help"
    "# TYPE udp_security_$Name $Type"
    "udp_security_$Name$Labels $number"
}

function Get-LabelText {
    # A label's value, as it stands between quotes.
    [OutputType([string])]
    param([AllowNull()] [string] $Text)

    return $Text.Replace('\', '\\').Replace('"', '\"').Replace("`n", '\n')
}

function Get-UnixTime {
    [OutputType([long])]
    param([DateTimeOffset] $Time)

    return $Time.ToUnixTimeSeconds()
}

Export-ModuleMember -Function Get-MetricsText
