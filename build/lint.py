# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Runs every linter, two at a time, and prints what the failing ones say: `make lint`."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CHART = "addons/udp-security/chart"
# All Kubernetes objects: manifests/ is the rendered chart.
OBJECTS = (
    "addons/udp-security/manifests",
    "tooling/udp_security/k2s/gitops_sync/sync-job.yaml",
)
SCHEMAS = ".tools/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json"
# Programs that these linters start themselves.
ALSO_NEEDED = {
    "ct lint": ("helm", "yamale", "yamllint"),
    "generated files": ("helm",),
}


class Linter(NamedTuple):
    """One check: a name to print and the command whose exit code decides."""

    name: str
    command: list[str]


def linters() -> list[Linter]:
    """All checks, the slow ones first."""
    # With all that it sources.
    agent = ["-x", "-a", "-P", "SCRIPTDIR", f"{CHART}/files/linux/agent.sh"]
    python = ["tooling", "tests", "build"]
    return [
        Linter("mypy", ["mypy", *python]),
        Linter("ct lint", ["ct", "lint", "--config", "ct.yaml", "--charts", CHART]),
        Linter("generated files", [sys.executable, "build/generate.py", "--check"]),
        Linter("ruff check", ["ruff", "check", "."]),
        Linter("ruff format", ["ruff", "format", "--check", "."]),
        # Two shells' rules: the agent runs in busybox, tests and people may run it in dash.
        Linter("shellcheck agent (busybox)", ["shellcheck", "--shell=busybox", *agent]),
        Linter("shellcheck agent (dash)", ["shellcheck", "--shell=dash", *agent]),
        Linter("shellcheck scripts", ["shellcheck", ".ci/run", *scripts()]),
        Linter("yamllint", ["yamllint", "--strict", "."]),
        Linter("helm lint", ["helm", "lint", "--strict", CHART]),
        Linter("kubeconform", ["kubeconform", "-strict", "-schema-location", SCHEMAS, *OBJECTS]),
        Linter("reuse", ["reuse", "lint", "--lines"]),
    ]


def scripts() -> list[str]:
    """The shell scripts of build/, which have no suffix."""
    found = [path for path in (ROOT / "build").iterdir() if path.is_file()]
    return sorted(str(path) for path in found if path.read_bytes().startswith(b"#!/bin/sh"))


def main() -> int:
    """Run all; 1 when one fails, or under CI=true when one cannot run."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(_run, linters()))
    failed = [name for name, passed in results if not passed]
    if failed:
        print(f"lint: failed: {', '.join(failed)}")
        return 1
    return 0


def _run(linter: Linter) -> tuple[str, bool]:
    programs = (linter.command[0], *ALSO_NEEDED.get(linter.name, ()))
    missing = [program for program in programs if shutil.which(program) is None]
    if linter.name == "reuse" and not _git_work_tree():
        # Without git it cannot tell the project's files from what make installed.
        missing.append("git work tree")
    if missing:
        print(f"lint: {linter.name}: NOT RUN, no {', '.join(missing)}", flush=True)
        return linter.name, os.environ.get("CI") != "true"
    done = subprocess.run(
        linter.command,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    passed = done.returncode == 0
    output = "" if passed else f"\n{done.stdout.rstrip()}"
    print(f"lint: {linter.name}: {'passed' if passed else 'FAILED'}{output}", flush=True)
    return linter.name, passed


def _git_work_tree() -> bool:
    command = ["git", "-C", str(ROOT), "rev-parse", "--is-inside-work-tree"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
