# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Run the agent on a node as its DaemonSet's pod: what is rendered is what runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final

import udp_security
from udp_security.lab import container as runtime
from udp_security.lab import manifest, rootfs, sandbox, volumes
from udp_security.lab.addresses import NODES
from udp_security.lab.errors import LabError
from udp_security.lab.manifest import Manifest, PodFacts
from udp_security.lab.topology import Lab

CONTAINER: Final = "agent"
_POLL: Final = 0.05


class AgentPod:
    """One pod of the agent's DaemonSet on one node. Several can run on a node, as in a rollout.

    ``manifests`` are the rendered documents. The container runs with the template's command,
    environment, volumes, capabilities and root, in the node's network namespace; its process is PID
    1 of a PID namespace. Call ``start`` (or use it as a context manager, which starts and at the
    end deletes it). Start it from the main thread: the kernel ends the container with the thread
    that started it.
    """

    def __init__(
        self,
        lab: Lab,
        node_name: str,
        manifests: Iterable[Manifest | None],
        *,
        uid: str | None = None,
        name: str | None = None,
        namespace: str = "udp-security",
        container: str = CONTAINER,
        beside: AgentPod | None = None,
    ) -> None:
        """LabError where the manifests ask for what the lab cannot imitate.

        With ``beside`` this is a further container of that pod: its uid, its name, its volumes.
        """
        documents = list(manifests)
        document = manifest.daemon_set(documents, container)
        self.uid: str = beside.uid if beside else uid or str(uuid.uuid4())
        self.name: str = (
            beside.name if beside else name or f"{document['metadata']['name']}-{self.uid[:5]}"
        )
        node = NODES[node_name].address
        facts = PodFacts(
            uid=self.uid,
            name=self.name,
            namespace=document["metadata"].get("namespace", namespace),
            node_name=node_name,
            host_ips=(node.v4, node.v6),
        )
        pod = manifest.pod_spec(document)
        self._container = manifest.container_of(document, container)
        self._network = str(lab.ns(node_name).path)
        self._node_name = node_name
        self._grace = float(pod.get("terminationGracePeriodSeconds", 30))
        self._environment = manifest.environment(self._container, facts)
        self._security = manifest.security(pod, self._container)
        if self._security.uid and sandbox.rootless():
            raise LabError("runAsUser needs a second user", "run the lab as root")
        words = [*(self._container.get("command") or ()), *(self._container.get("args") or ())]
        if not words:
            raise LabError("the agent's container has no command")
        self._command = [manifest.expand(str(word), self._environment) for word in words]
        self._mounts = manifest.volume_mounts(self._container)
        if beside is None:
            self._directory = lab.directory / f"pod-{self.uid}"
            (self._directory / "volumes").mkdir(parents=True)
            self._volumes = volumes.make(
                pod,
                self._directory / "volumes",
                lab.directory / f"files-of-{node}",
                manifest.config_maps(documents),
            )
        else:
            self._directory = beside._directory / f"container-{container}"
            self._directory.mkdir()
            self._volumes = beside._volumes
        (self._directory / "root").mkdir()
        self._log = self._directory / "log"
        self._log.touch()
        self._launcher: subprocess.Popen[bytes] | None = None
        self._pid = 0
        lab.on_close(self.delete)

    def start(self) -> None:
        """Start the container. LabError when its process could not be started or runs already."""
        if self.running:
            raise LabError(f"pod {self.name} runs already")
        image = rootfs.build()
        if not self._security.read_only_root:
            image = self._directory / "image"
            shutil.rmtree(image, ignore_errors=True)
            shutil.copytree(rootfs.build(), image, symlinks=True)
        spec: runtime.RunSpec = {
            "root": {
                "network": self._network,
                "hostname": self._node_name,
                "files": str(image),
                "point": str(self._directory / "root"),
                "read_only": self._security.read_only_root,
                "mounts": self._mount_specs(),
            },
            "process": self._process(self._command),
        }
        with self._log.open("ab") as output:
            self._launcher, self._pid = self._launch("run", spec, output)

    def exec(self, *words: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run the agent's script in the container with another subcommand (``exec("check")``), as
        `kubectl exec` would: same rights, same environment. LabError when the container does not
        run."""
        return self.run([*self._command[:-1], *words], timeout=timeout)

    def run(
        self, command: Sequence[str], *, timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run any command in the container to its end. LabError when it takes longer than
        ``timeout`` seconds or the container does not run."""
        if not self.running:
            raise LabError(f"pod {self.name} does not run: {self.logs().strip() or 'no log'}")
        spec: runtime.ExecSpec = {"pid": self._pid, "process": self._process(command)}
        launcher, _ = self._launch("exec", spec, subprocess.PIPE)
        try:
            out, err = launcher.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            launcher.kill()
            launcher.communicate()
            raise LabError(f"'{' '.join(command)}' took longer than {timeout} s") from error
        return subprocess.CompletedProcess(
            list(command), launcher.returncode, out.decode(), err.decode()
        )

    def ready(self) -> bool:
        """Whether the container runs and its readinessProbe's own command succeeds."""
        probe = self._container.get("readinessProbe")
        if not probe or "exec" not in probe:
            raise LabError("the agent's container has no readinessProbe with exec")
        if not self.running:
            return False
        try:
            result = self.run(
                probe["exec"]["command"], timeout=float(probe.get("timeoutSeconds", 1))
            )
        except LabError:
            return False
        return result.returncode == 0

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Wait until ``ready``. LabError with the log when it is not in time or the container
        ended."""
        deadline = time.monotonic() + timeout
        while not self.ready():
            if not self.running:
                raise LabError(f"pod {self.name} ended ({self.exit_code}): {self.logs().strip()}")
            if time.monotonic() > deadline:
                raise LabError(
                    f"pod {self.name} is not ready after {timeout} s: {self.logs().strip()}"
                )
            time.sleep(_POLL)

    def stop(self, grace: float | None = None) -> int:
        """What deleting the pod does to the container: preStop, SIGTERM, after ``grace`` seconds
        (default: the pod's own) SIGKILL. Returns the exit code (137: it had to be killed)."""
        if self._launcher is None:
            raise LabError(f"pod {self.name} was never started")
        hook = (self._container.get("lifecycle") or {}).get("preStop") or {}
        if self.running and "exec" in hook:
            self.run(hook["exec"]["command"])
        self.signal(signal.SIGTERM)
        try:
            return self._launcher.wait(self._grace if grace is None else grace)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self._launcher.wait()

    def kill(self) -> None:
        """SIGKILL: the whole container is gone without having been told."""
        if self._launcher is not None:
            self.signal(signal.SIGKILL)
            self._launcher.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the container's first process, if it runs."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def restart_container(self) -> None:
        """A new container of the same pod: emptyDirs are kept, ConfigMaps are what they are now."""
        self.kill()
        self.start()

    def update_configmap(self, data: Mapping[str, str], name: str | None = None) -> None:
        """Change a ConfigMap's data as the kubelet shows it to the running container (mounts with
        subPath keep the old files until the container restarts). ``name`` may be left out when the
        pod mounts one ConfigMap only."""
        found = [
            volume
            for volume in self._volumes.values()
            if isinstance(volume, volumes.ConfigMapVolume) and name in (None, volume.name)
        ]
        if not found or len({volume.name for volume in found}) != 1:
            raise LabError(f"pod {self.name} mounts {len(found)} ConfigMaps that fit, name one")
        for volume in found:
            volume.write(data)

    def logs(self) -> str:
        """Everything the pod's containers have printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def delete(self) -> None:
        """Kill what runs and remove the pod's files. Safe to call twice."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether the container's first process is alive."""
        return self._launcher is not None and self._launcher.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The container's exit code, None while it runs or before the first start."""
        return None if self._launcher is None else self._launcher.poll()

    @property
    def pid(self) -> int:
        """The container's first process as the host sees it."""
        return self._pid

    def __enter__(self) -> AgentPod:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.delete()

    def _process(self, command: Sequence[str]) -> runtime.Process:
        return {
            "argv": list(command),
            "environment": self._environment,
            "uid": self._security.uid,
            "gid": self._security.gid,
            "capabilities": list(self._security.capabilities),
            "no_new_privileges": self._security.no_new_privileges,
        }

    def _mount_specs(self) -> list[runtime.Mount]:
        specs: list[runtime.Mount] = []
        for number, mount in enumerate(self._mounts):
            if mount.volume not in self._volumes:
                raise LabError(f"the pod has no volume {mount.volume}")
            volume = self._volumes[mount.volume]
            config = isinstance(volume, volumes.ConfigMapVolume)
            source = volume.directory / mount.sub_path
            if config and mount.sub_path:
                # The kubelet resolves the path once, at the container's start.
                frozen = self._directory / f"subpath-{number}"
                shutil.rmtree(frozen, ignore_errors=True)
                frozen.mkdir()
                if source.is_dir():
                    source = shutil.copytree(source, frozen / "copy")
                else:
                    source = Path(shutil.copy2(source, frozen / "copy"))
            elif mount.sub_path:
                source.mkdir(parents=True, exist_ok=True)
            specs.append(
                {
                    "source": str(source),
                    "target": mount.target,
                    "read_only": mount.read_only or config,
                }
            )
        return specs

    def _launch(
        self, mode: str, spec: runtime.RunSpec | runtime.ExecSpec, output: IO[bytes] | int
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start the runtime and wait until the process runs. Returns it and the process's id."""
        reader, writer = os.pipe()
        package = str(Path(udp_security.__file__).parent.parent)
        try:
            launcher = subprocess.Popen(
                [sys.executable, "-S", "-m", runtime.__name__, mode, json.dumps(spec), str(writer)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE if output == subprocess.PIPE else subprocess.STDOUT,
                env={"PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1"},
                pass_fds=(writer,),
                start_new_session=True,
            )
        finally:
            os.close(writer)
        with os.fdopen(reader, "rb") as status:
            said = dict(line.split(" ", 1) for line in status.read().decode().splitlines())
        if "error" in said or "pid" not in said:
            launcher.kill()
            _, trace = launcher.communicate()
            detail = said.get("error") or (trace or b"").decode().strip() or self.logs().strip()
            raise LabError(f"pod {self.name}: cannot {mode} the container's process: {detail}")
        return launcher, int(said["pid"])
