# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

function New-NetFirewallRule {
    <#
    .SYNOPSIS
    The fake of the cmdlet that adds a rule.
    #>
    [CmdletBinding(SupportsShouldProcess)]
    param(
        [string] $PolicyStore,
        [Alias('ID')] [string] $Name = ('{' + [guid]::NewGuid().ToString().ToUpperInvariant() + '}'),
        [Parameter(Mandatory)] [string] $DisplayName,
        [string] $Description,
        [string] $Group,
        [FirewallEnabled] $Enabled,
        [FirewallProfile] $Profile,
        [FirewallDirection] $Direction,
        [FirewallAction] $Action,
        [FirewallEdgeTraversal] $EdgeTraversalPolicy,
        [string[]] $LocalAddress,
        [string[]] $RemoteAddress,
        [string] $Protocol,
        [string[]] $LocalPort,
        [string[]] $RemotePort,
        [string] $Program,
        [string] $Service,
        [string[]] $InterfaceAlias,
        [ValidateSet('Any', 'Wired', 'Wireless', 'RemoteAccess')] [string] $InterfaceType
    )
    end {
        $bound = $PSBoundParameters
        if (-not $PSCmdlet.ShouldProcess($DisplayName, 'New-NetFirewallRule')) {
            return
        }
        Invoke-FakeCmdlet -Cmdlet $PSCmdlet -Bound $bound -Body {
            param($State)
            Assert-Service -State $State
            if ($bound.ContainsKey('PolicyStore') -and $PolicyStore -ne 'PersistentStore') {
                Stop-Invalid -Message "This store takes no rules here: $PolicyStore"
            }
            $rule = [ordered] @{
                Name = $Name; DisplayName = $DisplayName; Description = $null; Group = $null; Enabled = 'True'; Profile = 'Any'
                Direction = 'Inbound'; Action = 'Allow'; EdgeTraversalPolicy = 'Block'
                Store = 'PersistentStore'; StoreType = 'Local'; Protocol = 'Any'; LocalPort = @('Any'); RemotePort = @('Any')
                LocalAddress = @('Any'); RemoteAddress = @('Any'); Program = 'Any'; Service = 'Any'; InterfaceAlias = @('Any')
                InterfaceType = 'Any'
            }
            Edit-RuleRecord -Rule $rule -Bound $bound
            foreach ($other in $State.Rules) {
                if ($other.Name -eq $Name -and $other.StoreType -eq 'Local') {
                    Stop-FakeCmdlet (New-FakeError -Message 'Cannot create a file when that file already exists.' `
                        -ErrorId 'Windows System Error 183' -Target $Name)
                }
            }
            Save-FakeRule -State $State -Rule $rule
            ConvertTo-RuleObject -Record $rule
        }
    }
}

function Set-NetFirewallRule {
    <#
    .SYNOPSIS
    The fake of the cmdlet that changes rules. The parameters are those of New-NetFirewallRule, but the name and the group
    select, and the display name is changed by -NewDisplayName.
    #>
    [CmdletBinding(SupportsShouldProcess, DefaultParameterSetName = 'ByName')]
    param(
        [Parameter(ParameterSetName = 'ByName', Mandatory, Position = 0)] [Alias('ID')] [string[]] $Name,
        [Parameter(ParameterSetName = 'ByDisplayName', Mandatory)] [string[]] $DisplayName,
        [Parameter(ParameterSetName = 'ByGroup', Mandatory)] [string[]] $Group,
        [Parameter(ParameterSetName = 'ByGroup2', Mandatory)] [string[]] $DisplayGroup,
        [Parameter(ParameterSetName = 'InputObject', Mandatory, ValueFromPipeline)] [psobject[]] $InputObject,
        [string] $PolicyStore,
        [string] $NewDisplayName,
        [string] $Description,
        [FirewallEnabled] $Enabled,
        [FirewallProfile] $Profile,
        [FirewallDirection] $Direction,
        [FirewallAction] $Action,
        [FirewallEdgeTraversal] $EdgeTraversalPolicy,
        [string[]] $LocalAddress,
        [string[]] $RemoteAddress,
        [string] $Protocol,
        [string[]] $LocalPort,
        [string[]] $RemotePort,
        [string] $Program,
        [string] $Service,
        [string[]] $InterfaceAlias,
        [ValidateSet('Any', 'Wired', 'Wireless', 'RemoteAccess')] [string] $InterfaceType
    )
    begin {
        $piped = [System.Collections.Generic.List[object]]::new()
    }
    process {
        foreach ($item in $InputObject) {
            $piped.Add($item)
        }
    }
    end {
        $bound = @{}
        $select = @{}
        foreach ($key in $PSBoundParameters.Keys) {
            if ($key -in 'Name', 'DisplayName', 'Group', 'DisplayGroup', 'PolicyStore') {
                $select[$key] = $PSBoundParameters[$key]
            } else {
                $bound[$key] = $PSBoundParameters[$key]
            }
        }
        if ($piped.Count -gt 0) {
            $PSBoundParameters['InputObject'] = $piped.ToArray()
        }
        if (-not $PSCmdlet.ShouldProcess($PSCmdlet.ParameterSetName, 'Set-NetFirewallRule')) {
            return
        }
        Invoke-FakeCmdlet -Cmdlet $PSCmdlet -Bound $PSBoundParameters -Body {
            param($State)
            foreach ($index in (Resolve-RuleIndex -State $State -Bound $select -InputObject $piped.ToArray())) {
                if (-not (Test-Changeable -State $State -Index $index)) {
                    continue
                }
                $rule = [ordered] @{}
                foreach ($property in $State.Rules[$index].psobject.Properties) {
                    $rule[$property.Name] = $property.Value
                }
                Edit-RuleRecord -Rule $rule -Bound $bound
                Save-FakeRule -State $State -Index $index -Rule $rule
            }
        }
    }
}

function Remove-NetFirewallRule {
    <#
    .SYNOPSIS
    The fake of the cmdlet that removes rules: all local ones, if none are selected.
    #>
    [CmdletBinding(SupportsShouldProcess, DefaultParameterSetName = 'GetAll')]
    param(
        [Parameter(ParameterSetName = 'GetAll')] [switch] $All,
        [Parameter(ParameterSetName = 'ByName', Mandatory, Position = 0)] [Alias('ID')] [string[]] $Name,
        [Parameter(ParameterSetName = 'ByDisplayName', Mandatory)] [string[]] $DisplayName,
        [Parameter(ParameterSetName = 'ByQuery')] [string[]] $Group,
        [Parameter(ParameterSetName = 'ByQuery')] [string[]] $DisplayGroup,
        [Parameter(ParameterSetName = 'ByQuery')] [FirewallEnabled[]] $Enabled,
        [Parameter(ParameterSetName = 'ByQuery')] [FirewallDirection[]] $Direction,
        [Parameter(ParameterSetName = 'ByQuery')] [FirewallAction[]] $Action,
        [Parameter(ParameterSetName = 'InputObject', Mandatory, ValueFromPipeline)] [psobject[]] $InputObject,
        [Parameter(ParameterSetName = 'GetAll')] [Parameter(ParameterSetName = 'ByName')]
        [Parameter(ParameterSetName = 'ByDisplayName')] [Parameter(ParameterSetName = 'ByQuery')] [string] $PolicyStore
    )
    begin {
        $piped = [System.Collections.Generic.List[object]]::new()
    }
    process {
        foreach ($item in $InputObject) {
            $piped.Add($item)
        }
    }
    end {
        $bound = $PSBoundParameters
        # An empty pipeline selects nothing: it is not the call without a selection.
        if ($PSCmdlet.ParameterSetName -eq 'InputObject' -or $PSCmdlet.MyInvocation.ExpectingInput) {
            if ($piped.Count -eq 0) {
                return
            }
            $bound['InputObject'] = $piped.ToArray()
        }
        if (-not $PSCmdlet.ShouldProcess($PSCmdlet.ParameterSetName, 'Remove-NetFirewallRule')) {
            return
        }
        Invoke-FakeCmdlet -Cmdlet $PSCmdlet -Bound $bound -Body {
            param($State)
            $found = Resolve-RuleIndex -State $State -Bound $bound -InputObject $piped.ToArray()
            # From the first to the last, and each that goes moves the others up.
            $gone = 0
            foreach ($index in $found) {
                if (Test-Changeable -State $State -Index ($index - $gone)) {
                    Save-FakeRule -State $State -Index ($index - $gone)
                    $gone++
                }
            }
        }
    }
}

# Sets what was given, checked and in the form in which it is printed.
function Edit-RuleRecord {
    param([System.Collections.IDictionary] $Rule, [System.Collections.IDictionary] $Bound)
    Assert-Text -Bound $Bound
    foreach ($key in 'Description', 'Group', 'Program', 'Service', 'InterfaceAlias', 'InterfaceType') {
        if ($Bound.ContainsKey($key)) {
            $Rule[$key] = $Bound[$key]
        }
    }
    if ($Bound.ContainsKey('NewDisplayName')) {
        $Rule.DisplayName = $Bound['NewDisplayName']
    }
    foreach ($key in 'Enabled', 'Profile', 'Direction', 'Action', 'EdgeTraversalPolicy') {
        if ($Bound.ContainsKey($key)) {
            $Rule[$key] = [string] $Bound[$key]
        }
    }
    if ($Rule.Action -eq 'NotConfigured') {
        Stop-Invalid -Message 'A rule allows or blocks.'
    }
    if ($Rule.EdgeTraversalPolicy -ne 'Block' -and $Rule.Direction -eq 'Outbound') {
        Stop-Invalid -Message 'Edge traversal is for inbound rules.'
    }
    if ($Bound.ContainsKey('Protocol')) {
        $Rule.Protocol = ConvertTo-Protocol -Text $Bound['Protocol']
    }
    foreach ($key in 'LocalPort', 'RemotePort') {
        if ($Bound.ContainsKey($key)) {
            $Rule[$key] = $Bound[$key]
        }
        $Rule[$key] = ConvertTo-PortList -Text $Rule[$key] -Protocol $Rule.Protocol -Side $key
    }
    foreach ($key in 'LocalAddress', 'RemoteAddress') {
        if ($Bound.ContainsKey($key)) {
            $Rule[$key] = ConvertTo-AddressList -Text $Bound[$key]
        }
    }
}

# Whether a rule may be changed here; otherwise reports the error.
function Test-Changeable {
    param([hashtable] $State, [int] $Index)
    if ($State.Rules[$Index].StoreType -eq 'Local') {
        return $true
    }
    $State.Errors.Add((New-FakeError -Message 'Access is denied.' -ErrorId 'Windows System Error 5' `
        -Category PermissionDenied -Target $State.Rules[$Index].Name))
    $false
}
