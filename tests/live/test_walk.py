# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""From audit to enforce, as docs/learn-a-policy.md walks: with packets, and the real agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from tests.live.conftest import HOST, Live

from udp_security.lab.addresses import FAMILIES, OUTSIDER, cluster_values

SYSLOG, REPORTS, UNKNOWN = 514, 5600, 7001
VALUES = """\
# The ward's policy.
mode: audit   # until we know
rules:
  - name: open
    direction: ingress
    ports: [7000]
"""


def ok(done: Result, exit_code: int = 0) -> Result:
    assert done.exit_code == exit_code, done.output
    return done


def values(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(file.read_text())
    return loaded


def send(live: Live, source: str, address: str, port: int, times: int = 1) -> bool:
    """Whether all of so many packets of a flow arrive."""
    with live.topology.stream(source, address, port) as stream:
        return all(stream.send().delivered for _ in range(times))


def test_the_walk(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, saved = tmp_path / "values.yaml", tmp_path / "denials.json"
    # The lab's addresses, and which of its nodes is governed, are part of the site's values.
    site = {"cluster": cluster_values(), "linux": {"nodeSelector": {HOST: "node"}}}
    file.write_text(VALUES + yaml.safe_dump(site, default_flow_style=None))
    (tmp_path / "before.yaml").write_text(file.read_text())

    # Audit: all passes, and what enforce would deny is counted.
    live.enforce(values(file))
    node, pod = live.topology.address("node"), live.topology.address("pod-c")
    for family in FAMILIES:
        assert send(live, "outsider", live.topology.address("node", family), SYSLOG, 12)
    assert send(live, "pod-a", pod, REPORTS, 12)
    assert send(live, "outsider", node, UNKNOWN, 3)
    saved.write_text(ok(live.run("denials", "-o", "json")).stdout)
    flows = {flow["port"]: flow for flow in json.loads(saved.read_text())["flows"]}
    assert flows.keys() == {SYSLOG, REPORTS, UNKNOWN}
    assert flows[REPORTS]["sourceName"] == "pod lab/pod-a"

    # Suggest, from the saved file and live; with the values and without.
    shown = ok(live.run("suggest", "--denials", "denials.json", "-f", "values.yaml"))
    # The denials tell the addresses to values that do not.
    bare = ok(live.run("suggest", "--denials", "denials.json", "-f", "-", stdin=VALUES))
    assert bare.stdout == shown.stdout
    live_one = ok(live.run("suggest"))
    for text in (shown.stdout, live_one.stdout):
        assert f'from: [{OUTSIDER.v4}, "{OUTSIDER.v6}"]' in text
        assert "fewer than 10 packets" in text and str(UNKNOWN) in text
    done = ok(live.run("suggest", "--write", "values.yaml", "--yes"))
    assert "Written to values.yaml" in done.stderr
    assert file.read_text().startswith(VALUES.rstrip())

    # Diff: what is allowed now and was not, and nothing is lost.
    changed = ok(live.run("diff", "before.yaml", "values.yaml", "-o", "json"), exit_code=1)
    difference = json.loads(changed.stdout)
    assert difference["allowed"] and not difference["denied"]

    # Enforce: what was learnt passes, the rest is denied.
    file.write_text(file.read_text().replace("mode: audit", "mode: enforce"))
    ok(live.run("diff", "--live", "values.yaml"), exit_code=1)
    live.enforce(values(file))
    ok(live.run("diff", "--live", "values.yaml"))
    for family in FAMILIES:
        assert send(live, "outsider", live.topology.address("node", family), SYSLOG)
    assert send(live, "pod-a", pod, REPORTS)
    assert not send(live, "outsider", node, UNKNOWN)
    assert not send(live, "pod-b", pod, REPORTS)
    # Nothing more to learn.
    rest = json.loads(ok(live.run("suggest", "-f", "values.yaml", "-o", "json")).stdout)
    assert (rest["rules"], rest["presets"]) == ([], [])
