# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# What a setting is that neither the computer nor a group policy sets.
$script:defaults = [ordered] @{
    Enabled = 'True'; DefaultInboundAction = 'Block'; DefaultOutboundAction = 'Allow'; AllowInboundRules = 'True'
    AllowLocalFirewallRules = 'True'; AllowUnicastResponseToMulticast = 'True'; DisabledInterfaceAliases = 'NotConfigured'
}

function Get-NetFirewallProfile {
    <#
    .SYNOPSIS
    The fake of the cmdlet that gets profiles: as set on the computer, or what is in effect (ActiveStore).
    #>
    [CmdletBinding(DefaultParameterSetName = 'GetAll')]
    param(
        [Parameter(ParameterSetName = 'GetAll')] [switch] $All,
        [Parameter(ParameterSetName = 'ByName', Mandatory, Position = 0)] [Alias('Profile')] [string[]] $Name,
        [ValidateSet('PersistentStore', 'ActiveStore')] [string] $PolicyStore = 'PersistentStore'
    )
    end {
        $bound = $PSBoundParameters
        Invoke-FakeCmdlet -Cmdlet $PSCmdlet -Bound $bound -Body {
            param($State)
            Assert-Service -State $State
            foreach ($wanted in ($Name, '*')[$null -eq $Name]) {
                $found = @($State.Header.profiles | Where-Object -FilterScript { $_.name -like $wanted })
                foreach ($candidate in $found) {
                    ConvertTo-ProfileObject -Record $candidate -Active ($PolicyStore -eq 'ActiveStore')
                }
                if ($found.Count -eq 0 -and -not [wildcardpattern]::ContainsWildcardCharacters($wanted)) {
                    $State.Errors.Add((New-FakeError -ErrorId 'CmdletizationQuery_NotFound_Name' -Category ObjectNotFound `
                        -Target $wanted -Message ("No MSFT_NetFirewallProfile objects found with property 'Name' equal to " +
                        "'$wanted'.  Verify the value of the property and retry.")))
                }
            }
        }
    }
}

function ConvertTo-ProfileObject {
    param([object] $Record, [bool] $Active)
    $made = [ordered] @{ Name = $Record.name; Profile = $Record.name }
    foreach ($setting in $script:defaults.Keys) {
        $value = 'NotConfigured'
        if ($Active) {
            $value = Get-ProfileSetting -Record $Record -Name $setting
        } elseif ($Record.local.psobject.Properties[$setting]) {
            $value = $Record.local.$setting
        }
        $made[$setting] = switch ($setting) {
            { $_ -in 'DefaultInboundAction', 'DefaultOutboundAction' } { [FirewallAction] $value; break }
            'DisabledInterfaceAliases' { , [string[]] $value; break }
            default { [FirewallGpoBoolean] $value }
        }
    }
    [pscustomobject] $made
}

# What is in effect: a group policy's value, else the computer's, else the default.
function Get-ProfileSetting {
    param([object] $Record, [string] $Name)
    foreach ($source in $Record.policy, $Record.local) {
        $set = $source.psobject.Properties[$Name]
        if ($set -and $set.Value -ne 'NotConfigured') {
            return $set.Value
        }
    }
    $script:defaults[$Name]
}
