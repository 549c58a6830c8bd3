# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The fake of K2s's node module: commands on the control plane.

Import-Module "$PSScriptRoot/../../../../FakeHost.psm1" -Global

function Invoke-CmdOnControlPlaneViaSSHKey {
    <#
    .SYNOPSIS
    Runs a command on the control plane. Success and Output; it never throws.
    #>
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [Parameter(Mandatory, Position = 0)] $CmdToExecute,
        [switch] $IgnoreErrors,
        [uint16] $Retries = 0,
        [uint16] $Timeout = 1,
        [switch] $NoLog,
        [switch] $Nested,
        [string] $RepairCmd
    )
    ConvertTo-NativeResult -Answer (Invoke-FakeHost -Call 'ssh' -With @{ Command = "$CmdToExecute" })
}

Export-ModuleMember -Function Invoke-CmdOnControlPlaneViaSSHKey
