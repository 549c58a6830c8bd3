# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the demo does: the reference's rules, then the chart's agent, then what befalls a node."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from udp_security import helm
from udp_security.chart import chart_dir
from udp_security.demo import windows
from udp_security.demo.probes import PROBES, SYSLOG_FROM_OUTSIDE, meaning
from udp_security.demo.rows import Row
from udp_security.lab import reference
from udp_security.lab.addresses import PODS
from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab
from udp_security.policy import Policy
from udp_security.values import validation
from udp_security.windows.pwsh import PwshMissingError

NODE = "node"
VALUES = Path(__file__).parent / "values.yaml"


@dataclass(frozen=True)
class Event:
    """Something that befalls a firewall, what came of it, and whether that is as it should be."""

    title: str
    outcome: str
    good: bool


@dataclass(frozen=True)
class Story:
    """All that the demo saw. ``windows`` is None without PowerShell; ``missing`` says so."""

    rows: list[Row]
    events: list[Event]
    windows: windows.WindowsStory | None
    missing: str = ""

    @property
    def good(self) -> bool:
        """Whether our firewall did what the policy means, everywhere."""
        return (
            all(row.ours == row.allowed for row in self.rows)
            and all(event.good for event in self.events)
            and (self.windows is None or self.windows.good)
        )


def tell(say: Callable[[str], None]) -> Story:
    """Runs the whole demo, announcing each step.

    Raises LabError, HelmMissingError, HelmRefusedError, PwshFailedError.
    """
    values = validation.load(chart_dir(), [str(VALUES)], [])
    policy = Policy.from_values(values.merged)
    say("rendering the chart with Helm")
    documents = _render(values.overrides)

    say("building a lab: two nodes, pods, flannel's and kube-proxy's rules, DNS, a stranger")
    with Lab() as lab:
        say("sending packets past the reference's iptables rules")
        reference.apply(lab, NODE)
        by_reference = [probe.send(lab) for probe in PROBES]
        lab.iptables_flush(NODE)
        unprotected = SYSLOG_FROM_OUTSIDE.send(lab)

    with Lab() as lab:
        say("starting the chart's agent on the node")
        pod = AgentPod(lab, NODE, documents)
        pod.start()
        pod.wait_ready()
        say("sending the same packets past udp-security")
        by_us = [probe.send(lab) for probe in PROBES]
        say("letting things happen to the node")
        events = list(_events(lab, pod, values.overrides, unprotected))
    rows = [
        Row(probe.title, *meaning(policy, probe), reference=theirs, ours=ours)
        for probe, theirs, ours in zip(PROBES, by_reference, by_us, strict=True)
    ]
    say("compiling the same policy for a Windows node, and asking a model of its firewall")
    try:
        return Story(rows, events, windows.tell(values.merged, documents))
    except PwshMissingError as error:
        return Story(rows, events, None, str(error))


def _render(values: dict[str, Any]) -> list[dict[str, Any]]:
    text = helm.template(chart_dir(), values, "udp-security", "udp-security")
    return [document for document in yaml.safe_load_all(text) if document]


def _events(lab: Lab, pod: AgentPod, values: dict[str, Any], unprotected: bool) -> Iterator[Event]:
    lab.iptables_flush(NODE)
    passed = SYSLOG_FROM_OUTSIDE.send(lab)
    yield Event(
        "iptables -F (K2s's network reset)",
        f"stranger {_fate(passed)} (reference: {_fate(unprotected)})",
        not passed,
    )

    lab.run(NODE, ["nft", "delete", "table", "inet", "udp_security"])
    began = time.monotonic()
    healed = _within(10, pod.ready)
    took = time.monotonic() - began
    yield Event(
        "somebody deletes our table",
        f"back in force after {took:.1f} s" if healed else "not back after 10 s",
        healed,
    )

    tighter = copy.deepcopy(values)
    tighter["rules"] = [rule for rule in values["rules"] if rule["name"] != "pods-to-pods"]
    with lab.stream("pod-a", PODS["pod-c"][1].v4, 5000) as stream:
        before = stream.send().replied
        successor = AgentPod(lab, NODE, _render(tighter))
        successor.start()
        successor.wait_ready()
        pod.stop()
        after = stream.send().delivered
    yield Event(
        "a rule is taken away while its flow runs",
        f"the flow's next packet {'passes' if after else 'is denied'}",
        before and not after,
    )

    successor.kill()
    passed = SYSLOG_FROM_OUTSIDE.send(lab)
    yield Event("the agent crashes", f"its rules stay, stranger {_fate(passed)}", not passed)

    successor.start()
    successor.wait_ready()
    successor.stop()
    left = lab.run(NODE, ["nft", "list", "tables"]).stdout
    yield Event(
        "uninstall",
        "our table remains" if "udp_security" in left else "nothing of ours is left",
        "udp_security" not in left,
    )


def _fate(passed: bool) -> str:
    return "passes" if passed else "denied"


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
