# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the command line shows of Windows: `render --ruleset windows`, and the demo's last part."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import MagicMock

import pytest
import yaml
from tests.cli.conftest import Run
from tests.windows.policies import egress, ingress, policy_json, rules_only
from tests.windows.windows import FakeWindows

from udp_security import helm as helm_program
from udp_security.chart import chart_dir
from udp_security.demo import story
from udp_security.demo import windows as demo_windows
from udp_security.demo.probes import family
from udp_security.demo.windows import FLOWS, WindowsStory
from udp_security.policy import Flow
from udp_security.values import validation
from udp_security.windows.commands import as_commands
from udp_security.windows.compiler import Compiler
from udp_security.windows.firewall import FirewallRule
from udp_security.windows.pwsh import PwshFailedError, PwshMissingError

RENDER: Final = ("render", "--ruleset", "windows")
FAILED: Final = "the Windows compiler failed: "
MISSING: Final = "$PWSH is '/no/where', which is no program; install PowerShell ("

CASES: Final = {
    "demo": (story.VALUES.read_text(encoding="utf-8"), "'172.19.1.0-172.19.1.255'"),
    "scope host": (
        "windows: {scope: host}\n"
        "rules: [{name: a, direction: egress, ports: [600], to: [10.9.0.0/16]}]",
        "'0.0.0.0-10.8.255.255', '10.10.0.0-",
    ),
    "IPv6": (
        "windows: {scope: host}\n"
        "rules: [{name: a, direction: ingress, ports: [514], from: ['2001:db8::/32']}]",
        "'2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'",
    ),
    "from and to": (
        "rules: [{name: a, direction: ingress, ports: [514, 5000-5100],"
        " from: [172.20.0.0/16], to: [172.19.1.1]}]",
        "-LocalAddress '172.19.1.1' `\n    -RemoteAddress '172.20.0.0-172.20.255.255'",
    ),
}


@pytest.fixture(scope="module")
def compiler(pwsh: str) -> Iterator[Compiler]:
    with Compiler() as running:
        yield running


@pytest.fixture(scope="module")
def told(pwsh: str, helm: str) -> WindowsStory:
    """What the demo tells of Windows."""
    values = validation.load(chart_dir(), [str(story.VALUES)], [])
    text = helm_program.template(chart_dir(), values.overrides, "udp-security", "udp-security")
    documents = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return demo_windows.tell(values.merged, [document for document in documents if document])


def use_as_pwsh(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Has a shell script run in place of PowerShell."""
    program = folder / "fake-pwsh"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PWSH", str(program))


def unordered(rules: Iterable[FirewallRule]) -> list[FirewallRule]:
    """Rules and their lists in an order of our own: Windows does not keep the given one."""
    sorted_within = (
        replace(
            rule,
            local_ports=tuple(sorted(rule.local_ports)),
            remote_ports=tuple(sorted(rule.remote_ports)),
            local_addresses=tuple(sorted(rule.local_addresses)),
            remote_addresses=tuple(sorted(rule.remote_addresses)),
        )
        for rule in rules
    )
    return sorted(sorted_within, key=repr)


# render --ruleset windows


@pytest.mark.usefixtures("helm")
@pytest.mark.parametrize(("values", "part"), CASES.values(), ids=CASES.keys())
def test_the_commands_make_the_rules_of_the_compiler(
    run: Run, windows: FakeWindows, compiler: Compiler, values: str, part: str
) -> None:
    Path("values.yaml").write_text(values, encoding="utf-8")
    rendered = run(*RENDER, "-f", "values.yaml")
    assert rendered.exit_code == 0
    assert part in rendered.stdout
    Path("rules.ps1").write_text(rendered.stdout, encoding="ascii")
    made = windows.pwsh(["-File", "rules.ps1"])
    assert (made.returncode, made.stderr) == (0, "")
    merged = validation.load(chart_dir(), ["values.yaml"], []).merged
    assert unordered(windows.rules()) == unordered(compiler(policy_json(merged)))
    # The agent's own group, so that it takes them for its own.
    assert {record["Group"] for record in windows.records()} == {"udp-security"}


FORWARD: Final = "rules: [{name: pods, direction: forward, ports: [1]}]"
FORWARD_NOTE: Final = (
    "Note: 1 rule(s) of direction forward do not apply to Windows hosts: pods "
    "(os: [linux] says so)\n"
)


@pytest.mark.usefixtures("helm", "pwsh")
def test_notes_are_not_in_the_script(run: Run) -> None:
    result = run(*RENDER, "-f", "-", stdin=FORWARD)
    assert (result.exit_code, result.stderr) == (0, FORWARD_NOTE)
    assert result.stdout.startswith("New-NetFirewallRule ")
    assert "Note" not in result.stdout
    result = run(*RENDER, "-f", "-", "--set", "rules[0].os={linux}", stdin=FORWARD)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.usefixtures("helm", "pwsh")
def test_audit_has_no_rules_and_says_so(run: Run) -> None:
    result = run(*RENDER, "--set", "mode=audit")
    assert (result.exit_code, result.stdout) == (0, "")
    (note,) = result.stderr.splitlines()
    assert note.startswith("Note: a Windows node gets no rules (mode audit")


@pytest.mark.usefixtures("helm")
def test_no_powershell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWSH", "/no/where")
    result = run(*RENDER)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {MISSING}")
    assert "Traceback" in run(*RENDER, "--debug").stderr


@pytest.mark.usefixtures("helm")
def test_what_needs_no_powershell_does_not_ask_for_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PWSH", "/no/where")
    assert run("render").exit_code == 0
    assert run("render", "--ruleset", "linux").exit_code == 0
    result = run(*RENDER, "--set", "windows.enabled=false")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: there is no windows ruleset: windows.enabled is false "
        "(add --set windows.enabled=true)\n"
    )


BROKEN: Final = {
    "ends": ("read -r _; exit 3", "PowerShell ended"),
    "refuses": ("""read -r _; echo '{"error": "no such rule"}'""", "no such rule"),
    "rubbish": ("read -r _; echo 'Welcome to the shell'; cat", "Welcome to the shell"),
}


@pytest.mark.usefixtures("helm")
@pytest.mark.parametrize(("script", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_powershell(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    use_as_pwsh(tmp_path, monkeypatch, script)
    result = run(*RENDER)
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {FAILED}")
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


# The demo


def test_the_demos_rules_do_what_the_policy_means(told: WindowsStory) -> None:
    assert told.good
    assert [row.title for row in told.rows] == list(FLOWS)
    assert [row.title for row in told.rows if row.ours != row.allowed] == []
    assert {row.allowed for row in told.rows} == {True, False}


def test_the_reference_cuts_all_that_the_policy_allows_dns_too(told: WindowsStory) -> None:
    wrong = {row.title for row in told.rows if row.reference != row.allowed}
    assert wrong == {row.title for row in told.rows if row.allowed and row.why != "loopback"}
    assert {"host asks the cluster DNS", "pod asks the host's DNS"} <= wrong


def test_the_demos_rules_are_those_that_render_shows(run: Run, told: WindowsStory) -> None:
    assert run(*RENDER, "-f", str(story.VALUES)).stdout == as_commands(told.rules)


@pytest.mark.parametrize(("title", "flow"), FLOWS.items(), ids=FLOWS.keys())
def test_explain_agrees_with_the_demo(run: Run, told: WindowsStory, title: str, flow: Flow) -> None:
    (row,) = (row for row in told.rows if row.title == title)
    ends = ("--from", str(flow.source), "--to", str(flow.destination), "--port", str(flow.port))
    what = ("--os", "windows", "--direction", flow.direction, *ends)
    result = run("explain", "-f", str(story.VALUES), *what, "-o", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["verdict"] == ("allow" if row.allowed else "deny")
    assert found["judged"] == (row.why not in ("loopback", "not the cluster's"))
    if found["rules"]:
        assert row.why == ", ".join(dict.fromkeys(map(family, found["rules"])))


@pytest.fixture
def no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo without its Linux part, which takes long and needs namespaces."""
    monkeypatch.setattr(story, "Lab", MagicMock())
    monkeypatch.setattr(story, "AgentPod", MagicMock())
    monkeypatch.setattr(story, "PROBES", ())
    monkeypatch.setattr(story, "_events", lambda *_: iter(()))


def fate(passes: bool) -> str:
    return "passes" if passes else "denied"


@pytest.mark.usefixtures("helm", "pwsh", "no_lab")
def test_the_report(run: Run, told: WindowsStory) -> None:
    result = run("demo")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"{len(told.rules)} rules of its firewall" in result.stdout
    assert "no Windows ran here" in result.stdout
    for row in told.rows:
        (line,) = (line for line in result.stdout.splitlines() if line.startswith(row.title))
        shown = line.removeprefix(row.title).replace(" !", "!").split()[:3]
        reference = fate(row.reference) + "!" * (row.reference != row.allowed)
        assert shown == ["allow" if row.allowed else "deny", reference, fate(row.ours)]
    wrong = sum(row.reference != row.allowed for row in told.rows)
    assert f"{len(FLOWS)} flows: the reference gets {wrong} wrong, udp-security 0." in result.stdout


@pytest.mark.usefixtures("helm", "no_lab")
def test_the_report_without_powershell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWSH", "/no/where")
    result = run("demo")
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = (line for line in result.stdout.splitlines() if "PowerShell" in line)
    assert line.startswith(f"WINDOWS IS NOT SHOWN: {MISSING}")
    assert "model of Windows Firewall" not in result.stdout


@pytest.mark.usefixtures("helm", "no_lab")
def test_the_demo_with_a_broken_powershell(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_as_pwsh(tmp_path, monkeypatch, "read -r _; exit 3")
    result = run("demo")
    assert result.exit_code == 2
    assert f"{FAILED}PowerShell ended" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("helm", "no_lab")
def test_a_wrong_verdict_fails_the_demo(
    run: Run, monkeypatch: pytest.MonkeyPatch, told: WindowsStory
) -> None:
    first, *others = told.rows
    wrong = replace(told, rows=[replace(first, ours=not first.allowed), *others])
    monkeypatch.setattr(demo_windows, "tell", lambda *_: wrong)
    result = run("demo")
    assert result.exit_code == 1
    assert "udp-security 1." in result.stdout


# The commands


def test_commands() -> None:
    block = FirewallRule(
        name="udp-security-1",
        direction="Outbound",
        action="Block",
        protocol="UDP",
        remote_ports=("0-52", "54-65535"),
        remote_addresses=("10.0.0.0-10.255.255.255", "fd00::-fd00::ffff"),
    )
    allow = FirewallRule(
        name="udp-security-2",
        direction="Inbound",
        action="Allow",
        protocol="UDP",
        local_ports=("514",),
        local_addresses=("172.19.1.1",),
    )
    assert as_commands([block, allow]) == (
        "New-NetFirewallRule -Name udp-security-1 -DisplayName udp-security-1"
        " -Group udp-security `\n"
        "    -Direction Outbound -Action Block -Protocol UDP `\n"
        "    -RemotePort '0-52', '54-65535' `\n"
        "    -RemoteAddress '10.0.0.0-10.255.255.255', 'fd00::-fd00::ffff'\n"
        "\n"
        "New-NetFirewallRule -Name udp-security-2 -DisplayName udp-security-2"
        " -Group udp-security `\n"
        "    -Direction Inbound -Action Allow -Protocol UDP `\n"
        "    -LocalPort '514' `\n"
        "    -LocalAddress '172.19.1.1'\n"
    )
    assert as_commands([]) == ""


# The compiler's process


class Starts:
    """Every PowerShell that starts leaves its process id."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __len__(self) -> int:
        return len(self._ids())

    def none_lives(self) -> bool:
        """Whether all have ended and been waited for: what is left of a process counts too."""
        return not any(Path(f"/proc/{number}").exists() for number in self._ids())

    def _ids(self) -> list[str]:
        return self._log.read_text(encoding="ascii").split()


@pytest.fixture
def starts(pwsh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    log = tmp_path / "starts"
    use_as_pwsh(
        tmp_path,
        monkeypatch,
        f'echo $$ >>{shlex.quote(str(log))}\nexec {shlex.quote(pwsh)} "$@"',
    )
    return Starts(log)


def test_one_process_for_many_policies(starts: Starts) -> None:
    first, second = rules_only(egress(53)), rules_only(ingress(514, from_=["10.0.0.0/8"]))
    with Compiler() as compile_policy:
        of_first = compile_policy(first)
        assert compile_policy(second) != of_first
        assert compile_policy(first) == of_first
        assert compile_policy(rules_only(egress(53), mode="audit")) == []
        assert not starts.none_lives()
    assert len(starts) == 1
    assert starts.none_lives()


def test_a_policy_that_fails_does_not_end_it(starts: Starts) -> None:
    wrong = rules_only(egress(53, to=["10.0.0.0/8"]))
    wrong["rules"][0]["to"] = ["10.0.0.0.0/8"]
    with Compiler() as compile_policy:
        for policy in (wrong, {}):
            with pytest.raises(PwshFailedError, match=FAILED) as caught:
                compile_policy(policy)
            assert "Compile.psm1: line " in str(caught.value)
        assert compile_policy(rules_only(egress(53)))
    assert len(starts) == 1
    assert starts.none_lives()


def test_an_error_of_the_callers_leaves_no_process(starts: Starts) -> None:
    with pytest.raises(KeyError, match="mine"), Compiler():
        raise KeyError("mine")
    assert len(starts) == 1
    assert starts.none_lives()


def test_no_powershell_to_compile_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWSH", "/no/where")
    with pytest.raises(PwshMissingError, match="no program"), Compiler():
        pass


def test_it_ends_before_it_has_read_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_as_pwsh(tmp_path, monkeypatch, "exit 3")
    with (
        pytest.raises(PwshFailedError, match=f"{FAILED}PowerShell ended"),
        Compiler() as compile_policy,
    ):
        # More than a pipe holds.
        compile_policy({"version": "0" * 1_000_000})
