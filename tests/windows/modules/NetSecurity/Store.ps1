# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# Which rules a policy store holds, and which of them a cmdlet is asked for.

# The indices of a store's rules, in a list.
function Get-StoreIndex {
    param([hashtable] $State, [string] $PolicyStore)
    Assert-Service -State $State
    $found = [System.Collections.Generic.List[int]]::new()
    $localCounts = $true
    $policyCounts = $PolicyStore -in 'ActiveStore', 'RSOP'
    switch ($PolicyStore) {
        { $_ -in '', 'PersistentStore' } { break }
        'RSOP' { $localCounts = $false; break }
        'ActiveStore' { $localCounts = Test-LocalRule -State $State; break }
        default {
            Stop-FakeCmdlet (New-FakeError -Message 'The system cannot find the file specified.' `
                -ErrorId 'Windows System Error 2' -Category ObjectNotFound -Target $PolicyStore)
        }
    }
    $overriding = [System.Collections.Generic.HashSet[string]]::new([System.StringComparer]::OrdinalIgnoreCase)
    if ($policyCounts) {
        foreach ($rule in $State.Rules) {
            if ($rule.StoreType -eq 'GroupPolicy') {
                $null = $overriding.Add($rule.Name)
            }
        }
    }
    for ($index = 0; $index -lt $State.Rules.Count; $index++) {
        $rule = $State.Rules[$index]
        if ($rule.StoreType -eq 'GroupPolicy') {
            if ($policyCounts) {
                $found.Add($index)
            }
        } elseif ($localCounts -and -not $overriding.Contains($rule.Name)) {
            $found.Add($index)
        }
    }
    , $found
}

function Assert-Service {
    param([hashtable] $State)
    foreach ($service in 'mpssvc', 'BFE') {
        if ($State.Header.services.$service -ne 'Running') {
            Stop-FakeCmdlet (New-FakeError -Message 'There are no more endpoints available from the endpoint mapper.' `
                -ErrorId 'Windows System Error 1753')
        }
    }
}

# Whether an active profile lets local rules count.
function Test-LocalRule {
    param([hashtable] $State)
    foreach ($candidate in $State.Header.profiles) {
        if ($candidate.active -and (Get-ProfileSetting -Record $candidate -Name 'AllowLocalFirewallRules') -ne 'False') {
            return $true
        }
    }
    $false
}

# The indices of a store's rules that match one of the patterns, or with -Exact have one of the values. One without wildcards
# that finds none is an error.
function Select-RuleIndex {
    param(
        [hashtable] $State,
        [System.Collections.Generic.List[int]] $Index,
        [string] $Property,
        [string] $Column,
        [string[]] $Value,
        [switch] $Exact
    )
    # Hundreds of names may be looked for among thousands.
    $known = [System.Collections.Generic.Dictionary[string, System.Collections.Generic.List[int]]]::new(
        [System.StringComparer]::OrdinalIgnoreCase)
    foreach ($candidate in $Index) {
        $text = [string] $State.Rules[$candidate].$Column
        if (-not $known.ContainsKey($text)) {
            $known[$text] = [System.Collections.Generic.List[int]]::new()
        }
        $known[$text].Add($candidate)
    }
    $found = [System.Collections.Generic.SortedSet[int]]::new()
    foreach ($wanted in $Value) {
        $wild = -not $Exact -and [wildcardpattern]::ContainsWildcardCharacters($wanted)
        $texts = @($wanted)
        # What is selected by is a pattern always: one whose wildcards are all escaped means a text.
        if (-not $Exact -and ($wild -or $wanted.Contains('`'))) {
            $texts = @($known.Keys) -like $wanted
        }
        $matched = $false
        foreach ($text in $texts) {
            if ($known.ContainsKey($text)) {
                $found.UnionWith($known[$text])
                $matched = $true
            }
        }
        if (-not $matched -and -not $wild) {
            $State.Errors.Add((New-FakeError -ErrorId "CmdletizationQuery_NotFound_$Property" -Category ObjectNotFound `
                -Target $wanted -Message ("No MSFT_NetFirewallRule objects found with property '$Property' equal to " +
                "'$wanted'.  Verify the value of the property and retry.")))
        }
    }
    , [System.Collections.Generic.List[int]] $found
}

# Parameters that select: the property that an error names, and the record's own.
$script:keys = @{
    Name = 'InstanceID', 'Name'; DisplayName = 'DisplayName', 'DisplayName'
    Group = 'RuleGroup', 'Group'; DisplayGroup = 'DisplayGroup', 'Group'
}

# What the selecting parameters that Get, Set and Remove share stand for.
function Resolve-RuleIndex {
    param([hashtable] $State, [System.Collections.IDictionary] $Bound, [object[]] $InputObject = @())
    $store = ''
    if ($Bound.ContainsKey('PolicyStore')) {
        $store = $Bound['PolicyStore']
    }
    $index = Get-StoreIndex -State $State -PolicyStore $store
    if ($InputObject.Count -gt 0) {
        $names = @(foreach ($item in $InputObject) { $item.InstanceID })
        return , (Select-RuleIndex -State $State -Index $index -Property 'InstanceID' -Column 'Name' -Value $names -Exact)
    }
    foreach ($parameter in $script:keys.Keys) {
        if ($Bound.ContainsKey($parameter)) {
            $property, $column = $script:keys[$parameter]
            $index = Select-RuleIndex -State $State -Index $index -Property $property -Column $column -Value $Bound[$parameter]
        }
    }
    foreach ($parameter in 'Direction', 'Action', 'Enabled') {
        if ($Bound.ContainsKey($parameter)) {
            $wanted = @(foreach ($value in $Bound[$parameter]) { [string] $value })
            $index = [System.Collections.Generic.List[int]] @(
                foreach ($candidate in $index) { if ($State.Rules[$candidate].$parameter -in $wanted) { $candidate } })
        }
    }
    , $index
}
