# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""An API server that knows just enough for kubectl to apply and delete the addon's objects.

Objects of a namespace that doesn't exist are refused, as are annotations longer than Kubernetes
allows: kubectl writes the whole object into one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

_LONGEST_ANNOTATIONS = 256 * 1024
_VERBS = ["create", "delete", "get", "list", "patch", "watch"]
_DISCOVERY: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": "apps",
                "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            }
        ],
    },
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "namespaces", "kind": "Namespace", "namespaced": False, "verbs": _VERBS},
            {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": _VERBS},
        ],
    },
    "/apis/apps/v1": {
        "kind": "APIResourceList",
        "groupVersion": "apps/v1",
        "resources": [
            {"name": "daemonsets", "kind": "DaemonSet", "namespaced": True, "verbs": _VERBS}
        ],
    },
}


class ApiServer:
    """The server's address, its objects by path, and the changes in the order they came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.objects: dict[str, Any] = {}
        self.changes: list[str] = []

    def create(self, folder: str, document: dict[str, Any]) -> tuple[int, Any]:
        metadata = document["metadata"]
        _, _, inside = folder.partition("/namespaces/")
        namespace = inside.partition("/")[0]
        if namespace and f"/api/v1/namespaces/{namespace}" not in self.objects:
            return 404, _failure(404, "NotFound", f"namespace {namespace} not found")
        if sum(len(k) + len(v) for k, v in metadata["annotations"].items()) > _LONGEST_ANNOTATIONS:
            return 422, _failure(422, "Invalid", "annotations are too long")
        self.objects[f"{folder}/{metadata['name']}"] = document
        self.changes.append(f"create {document['kind']} {metadata['name']}")
        return 201, document

    def delete(self, path: str) -> tuple[int, Any]:
        document = self.objects.pop(path, None)
        if document is None:
            return 404, _failure(404, "NotFound", "not found")
        self.changes.append(f"delete {document['kind']} {document['metadata']['name']}")
        # With a namespace goes what is in it.
        for inside in [found for found in self.objects if f"{path.split('/v1')[1]}/" in found]:
            del self.objects[inside]
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def get(self, path: str) -> tuple[int, Any]:
        found = _DISCOVERY.get(path) or self.objects.get(path)
        return (200, found) if found else (404, _failure(404, "NotFound", "not found"))


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """A server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, document: Any) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")

        def do_GET(self) -> None:
            self._answer(*server.get(self.path.partition("?")[0]))

        def do_POST(self) -> None:
            self._answer(*server.create(self.path.partition("?")[0], self._body()))

        def do_DELETE(self) -> None:
            self._body()
            self._answer(*server.delete(self.path.partition("?")[0]))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = ApiServer(f"http://127.0.0.1:{listener.server_port}")
    thread = Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def _failure(code: int, reason: str, message: str) -> dict[str, Any]:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return {**status, "code": code, "reason": reason, "message": message}
