# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the chart renders, word for word, so that a change of it is seen and meant.

    UPDATE_GOLDEN=1 make test ARGS=tests/chart/test_golden.py

writes the files in golden/ anew; then read the diff.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import golden

from .conftest import Load, Render
from .support import CHART, Helm

GOLDEN = Path(__file__).parent / "golden"


def compare(name: str, text: str) -> None:
    # Helm indents empty lines too.
    golden.compare(GOLDEN / name, re.sub(r" +$", "", text, flags=re.MULTILINE))


def test_default_manifests(helm: Helm) -> None:
    # The agents are long, and files of their own.
    files = [*agent_files("linux"), *agent_files("windows")]
    names = "|".join(map(re.escape, files))
    text, agents = re.subn(rf"\n  (?:{names}): \|(?:\n    .*|\n *(?=\n))+", "", helm.template())
    assert agents == len(files)
    # The hashes cover them as well.
    text = re.sub(r"\b[0-9a-f]{64}\b", "left-out", text)
    # K2s knows Windows' image by a comment without a space, and rules are as long as they are.
    compare("default.yaml", f"# yamllint disable rule:comments rule:line-length\n{text}")


@pytest.mark.parametrize(
    ("os", "policy"),
    [
        ("linux", {"policy.nft", "policy.rules", "policy.bridge", "policy.facts"}),
        ("windows", {"policy.json"}),
    ],
)
def test_the_agent_is_the_files(render: Render, os: str, policy: set[str]) -> None:
    files = render(os=os).files
    wanted = agent_files(os)
    if os == "linux":
        # Without comments, but for the head that says whose it is: a ConfigMap holds 1 MiB only.
        for name, text in wanted.items():
            head, _, code = text.partition("\n#\n")
            kept = (line for line in code.splitlines() if not re.match(r"\s*#( |$)", line))
            wanted[name] = "\n".join([head, *kept, ""])
    assert {name: text for name, text in files.items() if name not in policy} == wanted
    assert files.keys() >= policy


def agent_files(os: str) -> dict[str, str]:
    """An agent's files in the chart."""
    folder = CHART / "files" / os
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def test_ruleset_of_a_rich_policy(render: Render, load: Load) -> None:
    ruleset = render(rich()).ruleset
    load(ruleset)
    compare("rich.nft", ruleset)


def test_a_rich_policy_for_iptables(render: Render) -> None:
    compare("rich.rules", render(rich()).files["policy.rules"])


def test_a_rich_policy_for_windows(render: Render) -> None:
    compare("rich.json", render(rich(), os="windows").files["policy.json"])


def rich() -> dict[str, Any]:
    """A policy with a bit of everything."""
    text = (GOLDEN / "rich.values.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return loaded
