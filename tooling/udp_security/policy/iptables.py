# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the agent's iptables backend makes of a policy: the agent's own compiler, run by any awk."""

from __future__ import annotations

import shutil
import subprocess
from typing import Final, Literal

from udp_security.chart import chart_dir

Family = Literal[4, 6]

TOOLS: Final[dict[Family, str]] = {4: "iptables", 6: "ip6tables"}
_AWKS: Final = ("awk", "mawk", "gawk", "busybox")


class AwkMissingError(Exception):
    """There is no awk on PATH."""


class RefusedError(Exception):
    """The compiler refuses the policy; the text says why and what to do."""


def compile_policy(rules: str, family: Family) -> str:
    """``policy.rules`` as text for ``iptables-restore --noflush`` (6: ``ip6tables-restore``).

    It is what the agent loads into a node without rules of ours, but for the generation's number
    and the chains that say whose the rules are.
    """
    awk = next(filter(None, map(shutil.which, _AWKS)), None)
    if awk is None:
        raise AwkMissingError("this needs awk, which is not on PATH (install gawk or mawk)")
    done = subprocess.run(
        [awk, *(["awk"] if awk.endswith("busybox") else []),
         "-v", f"family={family}", "-v", "generation=0",
         "-f", str(chart_dir() / "files" / "linux" / "iptables.awk")],
        input=rules, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RefusedError(done.stderr.strip())
    return done.stdout
