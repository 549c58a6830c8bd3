# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security render --ruleset iptables`: what nodes without nftables get."""

import shutil
from pathlib import Path

import pytest

from udp_security.policy import iptables

from .conftest import Run

pytestmark = pytest.mark.usefixtures("helm")


def test_both_families(run: Run) -> None:
    result = run("render", "--ruleset", "iptables")
    assert (result.exit_code, result.stderr) == (0, "")
    four, six = result.stdout.split("# for ip6tables-restore --noflush\n")
    assert four.startswith("# for iptables-restore --noflush\n*filter\n:UDPSEC-")
    assert four.endswith("\n-I FORWARD 1 -p udp -j UDPSEC-FORWARD\nCOMMIT\n")
    assert "--ctreplsrcport 53 -g UDPSEC-" in four
    assert six.startswith("*filter\n") and six.endswith("\nCOMMIT\n")


@pytest.mark.parametrize(("ruleset", "backend"), [("iptables", "nftables"), ("linux", "iptables")])
def test_only_of_a_backend_that_a_node_may_take(run: Run, ruleset: str, backend: str) -> None:
    result = run("render", "--ruleset", ruleset, "--set", f"linux.backend={backend}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"there is no {ruleset} ruleset: linux.backend is {backend} (add --set" in result.stderr


def test_no_ruleset_for_a_disabled_agent(run: Run) -> None:
    result = run("render", "--ruleset", "iptables", "--set", "linux.enabled=false")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "linux.enabled is false (add --set linux.enabled=true)" in result.stderr


def test_without_awk(run: Run, helm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "helm").symlink_to(helm)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("render", "--ruleset", "iptables")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "needs awk, which is not on PATH (install gawk or mawk)" in result.stderr


def test_any_awk_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    policy = "mode enforce\nscope host\nuntrackedReply6 none\n"
    expected = iptables.compile_policy(policy, 6)
    for name in ("busybox", "mawk", "gawk"):
        program = shutil.which(name)
        if program is None:
            continue
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).symlink_to(program)
        monkeypatch.setenv("PATH", str(folder))
        assert iptables.compile_policy(policy, 6) == expected
        monkeypatch.undo()


def test_a_policy_that_the_agent_would_refuse(run: Run) -> None:
    names = "\n".join(
        f"- {{name: r{n}, direction: ingress, ports: [{n}], from: [{networks}]}}"
        for networks in [", ".join(f"10.{i // 250}.{i % 250}.0/24" for i in range(1300))]
        for n in range(1, 13)
    )
    result = run("render", "--ruleset", "iptables", "-f", "-", stdin=f"rules:\n{names}\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the agent would refuse this policy: this policy needs more than 30000" in result.stderr
