# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The project's virtual environment `.venv`: the locked development packages and the project."""

import shutil
import sys
from pathlib import Path

from commands import run
from project import REQUIREMENTS, ROOT, VENV, Stamp, key_of
from report import say

BACKENDS = REQUIREMENTS / "build.txt"
LOCK = REQUIREMENTS / "dev.txt"
PYTHON = VENV / "bin" / "python"


def install() -> None:
    """Make `.venv`, or make it anew when a lock or Python changed.

    Raises Missing when the packages cannot be had.
    """
    # Scripts in .venv name the folder they were made in, so a copied project needs its own.
    packages_key = key_of(BACKENDS, LOCK, str(ROOT), sys.version)
    packages = Stamp("venv", packages_key)
    if not packages.fresh(PYTHON):
        packages.clear()
        say("installing Python packages into .venv (locked by requirements/dev.txt)")
        create(VENV)
        # Without build isolation, which would fetch build backends that no lock names. Compiling
        # all modules now would take longer than what is ever imported takes later.
        pip("install", "--no-compile", *locked(BACKENDS))
        pip("install", "--no-compile", "--no-build-isolation", *locked(LOCK), "--no-binary=reuse")
        packages.set()
    project = Stamp("project", key_of(packages_key, ROOT / "pyproject.toml"))
    if not project.fresh(VENV / "bin" / "udp-security"):
        project.clear()
        pip("install", "--no-deps", "--no-build-isolation", "--editable", ROOT)
        project.set()


def create(folder: Path) -> None:
    """Make an empty virtual environment in place of what is there. Raises Missing."""
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", folder], remedy="install another Python >= 3.10, with venv")


def pip(*words: str | Path, venv: Path = VENV) -> None:
    """Run a virtual environment's pip. Raises Missing."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    run(
        [venv / "bin" / "python", "-m", "pip", *options, *words],
        remedy="check that this machine reaches a Python package index (pip's configuration)",
    )


def locked(lock: Path) -> tuple[str | Path, ...]:
    """pip's options for exactly what a lock names, as wheels: nothing is built by surprise."""
    return ("--only-binary", ":all:", "--require-hashes", "--requirement", lock)
