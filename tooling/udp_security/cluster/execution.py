# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Commands in agents' pods, over the API server's WebSocket (v4.channel.k8s.io)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from udp_security.cluster.client import Client
from udp_security.k2s.manifests import NAMESPACE

# The protocol's channels: a frame's first byte.
_STDOUT, _STDERR, _ERROR = 1, 2, 3
_CONTAINER = "agent"


@dataclass(frozen=True)
class Answer:
    """What a command came to: whether it ended with 0, what it printed, and what else was said."""

    good: bool
    text: str
    said: str

    @property
    def words(self) -> str:
        """What the command printed for itself; what was said of it where it printed nothing."""
        return self.text or self.said


async def execute(client: Client, pod: str, command: Sequence[str], timeout: float) -> Answer:
    """Runs a command in a pod's agent. Raises nothing: what doesn't work is an answer, too.

    `timeout` is in seconds from when it is this command's turn.
    """
    async with client.turn():
        try:
            return await asyncio.wait_for(_execute(client, pod, command), timeout)
        except (asyncio.TimeoutError, TimeoutError):
            return Answer(False, "", f"no answer within {timeout:g} s")
        except aiohttp.WSServerHandshakeError as error:
            forbidden = " (pods/exec is needed)" if error.status in (401, 403) else ""
            return Answer(False, "", f"the API server answers HTTP {error.status}{forbidden}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(False, "", str(error) or type(error).__name__)


async def _execute(client: Client, pod: str, command: Sequence[str]) -> Answer:
    query = [("container", _CONTAINER), ("stdout", "true"), ("stderr", "true")]
    query += [("command", word) for word in command]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/exec"
    streams = {_STDOUT: bytearray(), _STDERR: bytearray(), _ERROR: bytearray()}
    async with await client.open_socket(path, query) as socket:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.ERROR:
                raise ValueError(f"the connection broke: {message.data}")
            data = message.data
            frame: bytes = data.encode() if isinstance(data, str) else data
            if frame and frame[0] in streams:
                streams[frame[0]] += frame[1:]
    text, errors = (streams[channel].decode(errors="replace").strip() for channel in (1, 2))
    if not streams[_ERROR]:
        raise ValueError("the connection ended before the command did")
    outcome = json.loads(streams[_ERROR])
    if outcome.get("status") == "Success":
        return Answer(True, text, errors)
    return Answer(False, text, errors or outcome.get("message", ""))
