# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the commands that work on a running cluster share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click

from udp_security import helm
from udp_security.cli.errors import CannotRunError, UserError
from udp_security.cli.patience import hush, patience, say

#: Told how many of how many agents have answered.
Heard = Callable[[int, int], None]

_Result = TypeVar("_Result")
# Seconds.
_PROGRESS = 1.0


def cluster_options(command: click.decorators.FC) -> click.decorators.FC:
    """Adds --kubeconfig and --context."""
    command = click.option(
        "--context",
        metavar="NAME",
        help="The kubeconfig's context; its current one by default.",
    )(command)
    return click.option(
        "--kubeconfig",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, readable=True),
        help="By default $KUBECONFIG, else ~/.kube/config.",
    )(command)


def timeout_option(default: int, what: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Adds --timeout (seconds)."""
    return click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.IntRange(1, 3600),
        default=default,
        show_default=True,
        help=what,
    )


@asynccontextmanager
async def counting() -> AsyncIterator[Heard]:
    """Tells of answers on standard error while the work takes its time, a line a second."""
    answered, asked = 0, 0

    def heard(now: int, of: int) -> None:
        nonlocal answered, asked
        answered, asked = now, of
        hush()

    async def tell() -> None:
        told = None
        while True:
            await asyncio.sleep(_PROGRESS)
            if asked and (answered, asked) != told:
                told = answered, asked
                say(f"asked {asked} nodes, {answered} have answered")

    telling = asyncio.create_task(tell())
    try:
        yield heard
    finally:
        telling.cancel()


def executable() -> str:
    """Helm's path; without Helm the command ends."""
    try:
        return helm.find()
    except helm.HelmMissingError as error:
        raise CannotRunError(str(error)) from error


def in_cluster(
    work: Coroutine[Any, Any, _Result],
    state: Callable[[], str] | None = None,
    what: str = "Waiting for the cluster's API server, or for the login",
    *,
    changing: bool = False,
) -> _Result:
    """Does the work; what the cluster doesn't do ends the command.

    Ctrl-C ends it as well, with what `state` then tells of what is left behind. `what` is said
    after a second in which nothing else was. A request that the API server fails ends work that
    is `changing` the cluster as failed, and any other like a server that cannot be asked.
    """
    try:
        with patience(what):
            return _in_cluster(work, changing=changing)
    except KeyboardInterrupt:
        if state:
            click.echo(f"\nInterrupted. {state()}", err=True)
        raise click.Abort from None
    finally:
        # Ctrl-C may come before it has begun.
        work.close()


def _in_cluster(work: Coroutine[Any, Any, _Result], *, changing: bool) -> _Result:
    # Imported here since it is slow and few commands need it.
    from udp_security.cluster.client import ApiError, ClusterError, NoAccessError  # noqa: PLC0415

    try:
        return asyncio.run(work)
    except NoAccessError as error:
        raise CannotRunError(str(error)) from error
    except ApiError as error:
        raise (UserError if changing else CannotRunError)(str(error)) from error
    except ClusterError as error:
        raise UserError(str(error)) from error
