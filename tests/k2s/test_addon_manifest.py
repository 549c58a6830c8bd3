# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""addon.manifest.yaml: one that K2s refuses breaks every `k2s addons` command."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from tests.k2s.artifact_places import ADDON, ROOT
from tests.k2s.cli import Cli
from tests.k2s.manifest_rules import violations
from tests.k2s.tree import K2s

PATH = ADDON / "addon.manifest.yaml"
MANIFEST: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
(IMPLEMENTATION,) = MANIFEST["spec"]["implementations"]
COMMANDS = IMPLEMENTATION["commands"]


def test_it_breaks_no_rule() -> None:
    assert violations(MANIFEST) == []


def test_the_roots_is_the_same() -> None:
    """A symlink, which a checkout on Windows may turn into a file with the target's path."""
    root = ROOT / "addon.manifest.yaml"
    assert root.is_symlink()
    assert root.resolve() == PATH.resolve()


def test_its_name_and_scripts() -> None:
    assert MANIFEST["metadata"]["name"] == IMPLEMENTATION["name"] == "udp-security"
    for command in COMMANDS.values():
        assert (ADDON / command["script"]["subPath"]).is_file()


def test_the_flags() -> None:
    assert [flag["name"] for flag in COMMANDS["enable"]["cli"]["flags"]] == [
        "mode",
        "values",
        "timeout",
    ]
    assert "flags" not in COMMANDS["disable"].get("cli", {})
    for flag in COMMANDS["enable"]["cli"]["flags"]:
        assert re.fullmatch(r"[A-Z].*[^.]", flag["description"])


@pytest.mark.parametrize("name", ["enable", "disable"])
def test_the_examples_are_command_lines(k2s: K2s, cli: Cli, name: str) -> None:
    """Each is one that the flags allow."""
    examples = COMMANDS[name]["cli"]["examples"]
    assert examples
    known = {flag["name"]: flag for flag in COMMANDS[name]["cli"].get("flags", [])}
    for example in examples:
        assert example["comment"]
        words = shlex.split(example["cmd"], posix=False)
        assert words[:4] == ["k2s", "addons", name, "udp-security"]
        flags: dict[str, object] = {}
        for flag, value in zip(words[4::2], words[5::2], strict=True):
            of = type(known[flag.removeprefix("--")]["default"])
            flags[flag.removeprefix("--")] = of(value)
        cli.options(name, flags)


def test_it_names_its_images() -> None:
    """So that an export takes them along."""
    offline = IMPLEMENTATION["offline_usage"]
    assert offline["linux"]["additionalImages"] == ["docker.io/flannel/flannel:0.28.9"]
    assert offline["windows"]["additionalImages"] == ["shsk2s.azurecr.io/pause-win:v1.8.0"]
    assert offline["windows"]["curl"] == offline["linux"]["deb"] == []


def test_the_readme_has_k2s_sections() -> None:
    text = (ADDON / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    wanted = ["introduction", "getting started", "backup and restore", "further reading"]
    assert [s.lower() for s in found if s.lower() in wanted] == wanted
    for flag in COMMANDS["enable"]["cli"]["flags"]:
        assert f"--{flag['name']}" in text


def _flag(document: dict[str, Any], name: str) -> Any:
    (implementation,) = document["spec"]["implementations"]
    flags = implementation["commands"]["enable"]["cli"]["flags"]
    return next(flag for flag in flags if flag["name"] == name)


def _implementation(document: dict[str, Any]) -> Any:
    return document["spec"]["implementations"][0]


def _enable(document: dict[str, Any]) -> Any:
    return _implementation(document)["commands"]["enable"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(apiVersion="v2"), "apiVersion"),
        (lambda d: d.update(kind="Addon"), "kind"),
        (lambda d: d["metadata"].pop("description"), "description"),
        (lambda d: d["spec"].update(implementations=[]), "implementation"),
        (lambda d: _implementation(d).update(name="other"), "name"),
        (lambda d: _implementation(d).update(version=0.1), "version"),
        (lambda d: _implementation(d)["commands"].pop("disable"), "disable"),
        (lambda d: _implementation(d)["offline_usage"]["linux"].pop("deb"), "deb"),
        (lambda d: _implementation(d)["offline_usage"].pop("windows"), "windows"),
        (lambda d: _enable(d)["script"].pop("subPath"), "subPath"),
        (lambda d: _enable(d)["script"]["parameterMappings"].pop(), "mapped"),
        (lambda d: _enable(d)["cli"]["flags"].pop(), "no flag"),
        (lambda d: _flag(d, "mode").update(default="warn"), "set"),
        (lambda d: _flag(d, "mode").update(default=True), "switch it off"),
        (lambda d: _flag(d, "mode").pop("default"), "default"),
        (lambda d: _flag(d, "mode").update(shorthand="o"), "shorthand"),
        (lambda d: _flag(d, "mode")["constraints"].update(kind="enum"), "kind"),
        (lambda d: _flag(d, "timeout").update(default=5), "range"),
        (lambda d: _flag(d, "timeout")["constraints"]["range"].pop("max"), "range"),
        (lambda d: _flag(d, "values").update(name="output"), "K2s's own"),
    ],
)
def test_the_rules_bite(change: Callable[[dict[str, Any]], object], said: str) -> None:
    document = copy.deepcopy(MANIFEST)
    change(document)
    assert any(said in problem for problem in violations(document)), violations(document)
