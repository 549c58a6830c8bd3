# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The identifier of a function's error ends with the function's name, that of a compiled cmdlet's error with its type's
# name. Only a received error can say which: this is where it keeps the identifier it came with.
$script:fullIdentifier = [System.Management.Automation.ErrorRecord].GetField(
    '_serializedFullyQualifiedErrorId', [System.Reflection.BindingFlags]'Instance,NonPublic')

function New-FakeError {
    <#
    .SYNOPSIS
    An error of a fake cmdlet. An -ErrorId with a comma is the whole identifier.
    #>
    param(
        [Parameter(Mandatory)] [string] $Message,
        [Parameter(Mandatory)] [string] $ErrorId,
        [System.Management.Automation.ErrorCategory] $Category = 'NotSpecified',
        [object] $Target
    )
    $made = [System.Management.Automation.ErrorRecord]::new([System.Exception]::new($Message), $ErrorId, $Category, $Target)
    if ($ErrorId.Contains(',')) {
        $script:fullIdentifier.SetValue($made, $ErrorId)
    }
    $made
}

function Stop-FakeCmdlet {
    <#
    .SYNOPSIS
    Ends the body of a fake cmdlet with an error, which Invoke-FakeCmdlet reports.
    #>
    param([System.Management.Automation.ErrorRecord] $ErrorRecord)
    # The record itself must not be thrown: it would keep the name of the function that threw it.
    $carrier = [System.Exception]::new($ErrorRecord.Exception.Message)
    $carrier.Data['record'] = $ErrorRecord
    throw $carrier
}
