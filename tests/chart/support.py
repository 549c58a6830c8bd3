# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the chart's tests share: running Helm, reading what it says, and merging values."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from udp_security.chart import chart_dir
from udp_security.helm import as_input
from udp_security.values.merge import merge

CHART = chart_dir()
NAMESPACE = "udp-security"
Values = Mapping[str, Any]
SYSTEMS = ("linux", "windows")


class Refused(Exception):
    """Helm refused the values; the message is what it wrote to standard error."""


class Helm:
    """One Helm binary. A Helm 3 that was built from its module claims to know no newer Kubernetes
    than 1.20, so every call names a version.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def template(
        self,
        values: Values | None = None,
        *,
        chart: Path = CHART,
        release: str = "udp-security",
        namespace: str = NAMESPACE,
        options: Sequence[str] = (),
    ) -> str:
        """The manifests for `values` on top of the chart's. Raises Refused."""
        command = ["template", release, str(chart), "--kube-version", "1.36.0", *options]
        return self._run([*command, "--namespace", namespace, "--values", "-"], values)

    def notes(self, values: Values) -> str:
        """What `helm install` says at the end, on any machine: Helm 4 needs no cluster for it."""
        command = ["install", "udp-security", str(CHART), "--dry-run=client", "--values", "-"]
        return self._run([*command, "--namespace", NAMESPACE], values).partition("\nNOTES:\n")[2]

    def _run(self, arguments: Sequence[str], values: Values | None) -> str:
        done = subprocess.run(
            [self.path, *arguments],
            check=False,
            input=as_input(values or {}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise Refused(done.stderr)
        return done.stdout


class Rendered:
    """The two objects that the chart makes for the nodes of one operating system."""

    def __init__(self, text: str, os: str = "linux") -> None:
        documents = [doc for doc in yaml.load_all(text, yaml.CSafeLoader) if doc]
        ours = {doc["kind"]: doc for doc in documents if _component(doc) == os}
        self.config_map: dict[str, Any] = ours.pop("ConfigMap")
        self.daemon_set: dict[str, Any] = ours.pop("DaemonSet")
        self.others = [*ours.values(), *(d for d in documents if _component(d) not in SYSTEMS)]
        self.files: dict[str, str] = self.config_map["data"]

    @property
    def ruleset(self) -> str:
        """What nft loads on Linux nodes."""
        return self.files["policy.nft"]

    @property
    def facts(self) -> str:
        """What the Linux agent must know of the ruleset."""
        return self.files["policy.facts"]

    @property
    def policy(self) -> Any:
        """The policy that the Windows agent gets."""
        return json.loads(self.files["policy.json"])

    @property
    def pod(self) -> dict[str, Any]:
        """The pod template's spec."""
        spec: dict[str, Any] = self.daemon_set["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        """The only container."""
        (container,) = self.pod["containers"]
        found: dict[str, Any] = container
        return found

    @property
    def environment(self) -> dict[str, str]:
        """The container's plain variables."""
        return {item["name"]: item["value"] for item in self.container["env"] if "value" in item}


def _component(document: Values) -> str | None:
    found: str | None = document["metadata"]["labels"].get("app.kubernetes.io/component")
    return found


def printing_chart(folder: Path, template: str) -> Path:
    """A chart with our templates' definitions and files and this one template: it can check many
    policies in one run of Helm.
    """
    shutil.copytree(CHART / "files", folder / "files")
    shutil.copy(CHART / "Chart.yaml", folder)
    (folder / "templates").mkdir()
    for definitions in (CHART / "templates").glob("_*.tpl"):
        shutil.copy(definitions, folder / "templates")
    (folder / "templates" / "print.yaml").write_text(template, encoding="utf-8")
    return folder


def rule(name: str = "a", **keys: Any) -> dict[str, Any]:
    """A rule; `from_` stands for `from`, which is a keyword."""
    given = {"name": name, "direction": "ingress", "ports": [1000], **keys}
    if "from_" in given:
        given["from"] = given.pop("from_")
    return given


def merged(values: Values) -> dict[str, Any]:
    """`values` on top of the chart's defaults, as the templates see them."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    return merge(yaml.load(text, yaml.CSafeLoader), dict(values))


def refusals(refused: Refused) -> list[str]:
    """The lines of a policy that the templates refuse, without Helm's frame around them."""
    _, _, lines = str(refused).partition("the policy is refused:\n")
    return [line.removeprefix("  ") for line in lines.split("\n\n")[0].splitlines()]


def violations(refused: Refused) -> list[tuple[str, str]]:
    """(JSON pointer, reason) of each value that the schema refuses."""
    found = re.findall(r"^ *- at '(.*?)': (.*)$", str(refused), flags=re.MULTILINE)
    # Before Helm 3.18.5: `- rules.0.ports: reason`, `- (root): reason`.
    for place, reason in re.findall(r"^- ([\w.()]+): (.*)$", str(refused), flags=re.MULTILINE):
        pointer = "" if place == "(root)" else "/" + place.replace(".", "/")
        found.append((pointer, reason))
    return [(pointer, reason) for pointer, reason in found if reason != "validation failed"]
