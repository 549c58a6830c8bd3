# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security diff` as a user calls it; with --live: tests/cluster/test_diff.py.

    UPDATE_GOLDEN=1 make test ARGS=tests/cli/test_diff.py

writes the files in golden/ anew; then read the diff.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.golden import compare

from .conftest import Run

GOLDEN = Path(__file__).parent / "golden"

OLD = """\
mode: audit
rules:
  - {name: syslog, direction: ingress, ports: [514], from: [10.1.0.0/16, "fd00:10::/32"]}
  - {name: dicom, direction: ingress, ports: ["4000-4099"], from: [10.2.0.0/16]}
  - {name: pumps, direction: ingress, ports: [6000], from: [10.7.0.0/24], to: [172.19.1.100]}
  - {name: backup, direction: egress, ports: [9000-9009], to: [10.9.0.0/16]}
"""
NEW = """\
presets: {dns: false}
dangerouslyCutOff: [dns]
rules:
  - {name: syslog, direction: ingress, ports: [514, 6514], from: [10.1.0.0/16, "fd00:10::/32"]}
  - {name: dicom-a, direction: ingress, ports: ["4000-4049"], from: [10.2.0.0/17, 10.2.128.0/17]}
  - {name: dicom-b, direction: ingress, ports: ["4050-4099"], from: [10.2.0.0/16]}
  - {name: pumps, direction: ingress, ports: [6000], from: [10.7.0.0/24]}
  - {name: quic, direction: egress, ports: [443]}
  - name: backup
    direction: egress
    ports: [9000, 9002, 9004, 9006, 9008]
    to: [10.9.0.0/24, 10.9.2.0/24, 10.9.4.0/24, 10.9.6.0/24, 10.9.8.0/24, 10.9.10.0/24]
"""


@pytest.fixture(autouse=True)
def files(run: Run) -> None:
    """Both values files, in the folder where the command runs."""
    Path("old.yaml").write_text(OLD, encoding="utf-8")
    Path("new.yaml").write_text(NEW, encoding="utf-8")


def test_text(run: Run) -> None:
    done = run("diff", "old.yaml", "new.yaml")
    assert (done.exit_code, done.stderr) == (1, "")
    compare(GOLDEN / "diff.txt", done.stdout)


def test_json(run: Run) -> None:
    done = run("diff", "old.yaml", "new.yaml", "-o", "json")
    assert (done.exit_code, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    # All addresses but a few are nothing to read in CIDRs.
    for kind in ("allowed", "denied"):
        found[kind] = [box for box in found[kind] if len(box["to"]) < 9]
    compare(GOLDEN / "diff-json.txt", json.dumps(found, indent=2) + "\n")


def test_boxes_are_rules(run: Run) -> None:
    """What is newly allowed, added to the old rules as it is printed, makes up for it."""
    given = "rules:\n  - {name: a, direction: ingress, ports: [7, 9-11], from: [10.0.0.0/8]}\n"
    Path("base.yaml").write_text("{}\n")
    Path("more.yaml").write_text(given)
    boxes = json.loads(run("diff", "base.yaml", "more.yaml", "-o", "json").stdout)["allowed"]
    rules = [{"name": f"r{number}", **box} for number, box in enumerate(boxes)]
    Path("same.yaml").write_text(json.dumps({"rules": rules}))
    done = run("diff", "more.yaml", "same.yaml", "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)["equivalent"]) == (0, True)


def test_no_difference(run: Run) -> None:
    done = run(
        "diff", "new.yaml", "-", stdin=NEW.replace("ports: [514, 6514]", "ports: [6514, 514]")
    )
    assert (done.exit_code, done.output) == (0, "No difference in meaning.\n")
    done = run("diff", "new.yaml", "new.yaml", "-o", "json")
    assert json.loads(done.stdout) == {
        "schemaVersion": 1,
        "equivalent": True,
        "lifelines": [],
        "allowed": [],
        "denied": [],
        "settings": [],
        "notCompared": [],
    }


def test_a_setting_alone_is_a_difference(run: Run) -> None:
    done = run("diff", "old.yaml", "-", stdin=OLD.replace("audit", "enforce"))
    assert done.exit_code == 1
    assert done.stdout.startswith("Settings:\n  linux    mode  audit -> enforce  ")


def test_what_switches_the_firewall_off_is_a_difference(run: Run) -> None:
    off = "linux: {nodeSelector: {nobody: has-this}, antiSpoofing: false}\n"
    done = run("diff", "new.yaml", "-", stdin=NEW + off)
    assert done.exit_code == 1
    title, *rows = done.stdout.splitlines()
    assert (title, [re.split(" {2,}", row.strip()) for row in rows]) == (
        "Settings:",
        [
            [
                "linux", "nodeSelector", 'none -> {"nobody": "has-this"}',
                "only nodes with these labels have the agent: on others nothing is denied",
            ],
            [
                "linux", "antiSpoofing", "true -> false",
                "what pods send from forged addresses or with VLAN tag 0 is no longer denied",
            ],
        ],
    )  # fmt: skip


def test_a_long_setting_is_cut(run: Run) -> None:
    label = "x" * 63
    given = NEW + f"windows: {{nodeSelector: {{{label}: a}}}}\n"
    assert f'  none -> {{"{label[:58]}...  only' in run("diff", "new.yaml", "-", stdin=given).stdout
    found = json.loads(run("diff", "new.yaml", "-", "-o", "json", stdin=given).stdout)
    assert found["settings"][0]["new"] == f'{{"{label}": "a"}}'


def test_a_lifeline_of_the_old_addresses_is_lost(run: Run) -> None:
    done = run("diff", "-", "new.yaml", stdin=NEW + "cluster: {nodeCIDRs: [10.5.0.0/24]}\n")
    assert (
        "Lifeline flannelVxlan is cut on linux nodes: egress from 10.5.0.0/24 to 10.5.0.0/24, "
        "port 8472, and 1 more\n" in done.stdout
    )


def test_what_is_invalid_is_named_and_is_no_difference(run: Run) -> None:
    Path("bad.yaml").write_text("mode: no\n", encoding="utf-8")
    done = run("diff", "bad.yaml", "gone.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("bad.yaml:1:7: mode: ")
    assert second.startswith("gone.yaml:1:1: cannot be read: ")
    done = run("diff", "old.yaml", "bad.yaml", "-o", "json")
    assert done.exit_code == 2
    assert [error["file"] for error in json.loads(done.stdout)["errors"]] == ["bad.yaml"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument"),
        (["old.yaml"], "two values files"),
        (["old.yaml", "new.yaml", "new.yaml"], "two values files"),
        (["--live", "old.yaml", "new.yaml"], "--live takes one values file"),
        (["-", "-"], "only one of the values files"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], says: str) -> None:
    done = run("diff", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr


def test_long_lists_and_long_tables_are_cut(run: Run) -> None:
    rules = [
        {
            "name": f"r{i}",
            "direction": "forward",
            "ports": [1000 + i],
            "from": [f"10.{i}.{j}.0/24" for j in range(0, 20, 2)],
            "os": ["linux"],
        }
        for i in range(250)
    ]
    Path("many.yaml").write_text(json.dumps({"rules": rules}))
    done = run("diff", "-", "many.yaml", stdin="{}")
    title, head, *rows, last = done.stdout.splitlines()
    assert (title, head.split()[0], len(rows), last) == (
        "Newly allowed:", "DIRECTION", 20, "  and 230 more"
    )  # fmt: skip
    assert re.split(" {2,}", rows[0].strip())[2:] == [
        "10.0.0.0/24, 10.0.2.0/24, 10.0.4.0/24, 10.0.6.0/24 and 6 more", "any", "1000"
    ]  # fmt: skip
    found = json.loads(run("diff", "-", "many.yaml", "-o", "json", stdin="{}").stdout)
    assert (len(found["allowed"]), len(found["allowed"][0]["from"])) == (250, 10)


def test_any_of_both_families_is_a_row(run: Run) -> None:
    rule = "  - {name: a, direction: ingress, ports: [7], os: [linux]%s}\n"
    both = run("diff", "-", "old.yaml", stdin=OLD + rule % "")
    assert re.search(r"^  ingress +linux +any +any +7$", both.stdout, re.MULTILINE)
    one = run("diff", "-", "old.yaml", stdin=OLD + rule % ", from: [0.0.0.0/0]")
    assert re.search(r"^  ingress +linux +any IPv4 +any IPv4 +7$", one.stdout, re.MULTILINE)


def test_a_lost_lifeline_is_red_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run("diff", "old.yaml", "new.yaml").stdout.startswith("\x1b[1;31mLifeline dns is cut")
