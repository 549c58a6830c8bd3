# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

function Get-NetFirewallRule {
    <#
    .SYNOPSIS
    The fake of the cmdlet that gets rules.
    #>
    [CmdletBinding(DefaultParameterSetName = 'GetAll')]
    param(
        [Parameter(ParameterSetName = 'GetAll')] [switch] $All,
        [Parameter(ParameterSetName = 'ByName', Mandatory, Position = 0)] [Alias('ID')] [string[]] $Name,
        [Parameter(ParameterSetName = 'ByDisplayName', Mandatory)] [string[]] $DisplayName,
        [Parameter(ParameterSetName = 'ByQuery')] [string[]] $Group,
        [Parameter(ParameterSetName = 'ByQuery')] [string[]] $DisplayGroup,
        [Parameter(ParameterSetName = 'ByQuery')] [FirewallEnabled[]] $Enabled,
        [Parameter(ParameterSetName = 'ByQuery')] [FirewallDirection[]] $Direction,
        [Parameter(ParameterSetName = 'ByQuery')] [FirewallAction[]] $Action,
        [string] $PolicyStore
    )
    end {
        $bound = $PSBoundParameters
        Invoke-FakeCmdlet -Cmdlet $PSCmdlet -Bound $bound -Body {
            param($State)
            ConvertTo-RuleObject -Record @(
                foreach ($index in (Resolve-RuleIndex -State $State -Bound $bound)) { $State.Rules[$index] })
        }
    }
}

# Objects like those of the real cmdlet, made in one loop because there may be ten thousand of them.
function ConvertTo-RuleObject {
    param([object[]] $Record)
    foreach ($rule in $Record) {
        [pscustomobject] @{
            PSTypeName            = 'Microsoft.Management.Infrastructure.CimInstance#root/standardcimv2/MSFT_NetFirewallRule'
            Name                  = $rule.Name
            ID                    = $rule.Name
            InstanceID            = $rule.Name
            DisplayName           = $rule.DisplayName
            Description           = $rule.Description
            Group                 = $rule.Group
            RuleGroup             = $rule.Group
            DisplayGroup          = $rule.Group
            Enabled               = [FirewallEnabled] $rule.Enabled
            Profile               = [FirewallProfile] $rule.Profile
            Direction             = [FirewallDirection] $rule.Direction
            Action                = [FirewallAction] $rule.Action
            EdgeTraversalPolicy   = [FirewallEdgeTraversal] $rule.EdgeTraversalPolicy
            PrimaryStatus         = [FirewallPrimaryStatus]::OK
            PolicyStoreSource     = $rule.Store
            PolicyStoreSourceType = [FirewallStoreType] $rule.StoreType
        }
    }
}
