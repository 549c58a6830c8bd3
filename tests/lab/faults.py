# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""An nft that counts its calls and misbehaves at one of them.

The calls are those of a run without a fault, so none is forgotten when the agent changes.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import Final, Literal

from tests.lab.agents import Documents, Node, agent_container, agent_pod_spec, state, until

from udp_security.lab import rootfs

How = Literal["fails", "dies-after", "hangs", "stops-before", "stops-after"]
"""At its call nft

- fails: does nothing, and says that there is no memory;
- dies-after: does all, and is killed before it can say so;
- hangs: does nothing, for ever;
- stops-before, stops-after: waits for the container to be killed, before or after doing all.
"""

_NO_MEMORY: Final = "Error: Could not process rule: Cannot allocate memory"

_DIRECTORY: Final = "/usr/sbin"
# The monitor is no step of anything.
_NFT: Final = f"""#!/bin/sh
here={_DIRECTORY}
[ "$1" != monitor ] || exec $here/real-nft "$@"
echo "$*" >>$here/calls
read -r at how 2>/dev/null <$here/fault || exec $here/real-nft "$@"
[ "$at" -eq 0 ] || [ "$(wc -l <$here/calls)" -eq "$at" ] || exec $here/real-nft "$@"
case $how in
fails) echo '{_NO_MEMORY}' >&2; exit 1 ;;
hangs) exec sleep 3600 ;;
stops-before) ;;
*) $here/real-nft "$@" ;;
esac
case $how in
dies-after) kill -9 $$ ;;
esac
: >$here/stopped
exec sleep 3600
"""


class FaultyPod:
    """A pod with such an nft. While a fault is set, nothing may be run in the container: it would
    be counted as well."""

    def __init__(self, node: Node, made: Documents) -> None:
        agent_pod_spec(made)["volumes"].append({"name": "sbin", "emptyDir": {}})
        mount = {"name": "sbin", "mountPath": _DIRECTORY}
        agent_container(made)["volumeMounts"].append(mount)
        self._poll = _variable(made, "UDP_SECURITY_POLL_SECONDS").encode()
        self.pod = node.pod(made)
        self._sbin: Path = state(self.pod, node.lab).parent / "sbin"
        for tool in (rootfs.build() / "usr/sbin").iterdir():
            shutil.copy2(tool, self._sbin / tool.name, follow_symlinks=False)
        (self._sbin / "nft").rename(self._sbin / "real-nft")
        self.tool("nft", _NFT)

    def tool(self, name: str, script: str) -> None:
        """Put a program of this name before the image's own."""
        (self._sbin / name).write_text(script, encoding="ascii")
        (self._sbin / name).chmod(0o755)

    def calls(self) -> list[str]:
        """The arguments of each call since the last fault was set, or cleared."""
        file = self._sbin / "calls"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def wait_idle(self) -> None:
        """Wait until the agent sleeps: until its only child, beside the monitor's, is a sleep."""
        until(self._asleep)
        time.sleep(0.05)
        until(self._asleep)

    def _asleep(self) -> bool:
        children = Path(f"/proc/{self.pod.pid}/task/{self.pod.pid}/children").read_text("ascii")
        commands = []
        for child in children.split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                commands.append(Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"))
        return any(words[:2] == [b"sleep", self._poll] for words in commands)

    def set(self, number: int, how: How) -> None:
        """The call with this number from now on, counted from 1, goes wrong; 0: every call."""
        self.clear()
        (self._sbin / "fault.new").write_text(f"{number} {how}\n", encoding="ascii")
        (self._sbin / "fault.new").rename(self._sbin / "fault")

    def clear(self) -> None:
        """No call goes wrong from now on."""
        for name in ("fault", "stopped", "calls"):
            (self._sbin / name).unlink(missing_ok=True)

    def kill_when_stopped(self) -> None:
        """SIGKILL to the whole container at the call that stops."""
        until((self._sbin / "stopped").exists)
        self.pod.kill()
        self.clear()


def _variable(made: Documents, name: str) -> str:
    (value,) = (entry["value"] for entry in agent_container(made)["env"] if entry["name"] == name)
    return str(value)


def changes(call: str) -> bool:
    """Whether a call may change what the kernel holds."""
    words = call.split()
    return "-c" not in words and ("-f" in words or words[0] in ("add", "delete"))
