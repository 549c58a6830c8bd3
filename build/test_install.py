# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The installer's command: its exit code, and that Ctrl-C shows no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

INSTALL = Path(__file__).parent / "install"
COMMAND = """\
import runpy, sys, types
targets = types.ModuleType("targets")
exec(sys.argv.pop(2), targets.__dict__)
sys.modules["targets"] = targets
folder = sys.argv.pop(1)
runpy.run_path(folder, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("return 0", 0, ""),
        ("return 1", 1, ""),
        ("raise KeyboardInterrupt", 130, "\n"),
    ],
)
def test_exit_codes(body: str, code: int, said: str) -> None:
    targets = f"def install(target):\n  assert target == 'demo'\n  {body}"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, INSTALL, targets, "demo"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)
