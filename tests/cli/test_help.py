# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Every command's help is a page of a manual, and its examples are commands that there are."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from tests.k2s.artifact_places import lacking, tool

from udp_security.cli import main
from udp_security.cli.main import cli

from .conftest import Run


def commands(
    group: click.Command = cli, *path: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with the words that lead there, the program itself first."""
    yield path, group
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, *path, name)


ALL = [pytest.param(path, id=" ".join(path) or "(none)") for path, _ in commands()]


def examples(text: str) -> list[str]:
    """The lines below "Examples:", those that go on in the next line put together."""
    block = re.search(r"^ *Examples:\n((?: +\S.*\n)+)", text, re.MULTILINE)
    return block[1].replace("\\\n", " ").splitlines() if block else []


def ours(line: str, program: str = "udp-security") -> list[list[str]]:
    """The words behind the program's name, wherever it is called in a shell's line."""
    parts = [shlex.split(part) for part in re.split(r"\||\d?>.*", line)]
    length = len(program.split())
    return [part[length:] for part in parts if part[:length] == program.split()]


@pytest.mark.parametrize("path", ALL)
def test_help_is_a_page_of_a_manual(run: Run, path: tuple[str, ...]) -> None:
    """What it does, options, examples, exit status, in this order and on any terminal."""
    done = run(*path, "--help")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(
        rf"Usage: {' '.join(('udp-security', *path))} .*\n\n  [A-Z].*\nOptions:\n.*\n *Examples:\n"
        r".*\n *Exit status: 0 \w",
        done.stdout,
        re.DOTALL,
    )


@pytest.mark.parametrize("path", ALL)
def test_examples_are_commands_that_there_are(run: Run, path: tuple[str, ...]) -> None:
    lines = examples(run(*path, "--help").stdout)
    known = dict(commands())
    names = set()
    for line in lines:
        assert ours(line), line
        for words in ours(line):
            names.add(words[0])
            if words[0] != "COMMAND":
                command = known[tuple(words[:1])]
                command.make_parser(click.Context(command)).parse_args(words[1:])
    assert names >= set(path[:1]) and names


def test_an_example_with_a_wrong_option_is_found() -> None:
    (words,) = ours("  cat x | udp-security status --nosuch > file")
    command = cli.commands[words[0]]
    with pytest.raises(click.NoSuchOption):
        command.make_parser(click.Context(command)).parse_args(words[1:])


@pytest.mark.parametrize("path", ALL)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    command = dict(commands())[path]
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


FLOW = ["--direction", "ingress", "--from", "10.0.0.7", "--to", "10.0.0.8", "--port", "5"]


@pytest.mark.parametrize(
    "words",
    [
        ["validate"],
        ["validate", "--set", "mode=no"],
        ["render", "--set", "mode=no"],
        ["explain", *FLOW],
    ],
)
def test_no_colours_in_a_pipe(run: Run, words: list[str]) -> None:
    """Commands that work on a cluster are held to golden files."""
    done = run(*words)
    assert done.output.strip()
    assert "\x1b" not in done.output


def test_no_color_is_honoured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://no-color.org: no colours, also on a terminal. Bold is none."""
    colour = re.compile(r"\x1b\[(?:\d+;)*[34]\d")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert colour.search(run("explain", *FLOW).stdout)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(run("explain", *FLOW).stdout)


PLUGIN = Path(sys.executable).parent / "kubectl-udp_security"


@pytest.fixture(params=["kubectl", "itself"])
def plugin(request: pytest.FixtureRequest) -> Callable[..., str]:
    """What `kubectl udp-security WORD...` prints: by the real kubectl, and as it starts plugins."""
    if not PLUGIN.exists():
        lacking(f"{PLUGIN.name} is not installed")
    words = [str(PLUGIN)] if request.param == "itself" else [tool("kubectl"), "udp-security"]
    path = f"{PLUGIN.parent}{os.pathsep}{os.environ['PATH']}"

    def call(*more: str) -> str:
        done = subprocess.run(
            [*words, *more],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PATH": path},
        )
        return done.stdout

    return call


def test_as_a_plugin_of_kubectl(plugin: Callable[..., str]) -> None:
    text = plugin("--help")
    assert text.startswith("Usage: kubectl udp-security [OPTIONS]")
    assert "_COMPLETE" not in text
    text = plugin("status", "-h")
    assert text.startswith("Usage: kubectl udp-security status [OPTIONS]")
    lines = examples(text)
    assert lines and all(ours(line, "kubectl udp-security")[0][0] == "status" for line in lines)


def test_help_of_the_plugin_fits_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = {command: command.epilog for _, command in commands()}
    try:
        for path, _ in commands():
            monkeypatch.setattr(sys, "argv", [str(PLUGIN), *path, "--help"])
            with pytest.raises(SystemExit):
                main.main()
            text = capsys.readouterr().out
            assert max(map(len, text.splitlines())) <= 80
            assert all(ours(line, "kubectl udp-security") for line in examples(text))
    finally:
        for command, epilog in saved.items():
            command.epilog = epilog
