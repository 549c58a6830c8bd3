# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a kubeconfig says of the cluster, as the official client wants it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config_from_dict

from udp_security.cluster import kubeconfig as files
from udp_security.cluster.proxies import proxy_of
from udp_security.cluster.words import one_line

_LOG = logging.getLogger("kubernetes.aio.config")
# The library's name for what the header Authorization says.
_TOKEN = "BearerToken"


@dataclass(frozen=True)
class Login:
    """Where the API server is and as whom to ask it. `headers` go with every request."""

    configuration: Configuration
    headers: list[tuple[str, str]]


async def log_in(kubeconfig: str | None, context: str | None) -> Login:
    """Reads the kubeconfig and runs its login plugin. Raises ValueError and OSError.

    None: as kubectl chooses, by $KUBECONFIG, then ~/.kube/config and its current context.
    """
    config = files.merged(kubeconfig)
    name, user = files.user_of(config, context)
    configuration = Configuration()
    complaints: list[str] = []
    try:
        with _told_to(complaints):
            await load_kube_config_from_dict(config, context, client_configuration=configuration)
        configuration.proxy = proxy_of(configuration.host, configuration.proxy, os.environ)
    except ConfigException as error:
        raise ValueError(str(error)) from error
    # What it stumbles over where something is of another kind.
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the kubeconfig is not what it should be: {error}") from error
    if complaints:
        raise ValueError(f"the login fails: {one_line(complaints[0])}")
    if token := configuration.api_key.get(_TOKEN, "").strip():
        if not files.is_sendable(token):
            raise ValueError(f"the token of user {name} has control characters in it")
        configuration.api_key[_TOKEN] = token
    try:
        headers = files.impersonation(user)
    except ValueError as error:
        raise ValueError(f"user {name} cannot act as another: {error}") from error
    return Login(configuration, headers)


@contextmanager
def _told_to(complaints: list[str]) -> Iterator[None]:
    """Hears of a login plugin that fails: the library only logs it, and goes on without."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complaints.append(record.getMessage())

    handler = Handler(logging.ERROR)
    _LOG.addHandler(handler)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
