# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Finding PowerShell."""

from __future__ import annotations

from pathlib import Path

import pytest

from udp_security.windows import pwsh


def program(path: Path) -> Path:
    """A program that prints its arguments and a variable, in place of PowerShell."""
    path.write_text('#!/bin/sh\necho "$* $FAKE $NO_COLOR"\ncat\nexit 3\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_named_program_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = program(tmp_path / "pwsh")
    other = program(tmp_path / "other")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PWSH", raising=False)
    assert pwsh.find() == str(on_path)
    monkeypatch.setenv("PWSH", str(other))
    assert pwsh.find() == str(other)


@pytest.mark.parametrize(
    ("named", "problem"),
    [("", "there is no pwsh on PATH"), ("/no/where", "$PWSH is '/no/where', which is no program")],
)
def test_none_is_found(named: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PWSH", named)
    with pytest.raises(pwsh.PwshMissingError) as caught:
        pwsh.find()
    assert str(caught.value) == (
        f"{problem}; install PowerShell (sudo snap install powershell --classic, or see "
        "https://aka.ms/install-powershell) or set $PWSH"
    )


def test_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWSH", str(program(tmp_path / "pwsh")))
    result = pwsh.run(["-File", "a b"], variables={"FAKE": "f"}, stdin="in")
    assert (result.returncode, result.stdout) == (
        3,
        "-NoProfile -NonInteractive -File a b f 1\nin",
    )
