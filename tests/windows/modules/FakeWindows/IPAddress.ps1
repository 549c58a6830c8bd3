# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

function Get-NetIPAddress {
    <#
    .SYNOPSIS
    The fake of the cmdlet for the computer's own addresses.
    #>
    [CmdletBinding()]
    param([Parameter(Position = 0)] [string[]] $IPAddress = '*')
    end {
        Invoke-FakeCmdlet -Cmdlet $PSCmdlet -Bound $PSBoundParameters -Body {
            param($State)
            $addresses = $State.Header.addresses.psobject.Properties
            foreach ($pattern in $IPAddress) {
                $found = @($addresses | Where-Object -FilterScript { $_.Name -like $pattern })
                foreach ($address in $found) {
                    [pscustomobject] @{ IPAddress = $address.Name; InterfaceAlias = $address.Value }
                }
                if ($found.Count -eq 0 -and -not [wildcardpattern]::ContainsWildcardCharacters($pattern)) {
                    $State.Errors.Add((New-FakeError -ErrorId 'CmdletizationQuery_NotFound_IPAddress' -Category ObjectNotFound `
                        -Target $pattern -Message ("No MSFT_NetIPAddress objects found with property 'IPAddress' equal to " +
                        "'$pattern'.  Verify the value of the property and retry.")))
                }
            }
        }
    }
}
