# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""manifests/ as K2s on a Linux host takes it: `kubectl apply -f manifests --recursive`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from udp_security.k2s import manifests

from ..chart.support import Helm
from .artifact_apiserver import ApiServer, api_server
from .artifact_places import ADDON, CHART, MANIFESTS, ROOT, lacking, tool

NAMES = [
    "00-namespace.yaml",
    "linux-configmap.yaml",
    "linux-daemonset.yaml",
    "windows-configmap.yaml",
    "windows-daemonset.yaml",
]
OBJECTS = [
    "Namespace udp-security",
    "ConfigMap udp-security-linux",
    "DaemonSet udp-security-linux",
    "ConfigMap udp-security-windows",
    "DaemonSet udp-security-windows",
]


def load(name: str) -> Any:
    """The only object in a file."""
    return yaml.load((MANIFESTS / name).read_text(encoding="utf-8"), yaml.CSafeLoader)


def test_the_files() -> None:
    """Nothing else: kubectl applies whatever it can read."""
    files = sorted(path for path in MANIFESTS.rglob("*") if path.is_file())
    assert [str(path.relative_to(MANIFESTS)) for path in files if path.suffix != ".tgz"] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_file(name: str) -> None:
    data = (MANIFESTS / name).read_bytes()
    # REUSE-IgnoreStart
    assert data.startswith("# SPDX-FileCopyrightText: © 2026".encode())
    assert b"\n# SPDX-License-Identifier: MIT\n" in data
    # REUSE-IgnoreEnd
    assert data.endswith(b"\n")
    assert b"\r" not in data
    document = load(name)
    assert f"{document['kind']} {document['metadata']['name']}" == OBJECTS[NAMES.index(name)]
    if name != "00-namespace.yaml":
        assert document["metadata"]["namespace"] == "udp-security"


def test_the_namespace_lets_the_agents_in() -> None:
    labels = load("00-namespace.yaml")["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "privileged"


@pytest.mark.parametrize("system", ["linux", "windows"])
def test_k2s_knows_the_pods_as_the_addons(system: str) -> None:
    daemon_set = load(f"{system}-daemonset.yaml")
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "udp-security"
    assert daemon_set["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == system


@pytest.mark.parametrize("variable", ["PATH", "UDP_SECURITY_HELM3"])
def test_they_are_what_helm_renders(variable: str) -> None:
    """Helm 4 and Helm 3; object by object, as their order is not the files'."""
    helm = tool("helm") if variable == "PATH" else os.environ.get(variable)
    if not helm:
        lacking(f"{variable} does not name a Helm 3")
    theirs = yaml.load_all(Helm(helm).template(), yaml.CSafeLoader)
    ours = [load(name) for name in NAMES[1:]]
    assert sorted(theirs, key=str) == sorted(ours, key=str)


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        ({"a.yaml": "kind: A\n---\nkind: B\n"}, "a.yaml makes several objects"),
        ({"00-a.yaml": "kind: A\n"}, "00-a.yaml sorts before 00-namespace.yaml"),
    ],
)
def test_a_chart_that_could_not_be_applied(
    tmp_path: Path, templates: dict[str, str], said: str
) -> None:
    tool("helm")
    (tmp_path / "templates").mkdir()
    shutil.copy(CHART / "Chart.yaml", tmp_path)
    for name, text in templates.items():
        (tmp_path / "templates" / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        manifests.render(tmp_path)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as found:
        yield found


Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def kubectl(server: ApiServer, tmp_path: Path) -> Kubectl:
    """Runs kubectl's `verb` on a folder as K2s does."""
    program = tool("kubectl")

    def run(verb: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
        connection = [f"--server={server.address}", f"--cache-dir={tmp_path}/cache"]
        return subprocess.run(
            [program, verb, "-f", str(folder), "--recursive", *options, *connection],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "KUBECONFIG": "/dev/null"},
        )

    return run


# kubectl's own schema check asks the server for the schema; kubeconform (make lint) has it.
APPLY = ("apply", MANIFESTS, "--validate=false")


def test_kubectl_applies_them_in_order(kubectl: Kubectl, server: ApiServer) -> None:
    done = kubectl(*APPLY)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.changes == [f"create {name}" for name in OBJECTS]


def test_kubectl_deletes_them_twice(kubectl: Kubectl, server: ApiServer) -> None:
    kubectl(*APPLY)
    for _ in range(2):
        done = kubectl("delete", MANIFESTS, "--ignore-not-found")
        assert (done.returncode, done.stderr) == (0, "")
        assert server.objects == {}


def test_the_order_matters(kubectl: Kubectl, server: ApiServer, tmp_path: Path) -> None:
    """Or the test before would pass with any."""
    folder = tmp_path / "other"
    shutil.copytree(MANIFESTS, folder)
    (folder / NAMES[0]).rename(folder / "zz-namespace.yaml")
    done = kubectl("apply", folder, "--validate=false")
    assert done.returncode == 1
    assert "namespace udp-security not found" in done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what generate.py reads and writes."""
    for folder in ("chart", "manifests"):
        shutil.copytree(ADDON / folder, tmp_path / "addons" / "udp-security" / folder)
    (tmp_path / "build").mkdir()
    for script in ("generate.py", "values_table.py"):
        shutil.copy(ROOT / "build" / script, tmp_path / "build")
    return tmp_path


def generate(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    tool("helm")
    command = [sys.executable, str(root / "build" / "generate.py"), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def _bytes(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_they_are_fresh(copy: Path) -> None:
    before = _bytes(copy)
    for options in (["--check"], []):
        done = generate(copy, *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert _bytes(copy) == before


def test_a_stale_one_is_told_and_made_anew(copy: Path) -> None:
    before = _bytes(copy)
    folder = copy / "addons" / "udp-security"
    (folder / "manifests" / "linux-daemonset.yaml").unlink()
    (folder / "manifests" / "kustomization.yaml").write_text("")
    (folder / "manifests" / "chart" / "udp-security-0.0.9.tgz").write_bytes(b"")
    (folder / "manifests" / "windows-daemonset.yaml").write_text("a: b\n")
    packaged = next((folder / "manifests" / "chart").glob("*-0.1*.tgz"))
    packaged.write_bytes(packaged.read_bytes() + b"x")
    done = generate(copy, "--check")
    assert done.returncode == 1
    stale = ["linux-daemonset.yaml", "windows-daemonset.yaml", "kustomization.yaml"]
    for name in [*stale, "chart/udp-security-0.0.9.tgz", f"chart/{packaged.name}"]:
        line = f"generate: addons/udp-security/manifests/{name} is stale; run 'make generate'\n"
        assert line in done.stderr
    assert "-a: b\n" in done.stderr
    assert generate(copy).returncode == 0
    assert _bytes(copy) == before


def test_a_changed_chart_makes_both_stale(copy: Path) -> None:
    values = copy / "addons" / "udp-security" / "chart" / "values.yaml"
    values.write_text(values.read_text(encoding="utf-8").replace("mode: enforce", "mode: audit"))
    done = generate(copy, "--check")
    assert done.returncode == 1
    for name in ("manifests/linux-configmap.yaml", "manifests/chart/", "chart/README.md"):
        assert f"generate: addons/udp-security/{name}" in done.stderr


def test_without_helm_nothing_passes_as_fresh(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = [sys.executable, str(copy / "build" / "generate.py"), "--check"]
    monkeypatch.setenv("PATH", str(copy))
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("generate: Helm is not on PATH")


def test_a_checkout_on_windows_keeps_their_bytes(tmp_path: Path) -> None:
    """With core.autocrlf, as Git for Windows is set up."""
    git = tool("git")
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    shutil.copytree(MANIFESTS, tmp_path / "addons" / "udp-security" / "manifests")
    before = _bytes(tmp_path)

    def run(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "core.autocrlf=true"]
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command = [git, "-C", str(tmp_path), *identity, *words]
        subprocess.run(command, check=True, capture_output=True, timeout=60, env=environment)

    run("init")
    run("add", ".")
    run("commit", "--message", "x")
    shutil.rmtree(tmp_path / "addons")
    run("checkout", ".")
    shutil.rmtree(tmp_path / ".git")
    assert _bytes(tmp_path) == before
