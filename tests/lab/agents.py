# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the agent's tests are written in: a node with agents, and what its kernel and they say.

Pods are made from the rendered chart; where a test needs a pod that the chart would not make (an
image without nft, a broken ruleset, a missing capability), it changes the documents.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import jsonschema_rs
from tests.lab.table import render

from udp_security.chart import chart_dir
from udp_security.lab import sandbox
from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

T = TypeVar("T")
Documents = list[dict[str, Any]]

TABLE: Final = ("inet", "udp_security")
OPEN: Final = 7000  # what both small policies allow from outside
OTHER: Final = 7001  # what every policy denies
POLICY: Final[Mapping[str, Any]] = {
    "rules": [{"name": "open", "direction": "ingress", "ports": [OPEN]}]
}
ANOTHER_POLICY: Final[Mapping[str, Any]] = {
    "rules": [{"name": "other", "direction": "ingress", "ports": [OPEN, 7002]}]
}
# The environment of a pod of another Helm release.
OTHER_RELEASE: Final = {"UDP_SECURITY_RELEASE": "other/one"}
# Loading it takes a noticeable time. In a plain user's namespace the kernel takes no large one.
_WARDS: Final = 30 if os.geteuid() or sandbox.rootless() else 300
LARGE_POLICY: Final[Mapping[str, Any]] = {
    "rules": [
        {
            "name": f"ward-{number}",
            "direction": "ingress",
            "ports": [f"{10000 + 10 * number}-{10015 + 10 * number}"],
            "from": [f"10.{number % 250}.{i}.0/24" for i in range(10)],
        }
        for number in range(_WARDS)
    ]
}

_MARK: Final = re.compile(r"0x[0-9a-f]{8}")
LOG_LINE: Final = re.compile(
    r"time=(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) level=(?P<level>info|warn|error)"
    r' event=(?P<event>[a-z-]+) node="(?P<node>[^"]*)" policy=(?P<policy>[0-9a-f]{0,12})'
    r' msg="(?P<msg>[^"]+)"'
)
_STATUS_SCHEMA: Final = jsonschema_rs.validator_for(
    json.loads((chart_dir() / "files" / "status.schema.json").read_text(encoding="utf-8"))
)


def documents(
    values: Mapping[str, Any] = POLICY,
    *,
    poll: float = 0.2,
    environment: Mapping[str, str | None] | None = None,
) -> Documents:
    """The rendered chart to change at will.

    The agent looks at the kernel every ``poll`` seconds: less than the chart's values admit, so
    that tests need not wait. ``environment`` replaces variables; None takes one away.
    """
    made = [copy.deepcopy(dict(document)) for document in render(values)]
    variables = {"UDP_SECURITY_POLL_SECONDS": str(poll), **(environment or {})}
    container = agent_container(made)
    container["env"] = [
        *(entry for entry in container["env"] if entry["name"] not in variables),
        *({"name": name, "value": text} for name, text in variables.items() if text is not None),
    ]
    return made


def agent_container(made: Documents) -> dict[str, Any]:
    """The agent's container in the documents."""
    container: dict[str, Any] = agent_pod_spec(made)["containers"][0]
    return container


def agent_pod_spec(made: Documents) -> dict[str, Any]:
    """The agent's pod in the documents."""
    spec = _of_linux(made, "DaemonSet")["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def config_data(made: Documents) -> dict[str, str]:
    """The files of the agent's ConfigMap in the documents."""
    data = _of_linux(made, "ConfigMap")["data"]
    assert isinstance(data, dict)
    return data


def _of_linux(made: Documents, kind: str) -> dict[str, Any]:
    (found,) = (
        document
        for document in made
        if document["kind"] == kind
        and document["metadata"]["labels"]["app.kubernetes.io/component"] == "linux"
    )
    return found


def with_files(
    values: Mapping[str, Any],
    change: Callable[[dict[str, str]], object],
    *,
    poll: float = 0.2,
) -> Documents:
    """The chart's documents after a change of the ConfigMap's files, whose hash is right all the
    same. ``change`` gets the files to change in place."""
    made = documents(values, poll=poll)
    data = config_data(made)
    change(data)
    bundle = "".join(data[name] for name in sorted(data))
    digest = hashlib.sha256(bundle.encode()).hexdigest()
    (variable,) = (
        entry
        for entry in agent_container(made)["env"]
        if entry["name"] == "UDP_SECURITY_POLICY_SHA256"
    )
    variable["value"] = digest
    return made


def replace(data: dict[str, str], name: str, old: str, new: str) -> None:
    """Change the only place of a file that has this text."""
    assert data[name].count(old) == 1, f"{name} has not one '{old}'"
    data[name] = data[name].replace(old, new)


def hurry(data: dict[str, str]) -> None:
    """Let the agent hardly rest after a heal, and `check` not wait before it looks once more."""
    replace(data, "watch.sh", "_most=99 ;;", "_most=1 ;;")
    replace(data, "watch.sh", "_most=1000\n", "_most=1\n")
    replace(data, "status.sh", "{ sleep 0.5; in_force; }", "{ sleep 0.05; in_force; }")


def without_monitor(data: dict[str, str]) -> None:
    """Let nft's monitor end at once: less address space than a program needs."""
    replace(data, "watch.sh", "MONITOR_KILOBYTES=131072", "MONITOR_KILOBYTES=64")


def with_ruleset(values: Mapping[str, Any], change: Callable[[str], str]) -> Documents:
    """The chart's documents with another ruleset."""
    return with_files(values, lambda data: data.update({"policy.nft": change(data["policy.nft"])}))


class Node:
    """The lab's first node. At the end its agents are killed; other tables must be as before."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._pods: list[AgentPod] = []
        self._foreign = self.foreign()

    def pod(self, made: Documents | None = None) -> AgentPod:
        """A pod that is not started yet; POLICY's by default."""
        pod = AgentPod(self.lab, "node", documents() if made is None else made)
        self._pods.append(pod)
        return pod

    def start(self, made: Documents | None = None) -> AgentPod:
        """A pod whose policy is in force."""
        pod = self.pod(made)
        pod.start()
        pod.wait_ready()
        return pod

    def nft(self, *words: str, check: bool = True) -> str:
        """What nft prints on the node."""
        return self.lab.run("node", ["nft", *words], check=check).stdout

    def load(self, text: str) -> None:
        """Load text as one transaction."""
        self.lab.run("node", ["nft", "-f", "-"], stdin=text)

    def table(self) -> str:
        """Our table without counters' values; empty when there is none."""
        return self.nft("-s", "list", "table", *TABLE, check=False)

    def owners(self) -> list[str]:
        """The uids of the pods that own the node."""
        return re.findall(r"^\tchain owner-(\S+) \{", self.table(), re.MULTILINE)

    def generations(self) -> set[int]:
        """Numbers of the generations that our table holds anything of."""
        return {int(number) for number in re.findall(r"(?<![\w.-])g(\d+)\.", self.table())}

    def policy(self) -> list[str]:
        """The objects of our table, without what two loads of one policy may differ in: their
        order, the generation and its marks, what the kernel remembers, the owner and who waits."""
        text = re.sub(r"(?<![\w.-])g\d+\.", "g.", self.table())
        text = re.sub(r"(?m)^(\t\t.*ct mark.*)$", lambda line: _MARK.sub("0x", line[0]), text)
        text = re.sub(r"(?ms)(^\tset (?:cache|denied)\..*?)\t\telements = .*?\}\n", r"\1", text)
        objects = re.findall(r"^\t\S.*?^\t\}$|^\t\w+ .*(?<!\{)$", text, re.MULTILINE | re.DOTALL)
        return sorted(
            one for one in objects if not re.match(r"\tchain (owner-|standby-|g\.reserved)", one)
        )

    def foreign(self) -> str:
        """Everything in the kernel's ruleset that is not ours, without counters' values."""
        tables = re.split(r"^(?=table )", self.nft("-s", "list", "ruleset"), flags=re.MULTILINE)
        return "".join(text for text in tables if not re.match(r"table \w+ udp_security ", text))

    def forget_others(self) -> None:
        """What others have on the node is right as it is now."""
        self._foreign = self.foreign()

    def handle(self, chain: str, rule: str) -> str:
        """The handle of the only rule of a chain that contains this text."""
        listing = self.nft("-a", "list", "chain", *TABLE, chain)
        (line,) = (line for line in listing.splitlines() if rule in line)
        return line.rpartition(" ")[2]

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logs = [pod.logs() for pod in self._pods]
        if error is not None:
            print(*logs, sep="\n")
        for pod in self._pods:
            pod.delete()
        for family in ("inet", "bridge"):
            self.nft("delete", "table", family, TABLE[1], check=False)
        if error is None:
            assert self.foreign() == self._foreign
            lines = "".join(logs).splitlines()
            assert [line for line in lines if not LOG_LINE.fullmatch(line)] == []


def until(condition: Callable[[], T], timeout: float = 15.0) -> T:
    """Wait for a condition and return its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "this did not come true in time"
        time.sleep(0.02)
    return value


def said(pod: AgentPod, event: str) -> list[str]:
    """The messages of one event in a pod's log."""
    lines = [LOG_LINE.fullmatch(line) for line in pod.logs().splitlines()]
    return [line["msg"] for line in lines if line and line["event"] == event]


def check(pod: AgentPod) -> tuple[int, str]:
    """Exit code and output of `check`."""
    done = pod.exec("check")
    assert done.stderr == ""
    return done.returncode, done.stdout


def status(pod: AgentPod) -> dict[str, Any]:
    """What `status` prints, valid by its schema."""
    done = pod.exec("status")
    assert (done.returncode, done.stderr) == (0, "")
    result: dict[str, Any] = json.loads(done.stdout)
    _STATUS_SCHEMA.validate(result)
    return result


def state(pod: AgentPod, lab: Lab) -> Path:
    """Where the host has the pod's /run/udp-security."""
    return lab.directory / f"pod-{pod.uid}" / "volumes" / "state"


def heals(pod: AgentPod, lab: Lab) -> int:
    """How often the pod says to have healed the kernel; cheaper than asking for its status."""
    file = state(pod, lab) / "heals"
    return int(file.read_text(encoding="ascii") or 0) if file.exists() else 0
