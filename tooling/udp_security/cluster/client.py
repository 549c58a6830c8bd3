# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""One cluster's API server: where the kubeconfig says it is, asked with the official client.

Objects are plain Python, as in the API's JSON.
"""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException

from udp_security.cluster.login import log_in
from udp_security.cluster.words import one_line

#: Commands that run at the same time, of all nodes together. Each has a connection of its own, and
#: most of them only wait; with fewer, nodes that say nothing would make the others wait as well.
PARALLEL = 500
# So many of their connections are made at a time: on a busy machine all at once would all come too
# late. One that is not made after so many seconds, for the node is dead, holds up no other.
_CONNECTING = 64
_PATIENCE = 1.0
_AUTHENTICATION = ["BearerToken"]
# What the API server calls the streams of a command.
_PROTOCOL = "v4.channel.k8s.io"
# Seconds. A list of a thousand nodes takes less than one.
_TIMEOUT = 15.0
# Seconds that a WebSocket's other end has to say goodbye, and all connections together to end.
_GOODBYE = 0.5
_CLOSING = 1.0
_LOOK = 0.005
# Files that are open besides.
_OTHER_FILES = 50
_MERGE_PATCH = "application/merge-patch+json"


class ClusterError(Exception):
    """The cluster doesn't do what it was asked to; the message says what and why."""


class NoAccessError(ClusterError):
    """The cluster can't be asked: no kubeconfig, no answer, or no permission."""


class ApiError(ClusterError):
    """The API server refuses a request with this HTTP status, or its answer is nonsense."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """An async context manager. Every method raises NoAccessError and ApiError."""

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        """None: as kubectl chooses, by $KUBECONFIG, then ~/.kube/config and its current context."""
        self.kubeconfig = kubeconfig
        self.context = context

    async def __aenter__(self) -> Client:
        try:
            login = await log_in(self.kubeconfig, self.context)
            configuration = login.configuration
            self._api = ApiClient(configuration)
        except (ValueError, OSError) as error:
            raise NoAccessError(
                f"no cluster to talk to: {one_line(str(error)) or type(error).__name__} "
                "(check --kubeconfig, --context and $KUBECONFIG)"
            ) from error
        self.server = configuration.host
        parallel = min(PARALLEL, _open_files() - _OTHER_FILES)
        self._free = asyncio.Semaphore(parallel)
        self._connecting = asyncio.Semaphore(_CONNECTING)
        # The client's own class for WebSockets forgets the kubeconfig's proxy-url and
        # tls-server-name, and waits ten seconds for the goodbye of a node that says nothing.
        self._session = aiohttp.ClientSession(
            # What has to wait for its turn does so elsewhere.
            connector=aiohttp.TCPConnector(
                limit=0, ssl=self._api.rest_client.ssl_context, socket_factory=self._socket
            ),
            headers=login.headers,
        )
        # Instead of one of its own.
        self._api.rest_client.pool_manager = self._session
        self._how: dict[str, Any] = {
            "proxy": configuration.proxy or None,
            "proxy_headers": configuration.proxy_headers or None,
            "server_hostname": configuration.tls_server_name or None,
            "timeout": aiohttp.ClientWSTimeout(ws_close=_GOODBYE),
        }
        self._sockets: list[sockets.socket] = []
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._api.close()
        # Connections with TLS end a moment after they are closed.
        last = time.monotonic() + _CLOSING
        while any(each.fileno() >= 0 for each in self._sockets) and time.monotonic() < last:
            await asyncio.sleep(_LOOK)

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """One object."""
        return await self._request("GET", path, query=query)

    async def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The objects of a collection, each of which has a name."""
        return (await self.page(path, **query))[0]

    async def page(self, path: str, **query: str) -> tuple[list[dict[str, Any]], str]:
        """The same as far as the query's `limit` goes, and what the next page's `continue` is."""
        found = await self.get(path, **query)
        items, metadata = found.get("items"), found.get("metadata")
        if not isinstance(items, list) or not all(map(_has_name, items)):
            raise self._nonsense(200)
        more = metadata.get("continue") if isinstance(metadata, dict) else None
        return items, more or ""

    async def find(self, path: str) -> dict[str, Any] | None:
        """One object, or None where there is none."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def create(self, path: str, document: Mapping[str, Any]) -> None:
        """Creates an object in the collection `path`."""
        await self._request("POST", path, document)

    async def merge(self, path: str, part: Mapping[str, Any]) -> None:
        """Lays a part of an object over the one that is there (RFC 7386)."""
        await self._request("PATCH", path, part, content_type=_MERGE_PATCH)

    async def delete(self, path: str, grace: int | None = None, **query: str) -> None:
        """Deletes an object, or a collection, if it is there. `grace`: seconds, 0 for at once."""
        options = {} if grace is None else {"gracePeriodSeconds": grace}
        try:
            await self._request("DELETE", path, options, query=query)
        except ApiError as error:
            if error.status != 404:
                raise

    @asynccontextmanager
    async def socket(
        self, path: str, query: list[tuple[str, str]]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse[Any]]:
        """A WebSocket to a subresource. Raises what aiohttp does."""
        _, url, headers, *_ = await self._api.param_serialize(
            "GET", path, query_params=query, header_params={}, auth_settings=_AUTHENTICATION
        )
        connecting = self._session.ws_connect(
            url, headers=headers, protocols=(_PROTOCOL,), **self._how
        )
        async with connecting as connected:
            yield connected

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """What to hold while a command runs. Gives what to call when its connection is made."""
        async with self._free:
            await self._connecting.acquire()
            waiting = True

            def connected() -> None:
                nonlocal waiting
                if waiting:
                    waiting = False
                    self._connecting.release()

            timer = asyncio.get_running_loop().call_later(_PATIENCE, connected)
            try:
                yield connected
            finally:
                timer.cancel()
                connected()

    def _socket(self, address: aiohttp.AddrInfoType) -> sockets.socket:
        family, kind, protocol, *_ = address
        if len(self._sockets) >= 2 * PARALLEL:
            self._sockets = [each for each in self._sockets if each.fileno() >= 0]
        self._sockets.append(sockets.socket(family, kind, protocol))
        return self._sockets[-1]

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            parameters = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=_AUTHENTICATION,
            )
            response = await self._api.call_api(*parameters, _request_timeout=_TIMEOUT)
            data = await response.read()
        except ApiException as error:
            raise self._refusal(error.status, str(error.reason)) from error
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise NoAccessError(
                f"{self.server} does not answer in {_TIMEOUT:.0f} s (check that the cluster runs)"
            ) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise NoAccessError(
                f"{self.server} cannot be trusted: {error.certificate_error} (check the "
                "kubeconfig's certificate-authority and server)"
            ) from error
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise NoAccessError(
                f"{self.server} cannot be reached: {error} (check that the cluster runs, and the "
                "kubeconfig)"
            ) from error
        document = _mapping(data)
        if response.status >= 300:
            said = (document or {}).get("message") or response.reason
            raise self._refusal(response.status, one_line(str(said)))
        if document is None:
            raise self._nonsense(response.status)
        return document

    def _nonsense(self, status: int) -> ApiError:
        return ApiError(
            status,
            f"{self.server} does not answer as Kubernetes does (check the kubeconfig's server, and "
            "what stands between)",
        )

    def _refusal(self, status: int, message: str) -> ClusterError:
        if status in (401, 403):
            return NoAccessError(
                f"{self.server} refuses: {message} (log in as one who may administer the cluster)"
            )
        return ApiError(status, f"{self.server} refuses: {message} (HTTP {status})")


def _mapping(data: bytes) -> dict[str, Any] | None:
    """What a body holds; None where that is no object, or nothing that can be read."""
    try:
        document = json.loads(data)
    # The second: brackets in brackets in brackets.
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _has_name(item: object) -> bool:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def _open_files() -> int:
    """How many files this process may have open: as many as it is allowed to allow itself."""
    if sys.platform == "win32":
        return 2 * PARALLEL
    # Windows has no such module.
    import resource  # noqa: PLC0415

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * PARALLEL if hard == resource.RLIM_INFINITY else min(2 * PARALLEL, hard)
    if soft < wanted:
        # macOS has limits besides that nobody is told of.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
