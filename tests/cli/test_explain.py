# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security explain` as a user calls it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.golden import compare

from .conftest import Run

GOLDEN = Path(__file__).parent / "golden"
VALUES = """\
rules:
  - name: syslog
    description: "ward gateways\\n\\u001b[31m send :key: [red]syslog"
    direction: ingress
    ports: [514, "5000-5100"]
    from: [10.1.0.0/16, "fd00:10::/32"]
  - name: reports
    direction: egress
    ports: [600]
    to: [10.9.0.0/16]
"""


def explain(run: Run, *more: str, **flow: str | int) -> Any:
    """The JSON for a flow: direction, from_, to, port."""
    arguments = ["--direction", flow["direction"], "--from", flow["from_"], "--to", flow["to"]]
    result = run(
        *("explain", "-f", "-", *map(str, arguments), "--port", str(flow["port"])),
        *("-o", "json", *more),
        stdin=VALUES,
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_allowed(run: Run) -> None:
    found = explain(run, direction="ingress", from_="10.1.2.3", to="172.19.1.100", port=5100)
    path = found.pop("path")
    assert found == {
        "verdict": "allow",
        "judged": True,
        "mode": "enforce",
        "flow": {
            "direction": "ingress",
            "from": "10.1.2.3",
            "to": "172.19.1.100",
            "port": 5100,
            "os": "linux",
        },
        "rules": ["syslog"],
        "nearest": [],
        "notes": [],
    }
    assert path[0] == {"hook": "wire", "step": "comes in from 10.1.2.3", "outcome": "passes"}
    (rule,) = (step for step in path if step["outcome"] == "accepts")
    assert rule == {"hook": "input", "step": "rule syslog: ACCEPT", "outcome": "accepts"}


def test_all_rules_that_allow_are_named(run: Run) -> None:
    found = explain(
        run,
        *("--set", "rules[0].name=a,rules[1].name=b,rules[1].direction=ingress"),
        *("--set", "rules[1].ports={514}"),
        *("--set", "rules[1].to={172.19.1.100}"),
        direction="ingress",
        from_="10.1.2.3",
        to="172.19.1.100",
        port=514,
    )
    assert found["rules"] == ["a", "b"]


def test_presets_are_named(run: Run) -> None:
    found = explain(run, direction="forward", from_="172.20.0.5", to="172.20.1.9", port=53)
    assert found["rules"] == ["preset:dns:forward"]


@pytest.mark.parametrize(
    ("flow", "why"),
    [
        (("ingress", "10.7.0.1", "172.19.1.100", 514), ["source 10.7.0.1 is not in 10.1.0.0/16"]),
        (("ingress", "10.1.0.1", "172.19.1.100", 515), ["port 515 is not in 514, 5000-5100"]),
        (("egress", "10.1.0.1", "172.19.1.100", 514), ["direction is ingress, not egress"]),
        (("ingress", "fd01::1", "fd00::1", 514), ["source fd01::1 is not in 10.1.0.0/16"]),
        (("ingress", "10.7.0.1", "10.0.0.1", 513), ["port 513 is not in", "source 10.7.0.1 is"]),
    ],
)
def test_nearest(run: Run, flow: tuple[str, str, str, int], why: list[str]) -> None:
    direction, source, destination, port = flow
    found = explain(run, direction=direction, from_=source, to=destination, port=port)
    assert found["verdict"] == "deny"
    assert found["rules"] == []
    assert len(found["nearest"]) == 3
    (syslog,) = (miss for miss in found["nearest"] if miss["rule"] == "syslog")
    assert len(syslog["why"]) == len(why)
    for said, expected in zip(syslog["why"], why, strict=True):
        assert said.startswith(expected)


def test_the_nearest_is_first(run: Run) -> None:
    found = explain(run, direction="ingress", from_="10.7.0.1", to="172.19.1.100", port=514)
    assert found["nearest"][0]["rule"] == "syslog"
    counts = [len(miss["why"]) for miss in found["nearest"]]
    assert counts == sorted(counts)


def test_long_lists_are_cut(run: Run) -> None:
    ports = ",".join(map(str, range(1000, 1020)))
    found = explain(
        run,
        *("--set", f"rules[0].ports={{{ports}}}"),
        direction="ingress",
        from_="10.1.0.1",
        to="172.19.1.100",
        port=999,
    )
    (why,) = found["nearest"][0]["why"]
    assert why == "port 999 is not in 1000, 1001, 1002, 1003, 1004 and 15 more"


def test_text(run: Run) -> None:
    arguments = ["--direction", "ingress", "--to", "172.19.1.100", "--port", "514"]
    result = run("explain", "-f", "-", *arguments, "--from", "10.1.0.1", stdin=VALUES)
    assert result.stdout.splitlines()[:4] == [
        "ingress 10.1.0.1 -> 172.19.1.100 UDP port 514, linux",
        "ALLOW",
        "Allowed by:",
        "  syslog  (ward gateways [31m send :key: [red]syslog)",
    ]
    result = run("explain", "-f", "-", *arguments, "--from", "10.7.0.1", stdin=VALUES)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:4] == [
        "DENY: no rule allows it (drop)",
        "Nearest rules:",
        "  syslog                  source 10.7.0.1 is not in 10.1.0.0/16, fd00:10::/32",
    ]


def test_audit_says_that_the_flow_passes(run: Run) -> None:
    arguments = ["--direction", "ingress", "--from", "10.7.0.1", "--to", "10.0.0.1"]
    result = run("explain", *arguments, "--port", "514", "--set", "mode=audit")
    assert "would be denied, but passes and is counted (mode audit)" in result.stdout


def test_flows_outside_the_scope_are_not_judged(run: Run) -> None:
    arguments = ["--direction", "egress", "--from", "172.19.1.100", "--to", "8.8.8.8"]
    arguments += ["--port", "9", "--set", "linux.scope=cluster"]
    assert "ALLOW: not judged: outside the policy's scope" in run("explain", *arguments).stdout
    found = json.loads(run("explain", *arguments, "-o", "json").stdout)
    assert (found["verdict"], found["judged"], found["nearest"]) == ("allow", False, [])


def test_loopback_is_not_judged(run: Run) -> None:
    found = explain(run, direction="egress", from_="127.0.0.1", to="127.0.0.53", port=9)
    assert (found["verdict"], found["judged"], found["nearest"]) == ("allow", False, [])
    arguments = ["--direction", "ingress", "--from", "::1", "--to", "::1", "--port", "9"]
    assert "ALLOW: not judged: loopback\n" in run("explain", *arguments).stdout


def test_only_rules_for_the_address_family_are_near(run: Run) -> None:
    flow: dict[str, Any] = {"direction": "egress", "port": 600}
    flow |= {"from_": "10.0.0.1", "to": "10.0.0.2"}
    assert explain(run, **flow)["nearest"][0]["rule"] == "reports"
    found = explain(run, **flow | {"from_": "fd00::1", "to": "fd00::2"})
    near = [miss["rule"] for miss in found["nearest"]]
    assert len(near) == 3
    assert not {"reports", "preset:dhcp:egress-v4"} & set(near)
    off = [f"presets.{name}=false" for name in ("dns", "dhcp", "ntp", "flannelVxlan")]
    cut = "dangerouslyCutOff={dns,dhcp,flannelVxlan}"
    arguments = ["--direction", "egress", "--from", "fd00::1", "--to", "fd00::2", "--port", "9"]
    values = "rules: [{name: a, direction: egress, ports: [9]}]"
    for other in ("rules[0].to={10.0.0.0/8}", "rules[0].os={windows}"):
        words = [word for expression in (*off, cut, other) for word in ("--set", expression)]
        result = run("explain", "-f", "-", *arguments, *words, stdin=values)
        assert "There are no rules for IPv6." in result.stdout


@pytest.mark.parametrize(
    ("flow", "note"),
    [
        (("egress", "172.19.1.100", "172.19.1.100", 9), "goes over lo and is never judged"),
        (("ingress", "fd00::1", "fd00::1", 9), "goes over lo and is never judged"),
        (("egress", "127.0.0.1", "127.0.0.1", 9), "loopback traffic always passes"),
        (("forward", "172.20.0.5", "172.21.0.10", 53), "is a service address (172.21.0.0/16)"),
        (("ingress", "10.0.0.7", "172.19.1.100", 30053), "if 30053 is a NodePort"),
    ],
)
def test_notes(run: Run, flow: tuple[str, str, str, int], note: str) -> None:
    direction, source, destination, port = flow
    found = explain(run, direction=direction, from_=source, to=destination, port=port)
    assert len(found["notes"]) == 1
    assert note in found["notes"][0]


def test_a_disabled_agent_denies_nothing(run: Run) -> None:
    found = explain(
        run,
        *("--set", "linux.enabled=false"),
        direction="ingress",
        from_="10.0.0.7",
        to="10.0.0.1",
        port=1,
    )
    assert (found["verdict"], found["judged"], found["nearest"]) == ("allow", False, [])
    assert found["notes"][0].startswith("linux.enabled is false")


WINDOWS_EGRESS = ("egress", "172.19.1.1")


@pytest.mark.parametrize(
    ("flow", "notes"),
    [
        ((*WINDOWS_EGRESS, "172.21.0.10", 53), []),
        ((*WINDOWS_EGRESS, "172.20.0.5", 53), ["172.20.0.5 is a pod's address: where the host as"]),
        (
            (*WINDOWS_EGRESS, "172.19.1.1", 9),
            ["traffic between a node's own addresses is loopback"],
        ),
        (("ingress", "127.0.0.1", "127.0.0.1", 9), ["loopback traffic always passes"]),
        (("ingress", "172.20.0.5", "172.19.1.1", 30053), []),
    ],
)
def test_notes_for_windows(run: Run, flow: tuple[str, str, str, int], notes: list[str]) -> None:
    direction, source, destination, port = flow
    where: dict[str, Any] = {
        "direction": direction,
        "from_": source,
        "to": destination,
        "port": port,
    }
    found = explain(run, "--os", "windows", **where)
    assert found["flow"]["os"] == "windows"
    assert len(found["notes"]) == len(notes)
    for said, expected in zip(found["notes"], notes, strict=True):
        assert said.startswith(expected)
    (off, *_) = explain(run, "--os", "windows", "--set", "windows.enabled=false", **where)["notes"]
    assert off == ("windows.enabled is false: no agent runs on Windows nodes, so nothing is denied")


def test_windows_has_rules_and_a_scope_of_its_own(run: Run) -> None:
    service: dict[str, Any] = {
        "direction": "egress",
        "from_": "172.19.1.1",
        "to": "172.21.0.10",
        "port": 53,
    }
    found = explain(run, "--os", "windows", **service)
    assert found["rules"] == ["preset:dns:egress", "preset:dns:egress-services"]
    narrow = ["--set", "cluster.dnsServers={192.0.2.53}"]
    found = explain(run, "--os", "windows", *narrow, **service)
    assert found["rules"] == ["preset:dns:egress-services"]
    assert explain(run, *narrow, **service)["verdict"] == "deny"
    outside: dict[str, Any] = {
        "direction": "egress",
        "from_": "172.19.1.1",
        "to": "8.8.8.8",
        "port": 9,
    }
    assert explain(run, "--os", "windows", **outside)["judged"] is False
    found = explain(run, "--os", "windows", "--set", "windows.scope=host", **outside)
    assert (found["judged"], found["verdict"]) == (True, "deny")


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ("denyAction=drop", "DENY: no rule allows it (drop)"),
        ("denyAction=reject", "DENY: no rule allows it (drop, as Windows cannot reject)"),
        (
            "mode=audit",
            "DENY: no rule allows it; it would be denied, but Windows gets no rules for that "
            "(mode audit)",
        ),
    ],
)
def test_what_denying_is_on_windows(run: Run, settings: str, verdict: str) -> None:
    flow = ["--direction", "ingress", "--from", "172.20.0.5", "--to", "172.19.1.1", "--port", "9"]
    result = run("explain", "--os", "windows", *flow, "--set", settings)
    assert result.stdout.splitlines()[:2] == [
        "ingress 172.20.0.5 -> 172.19.1.1 UDP port 9, windows",
        verdict,
    ]


def test_nothing_is_forwarded_by_a_windows_host(run: Run) -> None:
    flow = ["--direction", "forward", "--from", "172.20.1.5", "--to", "172.20.0.5", "--port", "9"]
    result = run("explain", "--os", "windows", *flow)
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        "--direction forward never happens on a Windows host, whose pods no policy governs "
        "(use ingress or egress for the host's own traffic, or --os linux)"
    ) in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--from", "10.0.0.300", "'10.0.0.300' is not an IPv4 or IPv6 address (write it as"),
        ("--from", "host.example", "names are not looked up"),
        ("--from", "10.0.0.0/8", "is a network (write one address)"),
        ("--from", "fe80::1%eth0", "has a zone (leave out %"),
        ("--from", "::ffff:1.2.3.4", "(write 1.2.3.4)"),
        ("--to", "fd00::1", "are of different address families"),
        ("--port", "0", "'0' is not a port (write a number from 1 to 65535)"),
        ("--port", "65536", "is not a port"),
        ("--port", "99999999999999999999", "is not a port"),
        ("--port", "-1", "is not a port"),
        ("--port", "5-9", "is not a port"),
        ("--direction", "in", "'in' is not one of 'ingress', 'egress', 'forward'"),
        ("--os", "beos", "'beos' is not"),
    ],
)
def test_wrong_usage(run: Run, option: str, value: str, message: str) -> None:
    arguments = {
        "--direction": "ingress",
        "--from": "10.0.0.7",
        "--to": "10.0.0.1",
        "--port": "514",
        "--os": "linux",
        option: value,
    }
    result = run("explain", *(word for pair in arguments.items() for word in pair))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_missing_options_are_named(run: Run) -> None:
    result = run("explain", "--direction", "ingress")
    assert result.exit_code == 2
    assert "Missing option '--from'" in result.stderr


def test_invalid_values(run: Run) -> None:
    flow = ["--direction", "ingress", "--from", "10.0.0.7", "--to", "10.0.0.1", "--port", "1"]
    result = run("explain", *flow, "--set", "mode=x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith('--set:1:1: mode: "x" is not')
    result = run("explain", *flow, "--set", "mode=x", "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["valid"] is False


CLOSED = "Note: Windows' own rules and default decide about this inbound flow: it is closed unless"


@pytest.mark.parametrize(
    ("source", "setting", "noted"),
    [
        ("172.20.0.5", "mode=audit", True),
        ("10.7.0.1", "mode=enforce", True),
        ("172.20.0.5", "mode=enforce", False),
        ("172.19.1.1", "mode=audit", False),
    ],
    ids=["audit", "outside the scope", "judged", "its own address"],
)
def test_what_windows_leaves_alone_is_not_open(
    run: Run, source: str, setting: str, noted: bool
) -> None:
    arguments = ["--os", "windows", "--direction", "ingress", "--from", source]
    result = run("explain", *arguments, "--to", "172.19.1.1", "--port", "9", "--set", setting)
    assert (CLOSED in result.stdout) is noted


@pytest.mark.parametrize("system", ["linux", "windows"])
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_nodes_own_address_is_not_judged(run: Run, system: str, direction: str) -> None:
    arguments = ["--os", system, "--direction", direction, "--from", "172.19.1.1"]
    result = run("explain", *arguments, "--to", "172.19.1.1", "--port", "9", "-o", "json")
    found = json.loads(result.stdout)
    assert (found["verdict"], found["judged"], found["nearest"]) == ("allow", False, [])


INGRESS = "--direction ingress --to 172.19.1.100"
EGRESS = "--direction egress --from 172.19.1.100"
FORWARD = "--direction forward --from 172.20.0.5"
PATHS = [
    f"{INGRESS} --from 10.1.0.7 --port 514",
    f"{INGRESS} --from 10.1.0.7 --port 514 --set linux.verdictCache.enabled=false",
    f"{INGRESS} --from 10.2.0.7 --port 5000",
    f"{INGRESS} --from 10.2.0.7 --port 5000 --set mode=audit",
    f"{INGRESS} --from 10.2.0.7 --port 9 --set linux.prefilter=true,denyAction=reject",
    f"{INGRESS} --from 10.2.0.7 --port 9 --set linux.scope=cluster,linux.prefilter=true",
    f"{INGRESS} --from 10.2.0.7 --port 30053 --set linux.prefilter=true",
    f"{INGRESS} --from 10.1.0.7 --port 514 --set linux.enabled=false",
    f"{EGRESS} --to 10.9.0.1 --port 600",
    f"{EGRESS} --to 172.19.1.100 --port 600",
    f"{EGRESS} --to 10.8.0.1 --port 600 --set linux.backend=iptables",
    f"{FORWARD} --to 172.20.0.9 --port 53",
    f"{FORWARD} --to 10.9.0.1 --port 53 --set linux.antiSpoofing=false,mode=audit",
    f"--os windows {EGRESS} --to 172.21.0.10 --port 53",
    f"--os windows {EGRESS} --to 172.21.0.10 --port 54",
    f"--os windows {EGRESS} --to 8.8.8.8 --port 53",
    f"--os windows {INGRESS} --from 172.20.0.5 --port 53",
    f"--os windows {INGRESS} --from 172.20.0.5 --port 54 --set mode=audit",
    f"--os windows {EGRESS} --to 127.0.0.1 --from 127.0.0.1 --port 54",
]


def test_paths(run: Run) -> None:
    """Word for word. UPDATE_GOLDEN=1 writes the file anew; then read the diff."""
    said = []
    for arguments in PATHS:
        done = run("explain", "-f", "-", *shlex.split(arguments), stdin=VALUES)
        assert done.exit_code == 0, done.output
        verdict, path = done.stdout.splitlines()[1], done.stdout[done.stdout.index("\nPath ") :]
        assert all(len(line) <= 80 for line in path.splitlines())
        said.append(f"\n$ udp-security explain {arguments}\n{verdict}{path}")
    compare(GOLDEN / "explain-paths.txt", "".join(said))


def test_a_path_of_a_rule_with_the_longest_name_fits(run: Run) -> None:
    name = "x" * 63
    words = [*shlex.split(INGRESS), "--from", "10.1.0.7", "--port", "514"]
    done = run("explain", "-f", "-", *words, "--set", f"rules[0].name={name}", stdin=VALUES)
    path = done.stdout[done.stdout.index("\nPath ") :]
    assert re.search(rf"^ +{name}: ACCEPT$|^ +{name}:$", path, re.MULTILINE)
    assert all(len(line) <= 81 for line in path.splitlines())


def test_rules_of_a_shared_segment_are_named_in_their_order(run: Run) -> None:
    rules = [
        f"rules[{n}].name=r{n},rules[{n}].direction=ingress,rules[{n}].ports={{{500 + n}-600}}"
        for n in range(5)
    ]
    words = [word for rule in rules for word in ("--set", rule)]
    found = explain(run, *words, direction="ingress", from_="10.1.0.1", to="10.0.0.1", port=550)
    steps = [step["step"] for step in found["path"]]
    assert "port 550 of 547-600: leads to r0, r1, r2 and 2 more" in steps
    assert "rule r0: ACCEPT" in steps


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--live"], "--live asks one node (say which with --node)"),
        (["--live", "--node", "a", "--set", "mode=audit"], "(leave out -f, --set and --os)"),
        (["--live", "--node", "a", "--os", "linux"], "(leave out -f, --set and --os)"),
        (["--node", "a"], "--node, --kubeconfig and --context are for --live"),
        (["--context", "a"], "--node, --kubeconfig and --context are for --live"),
    ],
)
def test_live_and_values_do_not_mix(run: Run, more: list[str], message: str) -> None:
    done = run("explain", *shlex.split(INGRESS), "--from", "10.0.0.7", "--port", "1", *more)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())


def test_help_fits_a_terminal(run: Run) -> None:
    done = run("explain", "--help")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "Examples:" in done.stdout
    assert "Exit status:" in done.stdout


def test_no_columns_are_no_width(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*shlex.split(INGRESS), "--from", "10.1.0.7", "--port", "514"]
    usual = run("explain", "-f", "-", *words, stdin=VALUES).stdout
    monkeypatch.setenv("COLUMNS", "0")
    assert run("explain", "-f", "-", *words, stdin=VALUES).stdout == usual != ""
