# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The command as a whole: help, versions, exit codes, and that no error shows a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from udp_security.cli import main, validate

from .conftest import Run

COMMANDS = ["validate", "render", "explain"]


def module(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(main.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "udp_security", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": package} | environment,
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_terminal_and_has_examples(run: Run, command: str) -> None:
    result = run(*filter(None, [command]), "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"udp-security {command}".strip() in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_lists_the_commands_and_completion(run: Run) -> None:
    result = run("-h")
    for word in (*COMMANDS, "_UDP_SECURITY_COMPLETE=bash_source"):
        assert word in result.stdout


def test_help_says_what_only_helm_can_tell(run: Run) -> None:
    text = " ".join(run("validate", "--help").stdout.split())
    assert "Only Helm (`udp-security render`) can tell whether a huge policy still fits" in text


def test_version(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("udp-security ")


def test_as_a_module() -> None:
    result = module("validate")
    assert (result.returncode, result.stderr) == (0, "")
    assert "valid (0 rules, mode enforce)" in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = module(_UDP_SECURITY_COMPLETE=f"{shell}_source")
    assert result.returncode == 0
    assert "_UDP_SECURITY_COMPLETE=" in result.stdout


def test_completion_of_commands() -> None:
    result = module(
        _UDP_SECURITY_COMPLETE="bash_complete", COMP_WORDS="udp-security va", COMP_CWORD="1"
    )
    assert result.stdout == "plain,validate\n"


def test_wrong_usage_exits_with_2(run: Run) -> None:
    for arguments in (["nosuch"], ["validate", "--nosuch"], ["validate", "-o", "xml"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_a_fault_of_the_program_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("windows")

    monkeypatch.setattr(validate, "check", broken)
    for arguments, shown in ((["validate"], False), (["validate", "--debug"], True)):
        monkeypatch.setattr(sys, "argv", ["udp-security", *arguments])
        with pytest.raises(SystemExit) as caught:
            main.main()
        assert caught.value.code == 70
        stderr = capsys.readouterr().err
        assert "a fault in udp-security itself: KeyError: 'windows'" in stderr
        assert ("Traceback" in stderr) is shown


INTERRUPTED_IMPORT = """\
import os, signal, sys
from udp_security.__main__ import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
main()
"""


@pytest.mark.parametrize("imported", ["udp_security.cli.main", "click", "yaml"])
def test_ctrl_c_while_still_importing_shows_nothing(imported: str) -> None:
    package = str(Path(main.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, imported],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": package},
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "\n")


def test_ctrl_c_in_a_command_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(validate, "check", interrupted)
    monkeypatch.setattr(sys, "argv", ["udp-security", "validate"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 130
    assert tuple(capsys.readouterr()) == ("", "\n")


def written_to(file: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(main.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "udp_security", *arguments],
        check=False,
        stdout=file,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": package},
    )


@pytest.mark.parametrize("command", ["--help", "explain --help", "validate", "validate -o json"])
def test_a_closed_pipe_is_no_error(command: str) -> None:
    """But no 0, since not all was written, nor a command's own 1."""
    reader, writer = os.pipe()
    os.close(reader)
    result = written_to(writer, *command.split())
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["--help", "validate"])
def test_output_that_finds_no_room(command: str) -> None:
    with open("/dev/full", "wb") as full:
        result = written_to(full.fileno(), command)
    assert result.returncode == 2
    assert result.stderr == "Error: writing fails: No space left on device\n"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_an_output_that_cannot_show_all_characters(encoding: str) -> None:
    """They are escaped as JSON does it."""
    package = str(Path(main.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-m", "udp_security", "validate", "-f", "é😀.yaml", "-o", "json"],
        check=False,
        capture_output=True,
        encoding=encoding,
        env=os.environ | {"PYTHONPATH": package, "PYTHONIOENCODING": encoding},
    )
    assert (result.returncode, result.stderr) == (2, "")
    assert json.loads(result.stdout)["errors"][0]["file"] == "é😀.yaml"


def test_without_the_chart(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("udp_security.chart._INSTALLED", tmp_path / "a")
    monkeypatch.setattr("udp_security.chart._REPOSITORY", tmp_path / "b")
    result = run("validate")
    assert result.exit_code == 2
    assert "the chart is missing" in result.stderr
    assert "install the package again" in result.stderr
