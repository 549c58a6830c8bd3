# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The fake cmdlets do what the real ones are known to do; the agent's tests rest on that."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.windows.windows import ADDED, ALL_DELETED, CHANGED, DELETED, FakeWindows

# Runs each line of $lines, and prints as JSON what each gave (as texts) or its first error.
_EACH = """
$answers = foreach ($line in $lines) {
    $given = @(& ([scriptblock]::Create($line)) 2>&1)
    $failed = @($given | Where-Object { $_ -is [System.Management.Automation.ErrorRecord] })
    if ($failed) {
        @{ error = $failed[0].Exception.Message; id = $failed[0].FullyQualifiedErrorId }
    } else {
        @{ given = @(foreach ($one in $given) { "$one" }) }
    }
}
ConvertTo-Json -InputObject @($answers) -Depth 3
"""
_BLOCK = "New-NetFirewallRule -DisplayName b -Direction Outbound -Action Block -Protocol UDP"


def each(windows: FakeWindows, lines: list[str]) -> list[Any]:
    """Runs lines one by one: a list of texts for each, or the error's (message, identifier)."""
    quoted = ",".join("'" + line.replace("'", "''") + "'" for line in lines)
    result = windows.pwsh(f"$lines = @({quoted}){_EACH}")
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout)
    assert len(answers) == len(lines)
    return [(a["error"], a["id"]) if "error" in a else a["given"] for a in answers]


def test_a_rule_and_its_filters(windows: FakeWindows) -> None:
    windows.add("foreign", Group="other", RemotePort=["9"], Protocol="TCP")
    made = windows.json("""
        $null = New-NetFirewallRule -Name r1 -DisplayName 'Rule 1' -Description words `
            -Group ours -Direction Outbound -Action Block -Protocol 17 -RemotePort 53 `
            -Profile Domain, Public -LocalAddress 10.0.0.0/8 -RemoteAddress 172.16.0.1
        $filters = @{}
        foreach ($kind in 'Port', 'Address', 'Application', 'Service', 'Interface', 'InterfaceType',
                'Security') {
            $filters[$kind] = @(& "Get-NetFirewall${kind}Filter" -All -PolicyStore ActiveStore)
        }
        $rule = Get-NetFirewallRule -Group ours
        $texts = @{}
        foreach ($property in $rule.psobject.Properties) {
            $texts[$property.Name] = "$($property.Value)"
        }
        ConvertTo-Json -Depth 4 @{
            rule = $texts; filters = $filters
            port = $rule | Get-NetFirewallPortFilter
            piped = @(Get-NetFirewallRule | Get-NetFirewallAddressFilter).Count
            truthy = [bool] (Get-NetFirewallRule -Name r1).Enabled
        }""")
    assert made["rule"] == {
        "Name": "r1", "ID": "r1", "InstanceID": "r1", "DisplayName": "Rule 1",
        "Description": "words", "Group": "ours", "RuleGroup": "ours", "DisplayGroup": "ours",
        "Enabled": "True", "Profile": "Domain, Public", "Direction": "Outbound", "Action": "Block",
        "EdgeTraversalPolicy": "Block", "PrimaryStatus": "OK",
        "PolicyStoreSource": "PersistentStore", "PolicyStoreSourceType": "Local",
    }  # fmt: skip
    names = {
        kind: [one["InstanceID"] for one in filters] for kind, filters in made["filters"].items()
    }
    assert names == {kind: ["foreign", "r1"] for kind in names}
    assert made["port"] == {
        "InstanceID": "r1", "Protocol": "UDP", "LocalPort": "Any", "RemotePort": "53",
        "IcmpType": "Any", "DynamicTarget": "Any",
    }  # fmt: skip
    address = made["filters"]["Address"][1]
    assert (address["LocalAddress"], address["RemoteAddress"]) == (
        "10.0.0.0/255.0.0.0",
        "172.16.0.1",
    )
    assert made["piped"] == 2
    (event,) = [change for change in windows.changes() if change["name"] == "r1"]
    assert event["id"] == ADDED


def test_what_addresses_are_printed_as(windows: FakeWindows) -> None:
    given = {
        "'10.0.0.0/8'": ["10.0.0.0/255.0.0.0"],
        "'10.1.2.3/8'": ["10.0.0.0/255.0.0.0"],
        "'10.1.2.0/255.255.255.0'": ["10.1.2.0/255.255.255.0"],
        "'10.0.0.1/32'": ["10.0.0.1"],
        "'0.0.0.0/1'": ["0.0.0.0/128.0.0.0"],
        "'0.0.0.0-9.255.255.255'": ["0.0.0.0-9.255.255.255"],
        "'0.0.0.0-255.255.255.255'": ["0.0.0.0-255.255.255.255"],
        "'FD00:0:0::1/64'": ["fd00::/64"],
        "'fd00::5/127'": ["fd00::4/127"],
        "'::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'": [
            "::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        ],
        "LocalSubnet4": ["LocalSubnet4"],
        "Any": ["Any"],
        "'1.0.0.1','2.0.0.0/8','3.0.0.1-3.0.0.9'": [
            "3.0.0.1-3.0.0.9", "2.0.0.0/255.0.0.0", "1.0.0.1",
        ],
    }  # fmt: skip
    lines = [
        f"({_BLOCK} -RemoteAddress {text} | Get-NetFirewallAddressFilter).RemoteAddress"
        for text in given
    ]
    assert each(windows, lines) == list(given.values())


def test_what_addresses_are_refused(windows: FakeWindows) -> None:
    refused = [
        "'0.0.0.0/0'", "'::/0'", "'::'", "'::1'", "'::-fd00::1'", "'::1-fd00::1'", "'::-::1'",
        "'10.0.0.9-10.0.0.1'", "'10.0.0.1-fd00::1'", "'fd00::9-fd00::1'", "'10.0.0.0/33'",
        "'fd00::/129'", "'10.0.0.0/255.0.255.0'", "'10.0.0'", "'10.0.0.256'", "'host.example'",
        "'10.0.0.1 - 10.0.0.9'", "'10.0.0.1,10.0.0.2'", "'fe80::1%3'", "''", "Any,'10.0.0.1'",
    ]  # fmt: skip
    answers = each(windows, [f"{_BLOCK} -RemoteAddress {text}" for text in refused])
    assert [(text, answer[1]) for text, answer in zip(refused, answers, strict=True)] == [
        (text, "HRESULT 0x80070057,New-NetFirewallRule") for text in refused
    ]
    assert windows.records() == []


def test_what_ports_and_protocols_are_taken(windows: FakeWindows) -> None:
    rule = "New-NetFirewallRule -DisplayName p"
    taken = {
        "-Protocol UDP -RemotePort 0-65535": ["0-65535"],
        "-Protocol UDP -RemotePort 0": ["0"],
        "-Protocol 17 -RemotePort '0-52','54-66','68-65535'": ["68-65535", "54-66", "0-52"],
        "-Protocol TCP -RemotePort 53": ["53"],
        "-RemotePort Any": ["Any"],
    }
    port = "| Get-NetFirewallPortFilter).RemotePort"
    assert each(windows, [f"({rule} {text} {port}" for text in taken]) == list(taken.values())
    held = windows.records()
    refused = [
        "-RemotePort 53", "-Protocol Any -RemotePort 53", "-Protocol ICMPv4 -LocalPort 53",
        "-Protocol UDP -RemotePort 65536", "-Protocol UDP -RemotePort 9-5",
        "-Protocol UDP -RemotePort '5 - 9'", "-Protocol UDP -RemotePort '53,54'",
        "-Protocol UDP -RemotePort http", "-Protocol TCP -LocalPort PlayToDiscovery",
        "-Protocol UDP -RemotePort Any,53", "-Protocol 256", "-Protocol sctp",
    ]  # fmt: skip
    answers = each(windows, [f"{rule} {text}" for text in refused])
    assert {answer[1] for answer in answers} == {"HRESULT 0x80070057,New-NetFirewallRule"}
    assert windows.records() == held


def test_limits(windows: FakeWindows) -> None:
    many = '-RemoteAddress (1..{} | ForEach-Object {{ "10.0.$($_ -shr 8).$($_ -band 255)" }})'
    rule = "New-NetFirewallRule -DisplayName"
    answers = each(
        windows,
        [
            f"{_BLOCK} {many.format(1001)}",
            f"{rule} 'a|b'",
            f"{rule} a -Name 'a|b'",
            f"{rule} a -Name ('n' * 512)",
            f"{rule} a -Description ('n' * 10001)",
            f"{rule} All",
            f"{rule} a -Direction Outbound -EdgeTraversalPolicy Allow",
            f"{rule} a -PolicyStore ActiveStore",
        ],
    )
    assert {answer[1] for answer in answers} == {"HRESULT 0x80070057,New-NetFirewallRule"}
    assert windows.records() == []
    taken = each(
        windows,
        [
            f"{_BLOCK} {many.format(1000)}",
            f"{rule} ('d' * 10000) -Name ('n' * 511) -Description ('n' * 10000)",
        ],
    )
    assert [len(answer) for answer in taken] == [1, 1]
    assert len(windows.records()) == 2


def test_enabled_is_no_boolean(windows: FakeWindows) -> None:
    result = windows.pwsh("New-NetFirewallRule -DisplayName a -Enabled $true")
    assert "Cannot process argument transformation" in result.stderr
    assert windows.records() == []
    (call,) = windows.json("""
        $null = New-NetFirewallRule -DisplayName a -Enabled False
        $rule = Get-NetFirewallRule
        ConvertTo-Json @(, @("$($rule.Enabled)", [bool] $rule.Enabled, ($rule.Enabled -eq 'False')))
        """)
    assert call == ["False", True, True]


def test_errors_of_queries(windows: FakeWindows) -> None:
    windows.add("a", Group="g")
    words = (
        "No MSFT_NetFirewallRule objects found with property '{}' equal to 'x'.  "
        "Verify the value of the property and retry."
    )
    assert each(
        windows,
        [
            "Get-NetFirewallRule -Name x",
            "Get-NetFirewallRule -Group x",
            "Get-NetFirewallRule -DisplayName x",
            "Remove-NetFirewallRule -Name x",
            "Set-NetFirewallRule -Name x -Description d",
            "New-NetFirewallRule -Name A -DisplayName a",
            "Get-NetFirewallRule -PolicyStore nowhere",
            "Get-NetFirewallRule -Name x*",
            "Get-NetFirewallRule -Group x*",
            "(Get-NetFirewallRule -Name a*).Name",
            "(Get-NetFirewallRule -Group G).Name",
        ],
    ) == [
        (words.format("InstanceID"), "CmdletizationQuery_NotFound_InstanceID,Get-NetFirewallRule"),
        (words.format("RuleGroup"), "CmdletizationQuery_NotFound_RuleGroup,Get-NetFirewallRule"),
        (
            words.format("DisplayName"),
            "CmdletizationQuery_NotFound_DisplayName,Get-NetFirewallRule",
        ),
        (
            words.format("InstanceID"),
            "CmdletizationQuery_NotFound_InstanceID,Remove-NetFirewallRule",
        ),
        (words.format("InstanceID"), "CmdletizationQuery_NotFound_InstanceID,Set-NetFirewallRule"),
        (
            "Cannot create a file when that file already exists.",
            "Windows System Error 183,New-NetFirewallRule",
        ),
        (
            "The system cannot find the file specified.",
            "Windows System Error 2,Get-NetFirewallRule",
        ),
        [],
        [],
        ["a"],
        ["a"],
    ]


def test_a_name_that_selects_is_a_pattern(windows: FakeWindows) -> None:
    """Also one whose wildcards are all escaped: PowerShell's source asks for what is LIKE it."""
    windows.add_many({"Name": name} for name in ("a[b]", "ab", "a*", "a`b"))
    patterns = ["a*", "a[b]", "a`[b`]", "a`*", "a``b", "A`[B`]", "a?", "a`[", "x`*"]
    *found, lone, none = each(
        windows, [f"(Get-NetFirewallRule -Name '{p}').Name" for p in patterns]
    )
    assert found == [
        ["a[b]", "ab", "a*", "a`b"],
        ["ab"],
        ["a[b]"],
        ["a*"],
        ["a`b"],
        ["a[b]"],
        ["ab", "a*"],
    ]
    for missing in (lone, none):
        assert missing[1] == "CmdletizationQuery_NotFound_InstanceID,Get-NetFirewallRule"


def test_errors_do_not_end_a_script_unless_told(windows: FakeWindows) -> None:
    windows.add("a")
    said = windows.pwsh("""
        Remove-NetFirewallRule -Name x, a
        'went on'
        try { Get-NetFirewallRule -Name x -ErrorAction Stop } catch { "caught $_" }
        Get-NetFirewallRule -Name x -ErrorAction SilentlyContinue
        """)
    assert said.stdout.startswith("went on\ncaught No MSFT_NetFirewallRule objects found")
    assert said.stderr.count("No MSFT_NetFirewallRule") == 1
    assert windows.records() == []
    # A module's own preference is not seen by the cmdlets, which are a module's functions.
    said = windows.pwsh("""
        New-Module -ScriptBlock {
            $ErrorActionPreference = 'Stop'
            function Test-It { Get-NetFirewallRule -Name x 2>$null; 'went on' }
        } | Import-Module
        Test-It
        """)
    assert said.stdout == "went on\n"


def test_removing(windows: FakeWindows) -> None:
    windows.add_many({"Name": name, "Group": "g"} for name in "abcdef")
    windows.add("policy", StoreType="GroupPolicy", Store="corp\\gpo")
    left = "'' + (Get-NetFirewallRule -PolicyStore ActiveStore).Name"
    answers = each(
        windows,
        [
            "Remove-NetFirewallRule -Name a, b -PolicyStore PersistentStore",
            left,
            "Get-NetFirewallRule -Name c | Remove-NetFirewallRule",
            left,
            "Get-NetFirewallRule -Name nothing* | Remove-NetFirewallRule",
            left,
            "Remove-NetFirewallRule -Name policy -PolicyStore ActiveStore",
            "Remove-NetFirewallRule",
            left,
        ],
    )
    assert answers == [
        [], ["c d e f policy"], [], ["d e f policy"], [], ["d e f policy"],
        ("Access is denied.", "Windows System Error 5,Remove-NetFirewallRule"), [], ["policy"],
    ]  # fmt: skip
    windows.add("g")
    assert "What if" in windows.pwsh("Remove-NetFirewallRule -WhatIf").stdout
    assert len(windows.records()) == 2
    # One by one: there is a moment with the first gone and the second there.
    held = [[rule["Name"] for rule in state] for state in windows.states()]
    assert held[7:9] == [[*"bcdef", "policy"], [*"cdef", "policy"]]
    assert held[-2:] == [["policy"], ["policy", "g"]]


def test_setting(windows: FakeWindows) -> None:
    windows.add("a", Group="g", Protocol="UDP", RemotePort=["53"])
    windows.add("b", Group="g")
    answers = each(
        windows,
        [
            "Set-NetFirewallRule -Name a -Description d -Enabled False -RemoteAddress 10.0.0.0/8",
            "Get-NetFirewallRule -Group g | Set-NetFirewallRule -Action Block",
            "Set-NetFirewallRule -Name a -Protocol ICMPv4",
            "Set-NetFirewallRule -Name b -NewDisplayName B",
        ],
    )
    assert answers[:2] == [[], []]
    assert answers[2][1] == "HRESULT 0x80070057,Set-NetFirewallRule"
    a, b = windows.records()
    assert (a["Description"], a["Enabled"], a["RemoteAddress"], a["RemotePort"], a["Action"]) == (
        "d", "False", ["10.0.0.0/255.0.0.0"], ["53"], "Block",
    )  # fmt: skip
    assert (b["DisplayName"], b["Action"]) == ("B", "Block")
    assert [change["id"] for change in windows.changes()] == [ADDED] * 2 + [CHANGED] * 4


def test_the_active_store(windows: FakeWindows) -> None:
    windows.add("local", Description="local")
    windows.add("both", Description="local")
    windows.add("both", Description="policy", StoreType="GroupPolicy", Store="corp\\gpo")
    script = """
        $rules = foreach ($rule in Get-NetFirewallRule -PolicyStore %s) {
            "$($rule.Name) $($rule.Description) $($rule.PolicyStoreSourceType)"
        }
        ConvertTo-Json @($rules)"""
    assert windows.json(script % "PersistentStore") == ["local local Local", "both local Local"]
    assert windows.json(script % "ActiveStore") == ["local local Local", "both policy GroupPolicy"]
    assert windows.json(script % "RSOP") == ["both policy GroupPolicy"]
    windows.set_group_policy("Domain", AllowLocalFirewallRules="False")
    assert len(windows.json(script % "ActiveStore")) == 2
    windows.set_group_policy("Public", AllowLocalFirewallRules="False")
    assert windows.json(script % "ActiveStore") == ["both policy GroupPolicy"]
    windows.set_profile("Private", active=True)
    assert len(windows.json(script % "ActiveStore")) == 2


def test_profiles(windows: FakeWindows) -> None:
    windows.set_profile("Public", DefaultOutboundAction="Block")
    windows.set_group_policy("Public", Enabled="False", AllowLocalFirewallRules="False")
    script = """
        $seen = foreach ($one in Get-NetFirewallProfile -PolicyStore %s -Name %s) {
            "$($one.Name) $($one.Enabled) $($one.DefaultInboundAction) " +
            "$($one.DefaultOutboundAction) $($one.AllowLocalFirewallRules) " +
            $one.DisabledInterfaceAliases
        }
        ConvertTo-Json @($seen)"""
    assert windows.json(script % ("PersistentStore", "Public")) == [
        "Public True NotConfigured Block NotConfigured NotConfigured"
    ]
    assert windows.json(script % ("ActiveStore", "Public,Dom*")) == [
        "Public False Block Block False NotConfigured",
        "Domain True Block Allow True NotConfigured",
    ]
    (answer,) = each(windows, ["Get-NetFirewallProfile -Name Home"])
    assert answer[1] == "CmdletizationQuery_NotFound_Name,Get-NetFirewallProfile"


def test_services(windows: FakeWindows) -> None:
    status = "(Get-Service -Name mpssvc, BFE).Status"
    windows.stop("BFE")
    lines = [
        "Get-NetFirewallRule",
        "New-NetFirewallRule -DisplayName a",
        "Remove-NetFirewallRule",
        "Get-NetFirewallPortFilter",
        "Get-NetFirewallProfile -PolicyStore ActiveStore",
    ]
    *answers, shown, missing = each(windows, [*lines, status, "Get-Service -Name nothing"])
    assert {message for message, _ in answers} == {
        "There are no more endpoints available from the endpoint mapper."
    }
    assert shown == ["Running", "Stopped"]
    assert (
        missing[1] == "NoServiceFoundForGivenName,Microsoft.PowerShell.Commands.GetServiceCommand"
    )
    windows.start("BFE")
    assert each(windows, ["Get-NetFirewallRule", status]) == [[], ["Running", "Running"]]


def test_own_addresses(windows: FakeWindows) -> None:
    found, missing = each(
        windows,
        [
            "(Get-NetIPAddress -IPAddress 172.19.1.100).InterfaceAlias",
            "Get-NetIPAddress -IPAddress 10.0.0.1",
        ],
    )
    assert found == ["Ethernet"]
    assert missing[1] == "CmdletizationQuery_NotFound_IPAddress,Get-NetIPAddress"


def test_events(windows: FakeWindows) -> None:
    channel = "Microsoft-Windows-Windows Firewall With Advanced Security/Firewall"
    query = (
        f"Get-WinEvent -FilterHashtable @{{ LogName = '{channel}'; Id = %s; StartTime = %s }} "
        "-MaxEvents %d -ErrorAction Stop"
    )
    none = windows.pwsh(
        f"try {{ {query % ('2004', '0', 9)} }} catch {{ $_.FullyQualifiedErrorId }}"
    )
    assert none.stdout == (
        "NoMatchingEventsFound,Microsoft.PowerShell.Commands.GetWinEventCommand\n"
    )
    windows.add("hand")
    windows.delete_all()
    answers = windows.json(f"""
        $null = New-NetFirewallRule -Name a -DisplayName a
        Set-NetFirewallRule -Name a -Description d
        Start-Sleep -Milliseconds 20
        $since = Get-Date
        $early = try {{ {query % ("2004", "$since", 1)} }} catch {{ 'none' }}
        Remove-NetFirewallRule -Name a
        ConvertTo-Json @(
            $early,
            @(({query % ("2004, 2005, 2006, 2033", "0", 9)}).Id),
            @(({query % ("2004, 2006", "0", 2)}).Id),
            @(({query % ("2004, 2006", "$since", 9)}).Message)
        )""")
    assert answers[0] == "none"
    assert answers[1] == [DELETED, CHANGED, ADDED, ALL_DELETED, ADDED]
    assert answers[2] == [DELETED, ADDED]
    assert answers[3] == ["A rule was deleted from the firewall: a"]


def test_the_journal_and_faults(windows: FakeWindows) -> None:
    windows.set_faults(
        {"cmdlet": "New-NetFirewallRule", "call": 2, "message": "RPC"},
        {"cmdlet": "Remove-NetFirewallRule", "call": 1, "exit": True},
    )
    first = windows.pwsh(
        "foreach ($n in 'a', 'b') { New-NetFirewallRule -Name $n -DisplayName $n }"
    )
    assert "RPC" in first.stderr
    result = windows.pwsh("""
        $null = New-NetFirewallRule -Name c -DisplayName c
        'before'
        Remove-NetFirewallRule -Name a
        'after'
        """)
    assert (result.returncode, result.stdout) == (137, "before\n")
    assert [rule["Name"] for rule in windows.records()] == ["a", "c"]
    assert [(call["parameters"]["Name"], call["ok"]) for call in windows.calls()] == [
        ("a", True), ("b", False), ("c", True), (["a"], False),
    ]  # fmt: skip
    assert windows.calls("New-NetFirewallRule")[1]["error"] == "RPC"
    again = windows.pwsh("Remove-NetFirewallRule -Name a")
    assert (again.returncode, again.stderr) == (0, "")


def test_processes_share_the_state(windows: FakeWindows) -> None:
    script = (
        'foreach ($n in 1..15) { $null = New-NetFirewallRule -Name "$env:WHO$n" -DisplayName x }'
    )
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(windows.pwsh, script, env={"WHO": who}) for who in "ab"]
        for number in range(15):
            windows.add(f"hand{number}")
        assert [one.result().stderr for one in running] == ["", ""]
    assert len(windows.records()) == 45
    assert list(windows.states())[-1] == sorted_as(windows.records(), list(windows.states())[-1])


def sorted_as(records: list[dict[str, Any]], like: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records in the order of other ones of the same names."""
    named = {record["Name"]: record for record in records}
    return [named[record["Name"]] for record in like]


def test_the_model_of_the_state(windows: FakeWindows) -> None:
    windows.json(f"""
        $null = {_BLOCK} -Name ours -RemotePort 0-52,54-65535
        $null = {_BLOCK} -Name theirs -RemoteAddress 172.19.1.0/24 -InterfaceType Wireless
        1""")
    ends = ("172.19.1.100", "172.19.1.1")
    passed = [windows.firewall(state).admits("egress", *ends, 54).allowed
              for state in ([], *windows.states())]  # fmt: skip
    assert passed == [True, False, False]
    assert windows.firewall().admits("egress", *ends, 53).allowed
    wireless = windows.firewall().admits("egress", *ends, 53, interface="Wireless")
    assert wireless.reason == "Block rule theirs"
    windows.edit("ours", Enabled="False")
    assert windows.firewall().admits("egress", *ends, 54).allowed
    windows.delete("theirs")
    windows.edit("ours", Enabled="True")
    windows.set_profile("Public", Enabled="False")
    assert windows.firewall().admits("egress", *ends, 54).reason == "profile Public is disabled"
    windows.stop("mpssvc")
    assert windows.firewall().admits("egress", *ends, 54).reason == "the firewall is not running"


def test_it_is_fast_with_ten_thousand_rules(windows: FakeWindows) -> None:
    windows.add_many(
        {"Name": f"foreign-{n}", "Group": f"g{n % 50}", "LocalPort": [str(n)], "Protocol": "TCP"}
        for n in range(10_000)
    )
    seconds = windows.json("""
        $null = Get-NetFirewallRule -Name none* # reads and parses the file
        $seconds = [ordered] @{}
        foreach ($cmdlet in 'Get-NetFirewallRule', 'Get-NetFirewallPortFilter',
                'Get-NetFirewallAddressFilter', 'Get-NetFirewallSecurityFilter') {
            $watch = [System.Diagnostics.Stopwatch]::StartNew()
            $found = & $cmdlet -PolicyStore ActiveStore
            $seconds[$cmdlet] = $watch.Elapsed.TotalSeconds
            if ($found.Count -ne 10000) { throw "$cmdlet gave $($found.Count)" }
        }
        $watch = [System.Diagnostics.Stopwatch]::StartNew()
        $null = New-NetFirewallRule -Name one -DisplayName one
        $seconds['New-NetFirewallRule'] = $watch.Elapsed.TotalSeconds
        ConvertTo-Json $seconds""")
    assert max(seconds.values()) < 3, seconds  # under one on a machine that is not busy
