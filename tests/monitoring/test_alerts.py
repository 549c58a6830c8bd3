# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""When the chart's alerts fire, and when not, by `promtool test rules`.

Series are written as promtool has them, with a sample a minute or other `interval`: `1x5 0x3` is
six times 1, four times 0. A failed scrape is `stale`: Prometheus marks the series so, and it is not
there until the next sample.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.k2s.artifact_places import ROOT, tool

DOCS = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
SCRAPED = 'namespace="udp-security",job="udp-security-metrics"'
LABELS = {"namespace": "udp-security", "job": "udp-security-metrics"}
QUIET = 8 * 60
# Scrapes of half an hour, true where they succeed. Alerts are judged at full minutes, where those
# of EVERY_SECOND fail.
EVERY_SECOND = [number % 2 == 1 for number in range(60)]
RANDOM = random.Random(36)
TWO_OF_FIVE = [RANDOM.random() < 0.4 for _ in range(60)]


@dataclass(frozen=True)
class Case:
    """Of `alert` nothing is firing at the minutes `silent`; at those of `firing` it is for what the
    labels name (an empty one: it has none), `value` being what its texts tell.
    """

    name: str
    alert: str
    series: Mapping[str, str]
    silent: tuple[int, ...] = ()
    firing: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    value: str = ""
    interval: str = "1m"

    def __str__(self) -> str:
        return f"{self.alert.removeprefix('UdpSecurity')}: {self.name}"


def enforced(node: str) -> str:
    return f'udp_security_enforced{{{SCRAPED},node="{node}"}}'


def up(node: str, instance: str = "1") -> str:
    return f'up{{{SCRAPED},node="{node}",instance="{instance}"}}'


def heals(node: str) -> str:
    return f'udp_security_heals_total{{{SCRAPED},node="{node}"}}'


def denied(node: str, direction: str = "ingress") -> str:
    return f'udp_security_denied_packets_total{{{SCRAPED},node="{node}",direction="{direction}"}}'


def info(node: str, os: str, generation: str) -> str:
    labels = f'{SCRAPED},node="{node}",os="{os}",generation="{generation}"'
    return f"udp_security_info{{{labels}}}"


def daemonset(
    metric: str, name: str = "udp-security-linux", namespace: str = "udp-security"
) -> str:
    """As kube-state-metrics has it, scraped by kube-prometheus-stack's job."""
    labels = f'namespace="{namespace}",daemonset="{name}",job="kube-state-metrics",instance="k"'
    return f"kube_daemonset_status_{metric}_number_scheduled{{{labels}}}"


def scraped(value: int, successes: Sequence[bool]) -> str:
    """A metric with this value."""
    return " ".join(str(value) if success else "stale" for success in successes)


def seen_up(successes: Sequence[bool]) -> str:
    """What Prometheus itself says of the scrapes."""
    return " ".join(str(int(success)) for success in successes)


def denials(*phases: tuple[int, int]) -> str:
    """A counter that grows by so many packets a second for so many minutes."""
    total = 0
    items = ["0"]
    for rate, minutes in phases:
        items.append(f"{total + 60 * rate}+{60 * rate}x{minutes - 1}")
        total += 60 * rate * minutes
    return " ".join(items)


CASES = [
    Case(
        "a node loses its policy and gets it back",
        "UdpSecurityNotEnforced",
        {enforced("a"): "1x5 0x10 1x9", enforced("b"): "1x26"},
        silent=(5, 7, 17, 25),
        firing=(8, 16),
        labels={"node": "a"},
    ),
    Case(
        "every second scrape fails",
        "UdpSecurityNotEnforced",
        {
            enforced("a"): scraped(0, EVERY_SECOND),
            enforced("b"): scraped(1, EVERY_SECOND),
        },
        silent=(2,),
        firing=(4, 12, 21, 29),
        labels={"node": "a"},
        interval="30s",
    ),
    Case(
        "three of five scrapes fail",
        "UdpSecurityNotEnforced",
        {enforced("a"): scraped(0, TWO_OF_FIVE), enforced("b"): scraped(1, TWO_OF_FIVE)},
        firing=(8, 12, 16, 20, 24, 28),
        labels={"node": "a"},
        interval="30s",
    ),
    Case(
        "single scrapes fail, a node restarts, a look comes too early",
        "UdpSecurityNotEnforced",
        {
            enforced("a"): "1x9 stale 1x30",
            enforced("b"): "1x9 stale stale stale stale 1x30",
            enforced("c"): "1x9 stale stale 0 1x30",
        },
        silent=(5, 6, 7, 8, 9, 20),
        interval="30s",
    ),
    Case(
        "an agent stops answering for a while",
        "UdpSecurityAgentDown",
        {up("a"): "1x5 0x10 1x9", up("b"): "1x26"},
        silent=(5, 10, 22),
        firing=(11, 16),
        labels={"node": "a", "instance": "1"},
    ),
    Case(
        "every second scrape fails, and none any more",
        "UdpSecurityAgentDown",
        # Judged after a scrape that succeeds.
        {up("a"): f"1x40 {seen_up(EVERY_SECOND)} 1x60", up("b"): "1x160"},
        silent=(20, 24, 57, 70),
        firing=(40, 48),
        labels={"node": "a", "instance": "1"},
        interval="30s",
    ),
    Case(
        "three of five scrapes fail",
        "UdpSecurityAgentDown",
        {up("a"): seen_up(TWO_OF_FIVE), up("b"): "1x60"},
        firing=(21, 25, 29),
        labels={"node": "a", "instance": "1"},
        interval="30s",
    ),
    Case(
        "single scrapes fail, a node restarts",
        "UdpSecurityAgentDown",
        {
            up("a"): "1x9 0 1x9 0 1x9 0 1x40",
            up("b"): "1x9 0x8 1x50",
            up("c"): "1x40 0x8 1x20",
            # Its image is loaded for four minutes.
            up("d"): "0x8 1x60",
        },
        silent=(4, 5, 7, 10, 12, 15, 17, 20, 25, 30),
        interval="30s",
    ),
    Case(
        "a node is gone, and forgotten after an hour",
        "UdpSecurityAgentDown",
        {up("a"): "1x5 stale", up("b"): "1x99"},
        silent=(5, 10, 66),
        firing=(11, 64),
        labels={"node": "a", "instance": "1"},
    ),
    Case(
        "a node comes back with another address",
        "UdpSecurityAgentDown",
        {up("a", "1"): "1x5 stale", up("a", "2"): "_x5 1x30"},
        silent=(6, 12, 30),
    ),
    Case(
        "there is no agent at all",
        "UdpSecurityAgentDown",
        {"up{job='another'}": "1x20"},
        silent=(4,),
        firing=(5, 20),
        labels={"node": "(all)"},
    ),
    Case(
        "rules are changed again and again",
        "UdpSecurityDrifting",
        {heals("a"): "0x9 1 2 3 4x40", heals("b"): "0x60"},
        silent=(12, 30),
        firing=(13, 24),
        labels={"node": "a"},
        value="4",
    ),
    Case(
        "rules are changed three times",
        "UdpSecurityDrifting",
        {heals("a"): "0x9 1 2 3x40"},
        silent=(12, 13, 20),
    ),
    Case(
        "three times, seen by scrapes that leave something to guess",
        "UdpSecurityDrifting",
        {heals("a"): "1 3 4"},
        silent=(14,),
        interval="7m",
    ),
    Case(
        "a pod is replaced and counts anew",
        "UdpSecurityDrifting",
        {heals("a"): "9x9 0x20"},
        silent=(10, 12, 20),
    ),
    Case(
        "a flood after quiet hours",
        "UdpSecurityDenialSpike",
        {
            denied("a"): denials((1, QUIET), (29, 20), (1, 20)),
            denied("a", "forward"): denials((1, QUIET + 40)),
            denied("b"): denials((1, QUIET + 40)),
        },
        silent=(QUIET, QUIET + 5, QUIET + 30),
        firing=(QUIET + 12, QUIET + 20),
        labels={"node": "a"},
        value="30",
    ),
    Case(
        "the first denials of a node",
        "UdpSecurityDenialSpike",
        {denied("a"): denials((0, 60), (20, 30))},
        silent=(60,),
        firing=(72,),
        labels={"node": "a"},
        value="20",
    ),
    Case(
        "a flood on a node that is known for an hour",
        "UdpSecurityDenialSpike",
        {denied("a"): denials((3, 60), (18, 30))},
        silent=(60,),
        firing=(72,),
        labels={"node": "a"},
        value="18",
    ),
    Case(
        "many times more, but few",
        "UdpSecurityDenialSpike",
        {denied("a"): denials((0, QUIET), (9, 30))},
        silent=(QUIET + 12, QUIET + 29),
    ),
    Case(
        "many, but not many times more",
        "UdpSecurityDenialSpike",
        {denied("a"): denials((12, QUIET), (50, 30))},
        silent=(QUIET + 12, QUIET + 29),
    ),
    Case(
        "a new node, with as many as ever",
        "UdpSecurityDenialSpike",
        {denied("a"): denials((30, 120))},
        silent=(12, 25, 119),
    ),
    Case(
        "a node that was off for the night",
        "UdpSecurityDenialSpike",
        {denied("a"): f"{denials((15, 600))} stale _x800 0+900x60"},
        silent=(1412, 1425, 1460),
    ),
    Case(
        "a rollout stops halfway, and goes on",
        "UdpSecurityGenerationsDiffer",
        {
            info("a", "linux", "one"): "1x5 stale",
            info("a", "linux", "two"): "_x5 1x60",
            info("b", "linux", "one"): "1x30 stale",
            info("b", "linux", "two"): "_x30 1x35",
            info("c", "windows", "three"): "1x66",
        },
        silent=(5, 19, 37),
        firing=(20, 30),
        labels={"os": "linux"},
        value="2",
    ),
    Case(
        "a rollout stops halfway, and every second scrape fails",
        "UdpSecurityGenerationsDiffer",
        {
            info("a", "linux", "two"): scraped(1, EVERY_SECOND),
            info("b", "linux", "one"): f"_ {scraped(1, EVERY_SECOND)}",
        },
        silent=(14,),
        firing=(16, 23, 29),
        labels={"os": "linux"},
        value="2",
        interval="30s",
    ),
    Case(
        "nodes get a policy one after the other",
        "UdpSecurityGenerationsDiffer",
        {
            info("a", "linux", "one"): "1x5 stale",
            info("a", "linux", "two"): "_x5 1x40",
            info("b", "linux", "one"): "1x12 stale",
            info("b", "linux", "two"): "_x12 1x33",
        },
        silent=(6, 13, 18, 22, 40),
    ),
    Case(
        "a policy without a name",
        "UdpSecurityGenerationsDiffer",
        {info("a", "linux", "one"): "1x30", info("b", "linux", ""): "1x30"},
        silent=(20, 30),
    ),
    Case(
        "the only node refuses a policy, which is taken back",
        "UdpSecurityRolloutStuck",
        {
            daemonset("updated"): "1x5 0x40 1x20",
            daemonset("desired"): "1x66",
            # What the agents themselves say does not change.
            enforced("a"): "1x66",
            daemonset("updated", "udp-security-windows"): "1x66",
            daemonset("desired", "udp-security-windows"): "1x66",
            daemonset("updated", "udp-security-windows", "another"): "0x66",
            daemonset("desired", "udp-security-windows", "another"): "1x66",
            daemonset("updated", "node-exporter"): "0x66",
            daemonset("desired", "node-exporter"): "1x66",
        },
        silent=(5, 15, 20, 47, 60),
        firing=(22, 46),
        labels={"job": "", "daemonset": "udp-security-linux"},
    ),
    Case(
        "a rollout stops at the third node",
        "UdpSecurityRolloutStuck",
        {daemonset("updated"): "5x5 0 1 2x40", daemonset("desired"): "5x48"},
        silent=(20, 22),
        firing=(24, 47),
        labels={"job": "", "daemonset": "udp-security-linux"},
    ),
    Case(
        "and kube-state-metrics is heard now and then",
        "UdpSecurityRolloutStuck",
        {
            daemonset("updated"): scraped(0, TWO_OF_FIVE),
            daemonset("desired"): scraped(1, TWO_OF_FIVE),
        },
        firing=(20, 24, 28),
        labels={"job": "", "daemonset": "udp-security-linux"},
        interval="30s",
    ),
    Case(
        "a rollout takes an hour, ten minutes a node",
        "UdpSecurityRolloutStuck",
        {daemonset("updated"): "6x5 0x9 1x9 2x9 3x9 4x9 5x9 6x20", daemonset("desired"): "6x87"},
        silent=(15, 20, 25, 30, 40, 50, 60, 64, 80),
    ),
    Case(
        "a node is off, and its pods are of today's policy",
        "UdpSecurityRolloutStuck",
        {
            daemonset("updated"): "3x60",
            daemonset("desired"): "3x60",
            "kube_daemonset_status_number_ready"
            '{namespace="udp-security",daemonset="udp-security-linux"}': "3x5 2x54",
        },
        silent=(30, 60),
    ),
]


@pytest.fixture(scope="module")
def rules(objects: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules as Prometheus gets them from the operator."""
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(objects["PrometheusRule"]["spec"]), encoding="utf-8")
    return file


def promtool(*arguments: str | Path) -> str:
    """What it says. Fails where it finds a fault."""
    done = subprocess.run(
        [tool("promtool"), *arguments], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_rules(rules: Path) -> None:
    assert "7 rules found" in promtool("check", "rules", rules)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alert(rules: Path, tmp_path: Path, case: Case) -> None:
    (alert,) = (
        rule
        for group in yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if rule.get("alert") == case.alert
    )
    labels = {name: text for name, text in {**LABELS, **case.labels}.items() if text}
    expected = {
        "exp_labels": {**labels, **alert["labels"]},
        "exp_annotations": {
            name: filled(text, labels, case.value) for name, text in alert["annotations"].items()
        },
    }
    checks = [
        {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": alerts}
        for minutes, alerts in ((case.silent, []), (case.firing, [expected]))
        for minute in minutes
    ]
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    test = {"interval": case.interval, "input_series": series, "alert_rule_test": checks}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": [test]}))
    promtool("test", "rules", file)


def filled(text: str, labels: Mapping[str, str], value: str) -> str:
    """An annotation as Prometheus fills it in."""
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels.get(found[1], ""), text)
    return re.sub(r"{{ \$value( \| humanize)? }}", value, text)


def test_every_alert_is_tried_and_explained(objects: dict[str, dict[str, Any]]) -> None:
    (group,) = objects["PrometheusRule"]["spec"]["groups"]
    alerts = {rule["alert"] for rule in group["rules"] if "alert" in rule}
    assert alerts == {case.alert for case in CASES if case.firing}
    assert alerts == set(re.findall(r"^\| `(UdpSecurity\w+)`", DOCS, re.MULTILINE))
