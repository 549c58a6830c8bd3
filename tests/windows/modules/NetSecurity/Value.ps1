# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# What the cmdlets take as ports, addresses and texts, and what they make of it.

$script:protocols = @{ '1' = 'ICMPv4'; 'icmpv4' = 'ICMPv4'; '6' = 'TCP'; 'tcp' = 'TCP'; '17' = 'UDP'; 'udp' = 'UDP'
    '58' = 'ICMPv6'; 'icmpv6' = 'ICMPv6'; 'any' = 'Any' }
$script:portKeywords = @{
    'TCP LocalPort' = 'RPC', 'RPCEPMap', 'IPHTTPSIn'; 'TCP RemotePort' = , 'IPHTTPSOut'
    'UDP LocalPort' = 'Teredo', 'PlayToDiscovery'; 'UDP RemotePort' = @()
}
$script:addressKeywords = 'LocalSubnet', 'DNS', 'DHCP', 'WINS', 'DefaultGateway', 'Internet', 'Intranet',
    'IntranetRemoteAccess', 'PlayToDevice', 'CaptivePortal'
# Users' reports; Microsoft names no limit.
$script:mostAddresses = 1000

function Stop-Invalid {
    param([string] $Message)
    Stop-FakeCmdlet (New-FakeError -Message $Message -ErrorId 'HRESULT 0x80070057' -Category InvalidArgument)
}

function ConvertTo-Protocol {
    param([string] $Text)
    if ($script:protocols.ContainsKey($Text)) {
        return $script:protocols[$Text]
    }
    if ($Text -notmatch '^\d{1,3}$' -or [int] $Text -gt 255) {
        Stop-Invalid -Message "The protocol is invalid: $Text"
    }
    $Text
}

function ConvertTo-PortList {
    param([string[]] $Text, [string] $Protocol, [string] $Side)
    if ($Text -contains 'Any') {
        if ($Text.Count -gt 1) {
            Stop-Invalid -Message "The keyword Any stands alone: $Text"
        }
        return , @('Any')
    }
    if ($Protocol -notin 'TCP', 'UDP') {
        Stop-Invalid -Message "Ports can be given for the protocols TCP and UDP only, not for $Protocol."
    }
    $keywords = $script:portKeywords["$Protocol $Side"]
    $read = foreach ($port in $Text) {
        if ($port -cmatch '^(\d{1,5})(?:-(\d{1,5}))?$') {
            $low = [int] $Matches[1]
            $high = $low
            if ($Matches.ContainsKey(2)) {
                $high = [int] $Matches[2]
            }
            if ($low -gt $high -or $high -gt 65535) {
                Stop-Invalid -Message "The port is invalid: $port"
            }
        } elseif ($port -notin $keywords) {
            Stop-Invalid -Message "One of the port keywords is invalid: $port"
        }
        $port
    }
    , @(Get-OtherOrder -Text $read)
}

function ConvertTo-AddressList {
    param([string[]] $Text)
    if ($Text -contains 'Any') {
        if ($Text.Count -gt 1) {
            Stop-Invalid -Message 'The keyword Any stands alone.'
        }
        return , @('Any')
    }
    if ($Text.Count -gt $script:mostAddresses) {
        Stop-Invalid -Message "A rule takes $($script:mostAddresses) addresses at most, not $($Text.Count)."
    }
    , @(Get-OtherOrder -Text @(foreach ($one in $Text) { ConvertTo-PrintedAddress -Text $one }))
}

function ConvertTo-PrintedAddress {
    param([string] $Text)
    foreach ($keyword in $script:addressKeywords) {
        if ($Text -in $keyword, "${keyword}4", "${keyword}6") {
            return $Text
        }
    }
    $ends = $Text.Split('-')
    if ($ends.Count -eq 2) {
        return ConvertTo-PrintedRange -Text $Text -Low (ConvertTo-Address -Text $ends[0]) -High (ConvertTo-Address -Text $ends[1])
    }
    $base, $length = $Text.Split('/')
    $address = ConvertTo-Address -Text $base
    if ($null -eq $length) {
        if ($address.Equals([ipaddress]::IPv6Any) -or $address.Equals([ipaddress]::IPv6Loopback)) {
            Stop-InvalidAddress -Text $Text
        }
        return $address.ToString()
    }
    ConvertTo-PrintedSubnet -Text $Text -Address $address -Length $length
}

function ConvertTo-PrintedRange {
    param([string] $Text, [ipaddress] $Low, [ipaddress] $High)
    $begin = $Low.GetAddressBytes()
    $end = $High.GetAddressBytes()
    foreach ($special in [ipaddress]::IPv6Any, [ipaddress]::IPv6Loopback) {
        if ($Low.Equals($special) -or $High.Equals($special)) {
            Stop-InvalidAddress -Text $Text
        }
    }
    if ($begin.Length -ne $end.Length -or [System.Convert]::ToHexString($begin) -gt [System.Convert]::ToHexString($end)) {
        Stop-InvalidAddress -Text $Text
    }
    "$Low-$High"
}

# Bits of the host are cut off, since the documentation gives 1.2.3.4/24 as a subnet.
function ConvertTo-PrintedSubnet {
    param([string] $Text, [ipaddress] $Address, [string] $Length)
    $bytes = $Address.GetAddressBytes()
    $width = 8 * $bytes.Length
    $bits = 0
    if ($width -eq 32 -and $Length.Contains('.')) {
        foreach ($byte in (ConvertTo-Address -Text $Length).GetAddressBytes()) {
            $bits += [System.Numerics.BitOperations]::PopCount([uint32] $byte)
        }
    } elseif (-not [int]::TryParse($Length, [ref] $bits)) {
        Stop-InvalidAddress -Text $Text
    }
    if ($bits -lt 1 -or $bits -gt $width) {
        Stop-InvalidAddress -Text $Text
    }
    $mask = [byte[]]::new($bytes.Length)
    for ($index = 0; $index -lt $bytes.Length; $index++) {
        $mask[$index] = 255 -band -bnot (255 -shr [Math]::Max(0, [Math]::Min(8, $bits - 8 * $index)))
        $bytes[$index] = $bytes[$index] -band $mask[$index]
    }
    $network = [ipaddress]::new($bytes)
    $printedMask = [ipaddress]::new($mask)
    if ($Length.Contains('.') -and $printedMask.ToString() -ne $Length) {
        Stop-InvalidAddress -Text $Text
    }
    if ($bits -eq $width) {
        return $network.ToString()
    }
    if ($width -eq 32) {
        return "$network/$printedMask"
    }
    "$network/$bits"
}

function ConvertTo-Address {
    param([string] $Text)
    $address = $null
    # .NET reads 10 and 10.1 too.
    $whole = $Text.Contains(':') -or $Text -match '^\d{1,3}(\.\d{1,3}){3}$'
    if (-not $whole -or $Text -match '[%\s\[\]]' -or -not [ipaddress]::TryParse($Text, [ref] $address)) {
        Stop-InvalidAddress -Text $Text
    }
    $address
}

function Stop-InvalidAddress {
    param([string] $Text)
    Stop-Invalid -Message "The address is invalid: $Text"
}

# Windows gives lists back in an order of its own. This is another one than people write.
function Get-OtherOrder {
    param([string[]] $Text)
    [array]::Sort($Text, [System.StringComparer]::Ordinal)
    [array]::Reverse($Text)
    $Text
}

function Assert-Text {
    param([System.Collections.IDictionary] $Bound)
    foreach ($parameter in 'Name', 'DisplayName', 'NewDisplayName') {
        if ($Bound.ContainsKey($parameter)) {
            foreach ($text in $Bound[$parameter]) {
                if ($text.Contains('|') -or $text -in '', 'All' -or ($parameter -eq 'Name' -and $text.Length -gt 511)) {
                    Stop-Invalid -Message "The value of $parameter is invalid: $text"
                }
            }
        }
    }
    foreach ($parameter in 'DisplayName', 'NewDisplayName', 'Description', 'Group') {
        if ($Bound.ContainsKey($parameter)) {
            foreach ($text in $Bound[$parameter]) {
                if ($text.Length -gt 10000) {
                    Stop-Invalid -Message "The value of $parameter is longer than 10000 characters."
                }
            }
        }
    }
}
