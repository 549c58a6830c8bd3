# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the chart renders, word for word, so that a change of it is seen and meant.

    UPDATE_GOLDEN=1 make test ARGS=tests/chart/test_golden.py

writes the files in golden/ anew; then read the diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from .conftest import Load, Render
from .support import CHART, Helm

GOLDEN = Path(__file__).parent / "golden"
HEADER = """\
# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""


def compare(name: str, text: str) -> None:
    """Holds a text to a golden file, or writes that file when asked to."""
    file = GOLDEN / name
    # Helm indents empty lines too.
    text = HEADER + re.sub(r" +$", "", text, flags=re.MULTILINE)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text, f"{name} changed: see {Path(__file__).name}"


def test_default_manifests(helm: Helm) -> None:
    text = helm.template()
    # The agent is long, and a file of its own.
    agent, rest = re.subn(
        r"(?<=\n  agent\.sh: \|\n)(?:    .*\n| *\n)+", "    # left out here\n", text
    )
    assert rest == 1
    # The hashes cover it as well.
    compare("default.yaml", re.sub(r"\b[0-9a-f]{64}\b", "left-out", agent))


def test_the_agent_is_the_file(render: Render) -> None:
    agent = (CHART / "files" / "linux" / "agent.sh").read_text(encoding="utf-8")
    assert render().config_map["data"]["agent.sh"] == agent


def test_ruleset_of_a_rich_policy(render: Render, load: Load) -> None:
    text = (GOLDEN / "rich.values.yaml").read_text(encoding="utf-8")
    ruleset = render(yaml.load(text, yaml.CSafeLoader)).ruleset
    load(ruleset)
    compare("rich.nft", ruleset)
