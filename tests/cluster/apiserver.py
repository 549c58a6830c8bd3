# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A Kubernetes API server over TLS, good enough for Helm, kubectl and the official client."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from aiohttp import WSMsgType, web
from tests.cluster import discovery, patches, protobuf
from tests.cluster.controllers import environment, mark_deleted
from tests.cluster.node import FakeNode, Reply
from tests.cluster.store import Object, Refusal, Resource, Store, matches, resource

TOKEN = "an-administrator"
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
# Channels of those protocols: a frame's first byte.
_STDOUT, _STDERR, _ERROR = 1, 2, 3
#: A verb, a resource and a namespace, empty for all of the cluster.
Right = tuple[str, str, str]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiServer:
    """Serves a store. The rest says what shall go wrong.

    `forbidden`: (HTTP method, resource) that are refused, "*" for any. `fails`: the same, answered
    with HTTP 500; `hangs`: not answered at all. Commands in pods are the resource "exec". `leaves`:
    it goes away when the first of them is asked for; `gone`: it is, all connections break.
    `bodies`: what the list of a resource is answered with, an HTTP status and a body. `granted`:
    the only rights that a user has, as (verb, resource, namespace), None for all. `asked` are those
    that were needed, `impersonated` the headers Impersonate-* of each request, and `commands` those
    that ran in pods, with the node's name.
    """

    def __init__(self, store: Store, nodes: Mapping[str, FakeNode]) -> None:
        self._store = store
        self._nodes = nodes
        self.forbidden: set[tuple[str, str]] = set()
        self.fails: set[tuple[str, str]] = set()
        self.hangs: set[tuple[str, str]] = set()
        self.leaves = False
        self.gone = False
        self.bodies: dict[str, tuple[int, bytes]] = {}
        self.granted: set[Right] | None = None
        self.asked: set[Right] = set()
        self.impersonated: list[list[tuple[str, str]]] = []
        self.commands: list[tuple[str, list[str]]] = []

    async def start(self, certificate: Path) -> int:
        """The port."""
        app = web.Application(middlewares=[self._guard], client_max_size=16 * 2**20)
        app.router.add_get("/{path:version|openapi/v3.*|api|apis|api/v1|apis/[^/]+/v1}", _discover)
        for prefix in ("/api/v1", "/apis/{group}/v1"):
            for space in ("", "/namespaces/{namespace}"):
                path = f"{prefix}{space}/{{resource}}"
                app.router.add_route("*", path, self._collection)
                app.router.add_route("*", f"{path}/{{name}}", self._object)
        app.router.add_route(
            "*", "/api/v1/namespaces/{namespace}/{resource}/{name}/exec", self._exec
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        # Commands in pods are a right of their own.
        running = request.path.endswith("/exec")
        name = "exec" if running else request.match_info.get("resource", "")
        self.gone |= running and self.leaves
        if self.gone:
            assert request.transport
            request.transport.abort()
        asked = {(request.method, name), ("*", name), ("*", "*")}
        if asked & self.hangs:
            await asyncio.sleep(600)
        try:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refusal(401, "Unauthorized", "Unauthorized")
            self._count(request)
            if asked & self.forbidden or not self._may(request):
                raise Refusal(403, "Forbidden", f'{name} is forbidden: User "u" cannot do that')
            if asked & self.fails:
                raise Refusal(500, "InternalError", "etcdserver: no space")
            return await handler(request)
        except Refusal as refusal:
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": refusal.status,
                "reason": refusal.reason,
                "message": str(refusal),
            }
            return web.json_response(status, status=refusal.status)

    def _count(self, request: web.Request) -> None:
        self.asked |= _rights(request)
        headers = request.headers.items()
        self.impersonated.append([item for item in headers if item[0].startswith("Impersonate-")])

    def _may(self, request: web.Request) -> bool:
        return self.granted is None or _rights(request) <= self.granted

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        namespace, about = _place(request)
        labels = request.query.get("labelSelector", "")
        fields = request.query.get("fieldSelector", "")
        if request.method == "POST":
            created = self._store.create(about.name, namespace, await _body(request))
            return web.json_response(await self._told(created), status=201)
        if request.query.get("watch") in ("1", "true"):
            return await self._watch(request, about, namespace, labels, fields)
        if about.name in self.bodies:
            status, body = self.bodies[about.name]
            return web.Response(status=status, body=body, content_type="application/json")
        items = self._store.list(about.name, namespace, labels, fields)
        if request.method == "DELETE":
            for item in items:
                self._end(about.name, namespace, item["metadata"]["name"], {})
            await self._told({})
        return web.json_response(
            {
                "kind": f"{about.kind}List",
                "apiVersion": about.version,
                "metadata": {"resourceVersion": str(self._store.version)},
                "items": items,
            }
        )

    async def _object(self, request: web.Request) -> web.StreamResponse:
        namespace, about = _place(request)
        name = request.match_info["name"]
        key = about.name, namespace, name
        if request.method == "GET":
            return web.json_response(self._store.get(*key))
        body = await _body(request)
        if request.method == "DELETE":
            self._end(*key, body)
            return web.json_response(
                await self._told({"kind": "Status", "apiVersion": "v1", "status": "Success"})
            )
        if request.method == "PUT":
            return web.json_response(
                await self._told(self._store.replace(about.name, namespace, body))
            )
        kind = request.content_type
        if kind == "application/apply-patch+yaml":
            done = self._store.apply(*key, request.query["fieldManager"], body)
        else:
            patch = {
                "application/merge-patch+json": patches.merge,
                "application/strategic-merge-patch+json": patches.strategic_merge,
            }[kind]
            done = self._store.change(*key, lambda old: patch(old, body))
        return web.json_response(await self._told(done))

    def _end(self, kind: str, namespace: str, name: str, options: Object) -> None:
        """Pods and namespaces end in their own time, unless they must at once."""
        self._store.get(kind, namespace, name)
        if kind in ("pods", "namespaces") and options.get("gracePeriodSeconds") != 0:
            self._store.change(kind, namespace, name, mark_deleted)
        else:
            self._store.remove(kind, namespace, name)

    async def _told(self, answer: Object) -> Object:
        async with self._store.changed:
            self._store.changed.notify_all()
        return answer

    async def _watch(
        self, request: web.Request, about: Resource, namespace: str, labels: str, fields: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        version = int(request.query.get("resourceVersion") or 0)
        while True:
            for change in list(self._store.since(version)):
                version = change.version
                item = change.object
                if (
                    change.resource == about
                    and (not namespace or item["metadata"].get("namespace") == namespace)
                    and matches(item, labels, fields)
                ):
                    line = json.dumps({"type": change.type, "object": item}) + "\n"
                    await response.write(line.encode())
            async with self._store.changed:
                await self._store.changed.wait()

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        pod = self._store.get("pods", request.match_info["namespace"], request.match_info["name"])
        node = self._nodes[pod["spec"]["nodeName"]]
        if node.gone:
            raise Refusal(500, "InternalError", "error dialing backend: no route to host")
        if node.lost:
            await asyncio.sleep(600)
        command = request.query.getall("command")
        self.commands.append((node.name, command))
        socket = web.WebSocketResponse(protocols=_PROTOCOLS)
        await socket.prepare(request)
        if node.silent:
            # Until the client gives up.
            while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, 0x101):
                pass
            return socket
        for frame in node.frames or ():
            await socket.send_bytes(frame)
        if node.frames:
            await socket.close()
            return socket
        await asyncio.sleep(node.slow)
        reply = await node.reply(pod, environment(pod)["POLICY_SHA256"][:12], command)
        for channel, text in ((_STDOUT, reply.output), (_STDERR, reply.error)):
            # In pieces, as from a pipe.
            data = text.encode()
            for start in range(0, len(data), 1000):
                await socket.send_bytes(bytes([channel]) + data[start : start + 1000])
        await socket.send_bytes(bytes([_ERROR]) + json.dumps(_outcome(reply)).encode())
        await socket.close()
        return socket


def _outcome(reply: Reply) -> dict[str, Any]:
    if reply.code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit code {reply.code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(reply.code)}]},
    }


async def _discover(request: web.Request) -> web.StreamResponse:
    found = discovery.document(request.path)
    if found is None:
        raise Refusal(404, "NotFound", "not found")
    return web.json_response(found)


def _rights(request: web.Request) -> set[Right]:
    """What a user must be allowed for the request; nothing to look at what the server has."""
    if "resource" not in request.match_info:
        return set()
    place = request.match_info["resource"], request.match_info.get("namespace", "")
    if request.path.endswith("/exec"):
        # Both since Kubernetes 1.35.
        return {(verb, f"{place[0]}/exec", place[1]) for verb in ("get", "create")}
    one = "name" in request.match_info
    verbs = {"GET": "get" if one else "list", "POST": "create", "PUT": "update", "PATCH": "patch"}
    return {(verbs.get(request.method, "delete"), *place)}


def _place(request: web.Request) -> tuple[str, Resource]:
    """The namespace, empty for none, and the resource. Raises Refusal."""
    try:
        about = resource(request.match_info["resource"])
    except StopIteration:
        raise Refusal(404, "NotFound", "the server could not find the requested resource") from None
    return request.match_info.get("namespace", ""), about


async def _body(request: web.Request) -> Any:
    if request.content_type == protobuf.CONTENT_TYPE:
        return protobuf.decode(await request.read())
    text = await request.text()
    # JSON is YAML, but tabs and speed speak for its own parser.
    return json.loads(text) if text.startswith("{") else yaml.safe_load(text) or {}
