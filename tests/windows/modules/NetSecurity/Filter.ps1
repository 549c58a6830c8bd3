# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The conditions of rules, which Windows keeps in seven objects for each rule. There may be ten thousand rules: so each
# projection is one loop, and calls nothing. As the real cmdlets print it, one value is no list.
$script:projections = @{
    PortFilter          = {
        param([System.Collections.Generic.List[object]] $Rules)
        foreach ($rule in $Rules) {
            $local = $rule.LocalPort
            if ($local.Count -eq 1) { $local = $local[0] } else { $local = [string[]] $local }
            $remote = $rule.RemotePort
            if ($remote.Count -eq 1) { $remote = $remote[0] } else { $remote = [string[]] $remote }
            [pscustomobject] @{
                InstanceID = $rule.Name; Protocol = $rule.Protocol; LocalPort = $local; RemotePort = $remote
                IcmpType = 'Any'; DynamicTarget = 'Any'
            }
        }
    }
    AddressFilter       = {
        param([System.Collections.Generic.List[object]] $Rules)
        foreach ($rule in $Rules) {
            $local = $rule.LocalAddress
            if ($local.Count -eq 1) { $local = $local[0] } else { $local = [string[]] $local }
            $remote = $rule.RemoteAddress
            if ($remote.Count -eq 1) { $remote = $remote[0] } else { $remote = [string[]] $remote }
            [pscustomobject] @{ InstanceID = $rule.Name; LocalAddress = $local; RemoteAddress = $remote }
        }
    }
    ApplicationFilter   = {
        param([System.Collections.Generic.List[object]] $Rules)
        foreach ($rule in $Rules) {
            [pscustomobject] @{ InstanceID = $rule.Name; Program = $rule.Program; Package = $null }
        }
    }
    ServiceFilter       = {
        param([System.Collections.Generic.List[object]] $Rules)
        foreach ($rule in $Rules) {
            [pscustomobject] @{ InstanceID = $rule.Name; Service = $rule.Service }
        }
    }
    InterfaceFilter     = {
        param([System.Collections.Generic.List[object]] $Rules)
        foreach ($rule in $Rules) {
            $alias = $rule.InterfaceAlias
            if ($alias.Count -eq 1) { $alias = $alias[0] } else { $alias = [string[]] $alias }
            [pscustomobject] @{ InstanceID = $rule.Name; InterfaceAlias = $alias }
        }
    }
    InterfaceTypeFilter = {
        param([System.Collections.Generic.List[object]] $Rules)
        foreach ($rule in $Rules) {
            [pscustomobject] @{ InstanceID = $rule.Name; InterfaceType = $rule.InterfaceType }
        }
    }
    SecurityFilter      = {
        param([System.Collections.Generic.List[object]] $Rules)
        foreach ($rule in $Rules) {
            [pscustomobject] @{
                InstanceID = $rule.Name; Authentication = 'NotRequired'; Encryption = 'NotRequired'; OverrideBlockRules = $false
                LocalUser = 'Any'; RemoteUser = 'Any'; RemoteMachine = 'Any'
            }
        }
    }
}

# The cmdlets differ in what they give back only.
foreach ($noun in $script:projections.Keys) {
    . ([scriptblock]::Create(@"
function Get-NetFirewall$noun {
    [CmdletBinding(DefaultParameterSetName = 'GetAll')]
    param(
        [Parameter(ParameterSetName = 'GetAll')] [switch] `$All,
        [Parameter(ParameterSetName = 'ByRule', Mandatory, ValueFromPipeline)] [psobject[]] `$AssociatedNetFirewallRule,
        [string] `$PolicyStore
    )
    begin {
        `$rules = [System.Collections.Generic.List[object]]::new()
    }
    process {
        foreach (`$rule in `$AssociatedNetFirewallRule) {
            `$rules.Add(`$rule)
        }
    }
    end {
        if (`$PSCmdlet.MyInvocation.ExpectingInput -and `$rules.Count -eq 0) {
            return
        }
        Invoke-FakeCmdlet -Cmdlet `$PSCmdlet -Bound `$PSBoundParameters -Body {
            param(`$State)
            & `$script:projections['$noun'] (Get-FilterRecord -State `$State -PolicyStore `$PolicyStore -Rule `$rules.ToArray())
        }
    }
}
"@))
}

# The rules whose conditions are asked for.
function Get-FilterRecord {
    param([hashtable] $State, [string] $PolicyStore, [object[]] $Rule)
    $index = Get-StoreIndex -State $State -PolicyStore $PolicyStore
    if ($Rule.Count -gt 0) {
        $names = @(foreach ($item in $Rule) { $item.InstanceID })
        $index = Select-RuleIndex -State $State -Index $index -Property 'InstanceID' -Column 'Name' -Value $names
    }
    $records = [System.Collections.Generic.List[object]]::new($index.Count)
    foreach ($one in $index) {
        $records.Add($State.Rules[$one])
    }
    , $records
}
