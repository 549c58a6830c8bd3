# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Reading JSON whose objects have keys that differ only in case, which ConvertFrom-Json refuses in every PowerShell.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

Add-Type -AssemblyName System.Runtime.Serialization

function ConvertFrom-CasedJson {
    <#
    .SYNOPSIS
        What a JSON text holds, as ConvertFrom-Json gives it; but an object with keys that differ only in case is a dictionary.
    .DESCRIPTION
        Arrays are one object each. Texts stay texts, also those that look like a date. Throws when it is no JSON.
    #>
    param([Parameter(Mandatory)] [string] $Text)

    $bytes = [System.Text.Encoding]::UTF8.GetBytes($Text)
    $quotas = [System.Xml.XmlDictionaryReaderQuotas]::Max
    # It shows JSON as XML, whose names have their case: each value is an element with a type, and a key is its name.
    $reader = [System.Runtime.Serialization.Json.JsonReaderWriterFactory]::CreateJsonReader($bytes, $quotas)
    try {
        $null = $reader.MoveToContent()
        return Read-Element -Reader $reader
    } finally {
        $reader.Close()
    }
}

function Read-Element {
    # The value of the element at which the reader is; moves on behind it.
    param([System.Xml.XmlReader] $Reader)

    $type = $Reader.GetAttribute('type')
    if ('object', 'array' -contains $type) {
        $null = $Reader.Read()
        if ($type -eq 'object') { $value = Read-Member -Reader $Reader } else { $value = Read-Item -Reader $Reader }
        $Reader.ReadEndElement()
        return , $value
    }
    $content = $Reader.ReadElementContentAsString()
    if ($type -eq 'null') { return $null }
    if ($type -eq 'boolean') { return $content -eq 'true' }
    if ($type -ne 'number') { return $content }
    $whole = [long] 0
    if ([long]::TryParse($content, [ref] $whole)) { return $whole }
    return [double]::Parse($content, [System.Globalization.CultureInfo]::InvariantCulture)
}

function Read-Item {
    # An array's values.
    param([System.Xml.XmlReader] $Reader)

    $items = New-Object System.Collections.ArrayList
    while ($Reader.MoveToContent() -eq 'Element') { $null = $items.Add((Read-Element -Reader $Reader)) }
    return , $items.ToArray()
}

function Read-Member {
    # An object's values.
    param([System.Xml.XmlReader] $Reader)

    $members = New-Object System.Collections.Specialized.OrderedDictionary ([System.StringComparer]::Ordinal)
    $names = New-Object 'System.Collections.Generic.HashSet[string]' ([System.StringComparer]::OrdinalIgnoreCase)
    while ($Reader.MoveToContent() -eq 'Element') {
        # Keys that cannot be names in XML are in an attribute.
        $name = $Reader.GetAttribute('item')
        if ($null -eq $name) { $name = $Reader.LocalName }
        $null = $names.Add($name)
        $members[$name] = Read-Element -Reader $Reader
    }
    if ($names.Count -eq $members.Count) { return [pscustomobject] $members }
    return $members
}

Export-ModuleMember -Function ConvertFrom-CasedJson
