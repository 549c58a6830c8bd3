# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

function Get-Service {
    <#
    .SYNOPSIS
    The fake of the cmdlet for services.
    #>
    [CmdletBinding()]
    param([Parameter(Position = 0)] [string[]] $Name = '*')
    end {
        Invoke-FakeCmdlet -Cmdlet $PSCmdlet -Bound $PSBoundParameters -Body {
            param($State)
            $services = $State.Header.services.psobject.Properties
            foreach ($pattern in $Name) {
                $found = @($services | Where-Object -FilterScript { $_.Name -like $pattern })
                foreach ($service in $found) {
                    [pscustomobject] @{
                        Name = $service.Name; ServiceName = $service.Name; DisplayName = $service.Name
                        Status = $service.Value; StartType = 'Automatic'
                    }
                }
                if ($found.Count -eq 0 -and -not [wildcardpattern]::ContainsWildcardCharacters($pattern)) {
                    $State.Errors.Add((New-FakeError -Message "Cannot find any service with service name '$pattern'." `
                        -ErrorId 'NoServiceFoundForGivenName,Microsoft.PowerShell.Commands.GetServiceCommand' `
                        -Category ObjectNotFound -Target $pattern))
                }
            }
        }
    }
}
