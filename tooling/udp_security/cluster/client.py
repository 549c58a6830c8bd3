# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""One cluster's API server: where the kubeconfig says it is, asked with the official client.

Objects are plain Python, as in the API's JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException, Configuration
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.stream import WsApiClient
from yaml import YAMLError

#: Requests and commands that run at the same time, of all nodes together.
PARALLEL = 100
_AUTHENTICATION = ["BearerToken"]
# Seconds. A list of a thousand nodes takes less than one.
_TIMEOUT = 15.0
_CLOSING = 0.25
_MERGE_PATCH = "application/merge-patch+json"


class ClusterError(Exception):
    """The cluster doesn't do what it was asked to; the message says what and why."""


class NoAccessError(ClusterError):
    """The cluster can't be asked: no kubeconfig, no answer, or no permission."""


class ApiError(ClusterError):
    """The API server refuses a request with this HTTP status."""

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
        configuration = Configuration()
        # Asked here, for the library looked at the environment when it was imported.
        paths = self.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
            raise NoAccessError(
                f"no cluster to talk to: there is no {paths} (check --kubeconfig and $KUBECONFIG)"
            )
        try:
            await load_kube_config(
                paths,
                self.context,
                client_configuration=configuration,
                persist_config=False,
            )
            configuration.connection_pool_maxsize = PARALLEL
            self._api = ApiClient(configuration)
            self._sockets = WsApiClient(configuration)
        # Besides ConfigException: what it stumbles over in a file that is none.
        except (
            ConfigException,
            YAMLError,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ) as error:
            raise NoAccessError(
                f"no cluster to talk to: {error or type(error).__name__} "
                "(check --kubeconfig, --context and $KUBECONFIG)"
            ) from error
        self.server = configuration.host
        self._free = asyncio.Semaphore(PARALLEL)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._api.close()
        await self._sockets.close()
        # Connections with TLS end a moment after they are closed.
        await asyncio.sleep(_CLOSING)

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """One object, or a list with its `items`."""
        return await self._request("GET", path, query=query)

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

    async def open_socket(self, path: str, query: list[tuple[str, str]]) -> Any:
        """A WebSocket to a subresource, as an async context manager."""
        parameters = await self._sockets.param_serialize(
            "GET", path, query_params=query, header_params={}, auth_settings=_AUTHENTICATION
        )
        return (await self._sockets.call_api(*parameters, _preload_content=False)).response

    def turn(self) -> asyncio.Semaphore:
        """What to hold while something runs that runs on many nodes at once."""
        return self._free

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
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise NoAccessError(
                f"{self.server} cannot be reached: {error} (check that the cluster runs, and the "
                "kubeconfig)"
            ) from error
        try:
            document = json.loads(data)
        except ValueError as error:
            raise NoAccessError(f"{self.server} does not answer as Kubernetes does") from error
        if response.status >= 300:
            raise self._refusal(response.status, document.get("message", response.reason))
        return dict(document)

    def _refusal(self, status: int, message: str) -> ClusterError:
        if status in (401, 403):
            return NoAccessError(
                f"{self.server} refuses: {message} (log in as one who may administer the cluster)"
            )
        return ApiError(status, f"{self.server} refuses: {message} (HTTP {status})")
