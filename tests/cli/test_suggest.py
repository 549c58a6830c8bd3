# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security suggest` as a user calls it, with denials from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from tests.golden import compare
from tests.unit.denials import denied

from udp_security.policy.denied import DeniedFlow, as_json

from .conftest import Run

GOLDEN = Path(__file__).parent / "golden"
NODE = "172.19.1.100"
GATEWAY, DATABASE = "pod ward/gateway-0", "pod ward/db-7d9c8b6f5-x2x9z"
ON_NODE = (None, "node linux-a")
FLOWS = (
    denied("ingress", "10.1.0.7", NODE, 514, 530, names=ON_NODE),
    denied("ingress", "10.1.0.9", NODE, 514, 412, names=ON_NODE),
    denied("ingress", "10.1.0.9", NODE, 515, 88, names=ON_NODE),
    denied("ingress", "fd00:10::7", "fd00:172:19:1::100", 6000, 60, names=ON_NODE),
    denied("forward", "172.20.0.5", "172.20.1.9", 5432, 40, names=(GATEWAY, DATABASE)),
    denied("egress", NODE, "10.1.0.53", 500, 12, names=("node linux-a", None)),
    denied("egress", NODE, "10.1.0.53", 4500, 12, names=("node linux-a", None)),
    denied("egress", NODE, "10.1.0.53", 53, 4, names=("node linux-a", None)),
    denied("egress", NODE, "255.255.255.255", 67, 13, names=("node linux-a", None)),
    denied("forward", "172.20.0.5", "172.21.0.77", 5432, 11, names=(GATEWAY, None)),
    *(denied("ingress", f"10.66.6.{n}", NODE, 161, 1, names=ON_NODE) for n in range(7)),
    denied("ingress", "10.66.7.7", NODE, 161, 9, names=ON_NODE),
)
VALUES = """\
# The ward's.
mode: audit
rules:
  - name: time   # keep
    direction: ingress
    ports: [123]
"""
# A lifeline that is off.
CUT = "presets: {dhcp: false}\ndangerouslyCutOff: [dhcp]\n"
LAYERS = ("-f", "cut.yaml", "-f", "values.yaml")


def document(flows: Sequence[DeniedFlow]) -> dict[str, Any]:
    """What `denials -o json` prints."""
    return {
        "schemaVersion": 1,
        "time": "2026-03-01T12:00:00Z",
        "since": None,
        "nodes": [
            {"node": "linux-a", "os": "linux", "mode": "audit", "available": True, "reason": None},
            {
                "node": "linux-b",
                "os": "linux",
                "mode": None,
                "available": False,
                "reason": "no answer within 10 s",
            },
        ],
        "flows": [as_json(flow) for flow in flows],
        "ports": [],
    }


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """Of a site: its values and what was denied."""
    (tmp_path / "values.yaml").write_text(VALUES)
    (tmp_path / "cut.yaml").write_text(CUT)
    (tmp_path / "denials.json").write_text(json.dumps(document(FLOWS)))


def suggest(run: Run, *more: str, exit_code: int = 0) -> Result:
    done = run("suggest", "--denials", "denials.json", *more)
    assert done.exit_code == exit_code, done.output
    return done


def test_text(run: Run) -> None:
    done = suggest(run, *LAYERS)
    compare(GOLDEN / "suggest.txt", done.stdout)
    assert done.stderr.endswith("Note: linux-b: no answer within 10 s\n")
    compare(GOLDEN / "suggest-wider.txt", suggest(run, *LAYERS, "--max-prefix", "16").stdout)


def test_the_yaml_can_be_pasted(run: Run, tmp_path: Path) -> None:
    text = suggest(run, *LAYERS).stdout
    pasted = yaml.safe_load(text[text.index("\npresets:") : text.index("\nLeft out:")])
    found = json.loads(suggest(run, *LAYERS, "-o", "json").stdout)
    assert pasted["rules"] == [each["rule"] for each in found["rules"]]
    assert pasted["presets"] == {each["preset"]: True for each in found["presets"]}


def test_json(run: Run) -> None:
    found = json.loads(suggest(run, *LAYERS, "-o", "json").stdout)
    assert found["schemaVersion"] == 1 and found["written"] is None
    (preset,) = found["presets"]
    assert (preset["preset"], preset["flows"], preset["packets"]) == ("dhcp", 1, 13)
    assert found["silentNodes"] == [{"node": "linux-b", "reason": "no answer within 10 s"}]
    rule = next(each for each in found["rules"] if each["rule"]["direction"] == "forward")
    assert rule["rule"] == {
        "name": "forward-5432-to-db",
        "description": f"learnt from denials: {GATEWAY} to {DATABASE} "
        "(40 packets, last on 2026-03-01)",
        "direction": "forward",
        "ports": [5432],
        "from": ["172.20.0.5"],
        "to": ["172.20.1.9"],
        "os": ["linux"],
    }
    assert rule["lastSeen"] == "2026-03-01T12:00:00Z" and rule["nodes"] == ["linux-a"]
    assert len(rule["reasons"]) == 2
    assert [(left["kind"], len(left["flows"])) for left in found["leftOut"]] == [
        ("once", 7),
        ("few", 1),
        ("refused", 1),
    ]
    assert found["leftOut"][1]["flows"] == [as_json(FLOWS[-1])]
    assert found["allowedAlready"] == 1
    assert found["difference"]["allowed"] and not found["difference"]["denied"]


def test_nothing_to_suggest(run: Run) -> None:
    done = run("suggest", "--denials", "-", "-f", "values.yaml", stdin=json.dumps(document([])))
    assert (done.exit_code, done.stdout) == (0, "Nothing to suggest.\n")


def test_written(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    done = suggest(run, *LAYERS, "--write", "values.yaml", "--yes")
    assert done.stdout.startswith(suggest_text := "Suggested: 1 preset and ")
    assert "Written to values.yaml. Nothing is applied yet." in done.stderr
    text = file.read_text()
    assert text.startswith(VALUES)
    assert yaml.safe_load(text)["presets"] == {"dhcp": True}
    assert run("validate", *LAYERS).exit_code == 0
    # What is allowed then is not suggested again.
    again = suggest(run, *LAYERS, "--write", "values.yaml", "--yes")
    assert suggest_text not in again.stdout and "Nothing to suggest." in again.stdout
    assert file.read_text() == text


def test_it_asks_before_writing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = suggest(run, "--write", "values.yaml", exit_code=2)
    assert "here is no terminal (add --yes)" in done.stderr
    monkeypatch.setattr("udp_security.cli.suggest._on_terminal", lambda: True)
    arguments = ("suggest", "--denials", "denials.json", "--write", "values.yaml")
    refused = run(*arguments, stdin="n\n")
    assert (refused.exit_code, (tmp_path / "values.yaml").read_text()) == (0, VALUES)
    # The change in meaning comes first.
    assert refused.output.index("change in meaning") < refused.output.index("Add this to")
    # Also where standard output is for a program.
    refused = run(*arguments, "-o", "json", stdin="n\n")
    assert refused.stderr.index("change in meaning") < refused.stderr.index("Add this to")
    assert json.loads(refused.stdout)["written"] is None
    agreed = run(*arguments, stdin="y\n")
    assert agreed.exit_code == 0 and (tmp_path / "values.yaml").read_text() != VALUES


def test_a_file_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.chmod(0o444)
    done = suggest(run, "--write", "values.yaml", "--yes", exit_code=2)
    assert "values.yaml is read-only" in done.stderr and file.read_text() == VALUES


def test_rules_of_an_earlier_file_are_not_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("mode: enforce\n")
    layers = ("-f", "values.yaml", "-f", "site.yaml", "--yes")
    done = suggest(run, *layers, "--write", "site.yaml", exit_code=2)
    assert "rules would be in site.yaml and in values.yaml" in done.stderr
    assert (tmp_path / "site.yaml").read_text() == "mode: enforce\n"
    suggest(run, *layers, "--write", "values.yaml")
    assert "ingress-514" in (tmp_path / "values.yaml").read_text()


def test_what_would_not_be_valid_is_not_written(run: Run, tmp_path: Path) -> None:
    elsewhere = {"direction": "ingress", "from": ["10.9.0.0/16"]}
    rules: list[dict[str, Any]]
    rules = [{"name": f"all-{n}", "ports": ["1-65535"], **elsewhere} for n in range(100)]
    # As many as may be: one port more would be one too many (policy/limits.yaml).
    rules += [{"name": f"one-{n}", "ports": [1000 + 2 * n], **elsewhere} for n in range(144)]
    text = yaml.safe_dump({"rules": rules})
    (tmp_path / "values.yaml").write_text(text)
    (tmp_path / "denials.json").write_text(json.dumps(document(FLOWS[:1])))
    done = suggest(run, "--write", "values.yaml", "--yes", exit_code=1)
    assert "overlap too deeply" in done.stderr and "values.yaml is unchanged" in done.stderr
    assert (tmp_path / "values.yaml").read_text() == text


def test_what_agents_printed_on_nodes(run: Run, tmp_path: Path) -> None:
    """One behind the other; the same flow on two nodes is one, and its packets count together."""
    flow: dict[str, Any] = {"direction": "ingress", "source": "10.1.0.7"}
    flow |= {"destination": "172.19.1.100"}
    flow |= {"port": 514, "packets": 6, "bytes": 600, "ago": 7}
    nodes = [
        {"schemaVersion": 1, "os": "linux", "node": node, "mode": "audit", "deniedFlows": flows}
        for node, flows in (("node-a", [flow]), ("node-b", [flow]), ("node-c\x1b", None))
    ]
    text = "\n".join(map(json.dumps, nodes)) + "\n"
    (tmp_path / "denials.json").write_text(text)
    answer = suggest(run, "-f", "values.yaml", "-o", "json")
    assert "Note: node-c: its agent cannot tell flows" in answer.stderr
    (rule,) = json.loads(answer.stdout)["rules"]
    assert (rule["packets"], rule["nodes"]) == (12, ["node-a", "node-b"])
    assert (rule["rule"]["from"], rule["rule"]["ports"]) == (["10.1.0.7"], [514])
    (tmp_path / "denials.json").write_text(text + "{")
    assert "denials.json:4:2: not JSON" in suggest(run, "-f", "values.yaml", exit_code=1).stderr


def test_several_files(run: Run, tmp_path: Path) -> None:
    """What a node told twice counts once, whichever way it was saved."""
    flow = as_json(denied("ingress", "10.1.0.7", NODE, 514, 6))
    follow = {"time": "2026-03-01T12:00:00Z", "mode": "audit", "newPackets": 2}
    growing = [json.dumps({**follow, **flow, "packets": packets}) for packets in (2, 4)]
    both = {**flow, "packets": 7, "nodes": ["linux-a", "linux-b"]}
    other = {**flow, "packets": 5, "nodes": ["linux-c"]}
    first, second, third = ({**document([]), "flows": [each]} for each in (flow, both, other))
    (tmp_path / "a.json").write_text(json.dumps(first) + "\n" + json.dumps(second))
    # As PowerShell saves it.
    (tmp_path / "b.json").write_text(json.dumps(third), encoding="utf-16")
    (tmp_path / "follow.json").write_text("\n".join(growing) + "\n")
    files = [part for name in ("a", "b", "follow") for part in ("--denials", f"{name}.json")]
    done = run("suggest", *files, "-f", "values.yaml", "-o", "json")
    (rule,) = json.loads(done.stdout)["rules"]
    assert (rule["packets"], rule["nodes"]) == (12, ["linux-a", "linux-b", "linux-c"])
    assert done.stderr.count("linux-b: no answer") == 1
    done = run("suggest", "--denials", "-", "--denials", "-", "-f", "values.yaml", stdin="")
    assert done.exit_code == 2 and "only one of" in done.stderr


BAD_DENIALS = [
    ("", "denials.json:1:1: not JSON"),
    ('{"schemaVersion": 1, "deniedFlows": 7}', "deniedFlows: not a list"),
    ('{"schemaVersion": 1, "deniedFlows": [{}]}', "deniedFlows[0].source: is missing"),
    ("{", "denials.json:1:2: not JSON"),
    ("[]", "schemaVersion is not 1"),
    ('{"schemaVersion": 2, "flows": []}', "schemaVersion is not 1"),
    ('{"schemaVersion": 1}', "flows: not a list"),
    ('{"schemaVersion": 1, "flows": [7]}', "flows[0]"),
    (
        json.dumps(document([])).replace(
            '"flows": []', f'"flows": [{json.dumps({**as_json(FLOWS[0]), "port": 70000})}]'
        ),
        "denials.json:1: flows[0].port: 70000 is not",
    ),
    (
        json.dumps(document(FLOWS[:1])).replace('"packets": 530', f'"packets": {"9" * 5000}'),
        "denials.json:1: flows[0].packets: inf is not a whole number",
    ),
    ('\n{"newPackets": 1, "direction": "ingress"}', "denials.json:2: os: is missing"),
    (
        json.dumps({**document([]), "cluster": {"podCIDRs": "10.244.0.0/16"}}),
        "denials.json:1: cluster: podCIDRs: '10.244.0.0/16' is not a list",
    ),
    ("[" * 100_000, "not JSON"),
    ("\ud800", "not JSON"),
]


@pytest.mark.parametrize(("text", "words"), BAD_DENIALS)
def test_bad_denials(run: Run, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "denials.json").write_bytes(text.encode(errors="surrogatepass"))
    done = suggest(run, "-f", "values.yaml", exit_code=1)
    assert words in done.stderr and "udp-security denials -o json" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--denials", "gone.json", "-f", "values.yaml"), "cannot be read: no such file"),
        (("--denials", "-", "-f", "-"), "only one of"),
        (("--yes",), "--yes without --write"),
        (("-f", "values.yaml", "--write", "other.yaml", "--yes"), "none of the values files"),
        (("-f", "-", "--write", "-", "--yes"), "needs a file"),
        (("--max-prefix", "0"), "is not a prefix length"),
        (("--max-prefix", "24,129"), "is not a prefix length"),
        (("--min-packets", "0"), "0 is not in the range"),
        (("--write", "gone.yaml", "--yes"), "cannot be read"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], words: str) -> None:
    done = run("suggest", *arguments)
    assert done.exit_code == 2 and words in done.stderr.lower().replace("\n", " ")


def test_invalid_values_are_told_as_by_validate(run: Run, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("mode: strict\n")
    done = suggest(run, "--write", "values.yaml", "--yes", exit_code=1)
    assert "values.yaml:1:7: mode:" in done.stderr
    assert (tmp_path / "values.yaml").read_text() == "mode: strict\n"
