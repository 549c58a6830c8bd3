# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security render`: Helm's output, and every way it can fail."""

import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from udp_security.chart import chart_dir

from .conftest import Run

VALUES = "mode: audit\nlinux: {priorityClassName: null}\nrules: []\n"


def fake_helm(folder: Path, script: str) -> None:
    helm = folder / "helm"
    helm.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    helm.chmod(helm.stat().st_mode | stat.S_IXUSR)


def test_it_is_what_helm_prints(run: Run, helm: str) -> None:
    Path("v.yaml").write_text(VALUES, encoding="utf-8")
    result = run("render", "-f", "v.yaml", "--namespace", "other", "--release-name", "rel")
    expected = subprocess.run(
        [helm, "template", "rel", chart_dir(), "-n", "other", "-f", "v.yaml"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.exit_code == 0
    assert result.stdout == expected.stdout
    assert result.stderr == ""


@pytest.mark.usefixtures("helm")
def test_the_ruleset_alone(run: Run) -> None:
    ruleset = run("render", "--ruleset", "linux").stdout
    (config,) = (
        document
        for document in yaml.safe_load_all(run("render").stdout)
        if document and document["metadata"]["name"] == "udp-security-linux" and "data" in document
    )
    assert ruleset == config["data"]["policy.nft"]
    assert "table inet udp_security" in ruleset


FORWARD = """\
rules:
- {name: a, direction: forward, ports: [1]}
- {name: b, direction: forward, ports: [1], os: [linux, windows]}
- {name: c, direction: forward, ports: [1], os: [linux]}
- {name: d, direction: ingress, ports: [1]}
"""


@pytest.mark.usefixtures("helm")
def test_forward_rules_are_not_for_windows(run: Run) -> None:
    result = run("render", "-f", "-", stdin=FORWARD)
    assert result.exit_code == 0
    assert result.stderr == (
        "Note: 2 rule(s) of direction forward do not apply to Windows hosts: a, b "
        "(os: [linux] says so)\n"
    )
    assert "Note" not in result.stdout
    for quiet in (["--set", "windows.enabled=false"], ["--ruleset", "linux"]):
        result = run("render", "-f", "-", *quiet, stdin=FORWARD)
        assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.usefixtures("helm")
def test_no_ruleset_for_a_disabled_agent(run: Run) -> None:
    result = run("render", "--ruleset", "linux", "--set", "linux.enabled=false")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "linux.enabled is false (add --set linux.enabled=true)" in result.stderr


def test_invalid_values_never_reach_helm(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("render", "-f", "-", stdin="mode: x\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == '<stdin>:1:7: mode: "x" is not enforce or audit (write one of these)\n'


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "Helm is not on PATH (install Helm 3.18 or newer"),
        ("echo v3.17.4", "is v3.17.4, too old for the chart (install Helm 3.18"),
        ("echo v2.99.0", "too old"),
        ("echo dev", "does not tell its version, it says: dev"),
        ("echo broken >&2; exit 3", "does not run: broken"),
    ],
)
def test_no_usable_helm(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, message: str
) -> None:
    if script:
        fake_helm(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("render")
    assert result.exit_code == 2
    assert message in result.stderr


def test_helms_own_error_is_shown_without_noise(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """case $1 in version) echo v4.1.4;; *)
    printf 'Error: it does not fit\\n\\nUse --debug flag to render out invalid YAML\\n' >&2; exit 1
    esac"""
    fake_helm(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("render")
    assert result.exit_code == 1
    assert result.stderr == "Error: Helm cannot render the chart: it does not fit\n"
    assert "Traceback" in run("render", "--debug").stderr


@pytest.mark.parametrize("option", ["--namespace", "--release-name"])
@pytest.mark.parametrize("name", ["--post-renderer", "Upper", "a_b", "", "x" * 64, "a-"])
def test_names_that_kubernetes_refuses(run: Run, option: str, name: str) -> None:
    result = run("render", option, name)
    assert result.exit_code == 2
    assert "is not a Kubernetes name (write at most" in " ".join(result.stderr.split())
