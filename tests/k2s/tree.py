# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""An installed K2s in a folder: fakes of its modules, the addon, setup.json, the Windows host."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.k2s.artifact_places import ADDON
from tests.k2s.cluster import NAMESPACE, Cluster, Node
from tests.k2s.host import Host, serving
from tests.windows.windows import FakeWindows

from udp_security.windows import pwsh

MODULES: Final = Path(__file__).with_name("modules")
HOOK: Final = "udp-security.AfterUninstall.ps1"


def exported_addon(target: Path) -> None:
    """The addon's folder without what an export loses: the chart's sources."""

    def lost(folder: str, names: Iterable[str]) -> list[str]:
        return ["chart"] if Path(folder) == ADDON else []

    shutil.copytree(ADDON, target, ignore=lost)


class K2s:
    """One installation. `root` may hold blanks, as a user's folder may."""

    def __init__(self, directory: Path, host: Host, port: int, windows: FakeWindows) -> None:
        self.root = directory / "k2s installed here"
        self.program_data = directory / "ProgramData"
        self.addon = self.root / "addons" / NAMESPACE
        self.hooks = self.root / "addons" / "hooks"
        self.host = host
        self.windows = windows
        self._port = port
        self.install()

    @property
    def cluster(self) -> Cluster:
        return self.host.cluster

    def install(self, addon: Callable[[Path], object] = exported_addon) -> None:
        """Put K2s and the addon's folder there, with nothing enabled."""
        shutil.copytree(MODULES, self.root)
        addon(self.addon)
        (self.program_data / "K2s").mkdir(parents=True)
        self.write_setup({"SetupType": "k2s", "Version": "v2.0.0", "LinuxOnly": False})

    def uninstall(self) -> None:
        """Take it away, with the hooks that run afterwards."""
        shutil.rmtree(self.program_data)
        for hook in sorted(self.hooks.glob("*.AfterUninstall.ps1")):
            done = self.pwsh("-File", str(hook))
            assert done.returncode == 0, done.stderr
        shutil.rmtree(self.root)

    # setup.json

    @property
    def setup_path(self) -> Path:
        return self.program_data / "K2s" / "setup.json"

    def setup(self) -> dict[str, Any]:
        """What setup.json holds."""
        found: dict[str, Any] = json.loads(self.setup_path.read_text(encoding="utf-8"))
        return found

    def write_setup(self, setup: dict[str, Any]) -> None:
        self.setup_path.write_text(json.dumps(setup), encoding="utf-8")

    def enabled(self) -> dict[str, Any] | None:
        """The addon's entry in setup.json; None when it is not enabled."""
        entries = self.setup().get("EnabledAddons", [])
        return next((entry for entry in entries if entry["Name"] == NAMESPACE), None)

    def be_enabled(self, values: dict[str, Any] | None = None) -> None:
        """Be as Enable.ps1 leaves it, with a user's values (test_enable.py compares the two)."""
        namespace = self.addon / "manifests" / "00-namespace.yaml"
        self.host.kubectl.run(["apply", "-f", str(namespace)])
        (chart,) = (self.addon / "manifests" / "chart").glob("*.tgz")
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(values or {}, file)
            file.flush()
            options = ["--install", "--reset-values", "-f", file.name]
            self.host.helm.run(["upgrade", NAMESPACE, str(chart), "-n", NAMESPACE, *options])
        self.hooks.mkdir(exist_ok=True)
        shutil.copy(self.addon / "hooks" / HOOK, self.hooks)
        self.write_setup({**self.setup(), "EnabledAddons": [{"Name": NAMESPACE}]})

    # What is on the nodes

    def in_force(self) -> dict[str, str]:
        """The mode of the policy in force on each node that has one."""
        return {node.name: node.rules.mode for node in self.cluster.nodes if node.rules}

    def firewall_rules(self) -> list[str]:
        """The names of our rules in the Windows host's firewall."""
        return [r["Name"] for r in self.windows.records() if r["Group"] == NAMESPACE]

    def nothing_left(self) -> bool:
        """Whether the addon has left no trace: in the cluster, on the nodes, in K2s."""
        return not (
            self.cluster.namespaces
            or self.cluster.objects
            or self.cluster.pods
            or self.in_force()
            or self.firewall_rules()
            or self.enabled()
            or list(self.hooks.glob("*"))
        )

    # PowerShell

    def pwsh(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run PowerShell on this host."""
        variables = {"FAKE_K2S": str(self._port), "ProgramData": str(self.program_data)}
        return pwsh.run(arguments, variables=self.windows.variables(variables), timeout=timeout)


def two_nodes(windows: FakeWindows) -> list[Node]:
    """K2s's own: the control plane and the Windows host."""
    return [
        Node("kubemaster", "linux", "172.19.1.100", "172.20.0.0/24"),
        Node("winhost", "windows", "172.19.1.1", "172.20.1.0/24", firewall=windows),
    ]


@contextmanager
def installed(directory: Path) -> Iterator[K2s]:
    """A new K2s with two nodes. The fakes must have known all that it was asked."""
    windows = FakeWindows(directory)
    windows.add("CoreNet-DHCP", Group="Core Networking", Protocol="UDP")
    host = Host(Cluster(two_nodes(windows)))
    with serving(host) as port:
        yield K2s(directory, host, port, windows)
    assert host.unknown == []
