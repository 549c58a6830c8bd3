# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security package`: what is in the artifact, read by a reader that shares no code with it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import udp_security
from udp_security.cli.main import cli

from . import artifact_draft as draft
from . import artifact_reader as reader
from .artifact_places import ADDON, CHART, MANIFESTS, ROOT, tool

FILE = "K2s-2.0.0-addons-udp-security.oci.tar"
LINUX = "docker.io/flannel/flannel:0.28.9"
WINDOWS = "shsk2s.azurecr.io/pause-win:v1.8.0"

Package = Callable[..., Result]


def package(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["package", *map(str, arguments)], prog_name="udp-security")


def packaged(folder: Path, *arguments: str | Path, name: str = FILE) -> Path:
    """The file, written without a complaint."""
    done = package("--output", folder, *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [path.name for path in folder.iterdir()] == [name]
    return folder / name


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> reader.Artifact:
    return reader.read(packaged(tmp_path_factory.mktemp("artifact")))


@pytest.fixture(scope="module")
def about() -> Any:
    """What the addon's manifest says."""
    return yaml.safe_load((ADDON / "addon.manifest.yaml").read_text(encoding="utf-8"))


def version(about: Any) -> str:
    return str(about["spec"]["implementations"][0]["version"])


def test_the_index(artifact: reader.Artifact, about: Any) -> None:
    assert artifact.index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    reference = artifact.reference
    assert reference["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert reference["artifactType"] == "application/vnd.k2s.addon.v1"
    assert reference["annotations"] == {
        "org.opencontainers.image.ref.name": f"v{version(about)}",
        "org.opencontainers.image.title": "udp-security",
        "org.opencontainers.image.version": version(about),
        "vnd.k2s.addon.name": "udp-security",
        "vnd.k2s.addon.implementation": "udp-security",
        "vnd.k2s.addon.export-name": "udp-security",
    }


def test_the_manifest(artifact: reader.Artifact) -> None:
    manifest = artifact.manifest
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["artifactType"] == "application/vnd.k2s.addon.v1"
    assert manifest["config"]["mediaType"] == "application/vnd.k2s.addon.config.v1+json"
    titles = [layer["annotations"] for layer in manifest["layers"]]
    assert [
        (layer["mediaType"], title) for layer, title in zip(manifest["layers"], titles, strict=True)
    ] == [
        (media_type, {"org.opencontainers.image.title": title})
        for media_type, title in list(draft.TITLES.items())[:4]
    ]
    # A copy in a registry has lost the index.
    for key, value in artifact.reference["annotations"].items():
        if key != "org.opencontainers.image.ref.name":
            assert manifest["annotations"][key] == value


def test_the_config(artifact: reader.Artifact, about: Any) -> None:
    assert artifact.config == {
        "name": "udp-security",
        "implementation": "udp-security",
        "version": version(about),
        "description": about["metadata"]["description"],
        "k2sVersion": "2.0.0",
        "exportDate": "1980-01-01T00:00:00Z",
    }


def test_nothing_else_is_in_it(artifact: reader.Artifact) -> None:
    descriptors = [artifact.reference, artifact.manifest["config"], *artifact.manifest["layers"]]
    blobs = {f"blobs/sha256/{each['digest'].removeprefix('sha256:')}" for each in descriptors}
    assert set(artifact.files) == {"oci-layout", "index.json", *blobs}


def test_the_config_files(artifact: reader.Artifact) -> None:
    manifest = ADDON / "addon.manifest.yaml"
    assert artifact.unpacked(reader.CONFIG_FILES) == {manifest.name: manifest.read_bytes()}


def test_the_manifests(artifact: reader.Artifact) -> None:
    files = artifact.unpacked(reader.MANIFESTS)
    sync = {path: files.pop(path) for path in list(files) if path.startswith("gitops-sync/")}
    assert set(sync) == {"gitops-sync/kustomization.yaml", "gitops-sync/sync-job.yaml"}
    assert files == _tree(MANIFESTS)


def test_the_charts(artifact: reader.Artifact) -> None:
    assert artifact.unpacked(reader.CHARTS) == _tree(MANIFESTS / "chart")


def test_the_scripts(artifact: reader.Artifact) -> None:
    files = artifact.unpacked(reader.SCRIPTS)
    assert files == {path: data for path, data in _tree(ADDON).items() if path in files}
    for name in ("Enable.ps1", "Disable.ps1", "Get-Status.ps1", "udp-security.module.psm1"):
        assert name in files
    assert "README.md" in files


def test_the_chart_alone_travels_in_another_form(artifact: reader.Artifact, tmp_path: Path) -> None:
    """Whatever the addon's scripts need, an import brings."""
    folder = artifact.import_into(tmp_path)
    imported = _tree(folder)
    lost = {path for path in _tree(ADDON) if path not in imported}
    assert {path.split("/")[0] for path in lost} == {"chart"}
    added = {path for path in imported if not (ADDON / path).exists()}
    assert {path.rpartition("/")[0] for path in added} == {"manifests/gitops-sync"}


def test_helm_renders_the_imported_chart(artifact: reader.Artifact, tmp_path: Path) -> None:
    folder = artifact.import_into(tmp_path)
    (chart,) = (folder / "manifests" / "chart").iterdir()
    outputs = [
        subprocess.run(
            [tool("helm"), "template", "udp-security", str(path)],
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for path in (chart, CHART)
    ]
    assert outputs[0] == outputs[1]


def test_the_sync_job(artifact: reader.Artifact) -> None:
    """What K2s's rollout addon, which runs it, has and expects."""
    files = artifact.unpacked(reader.MANIFESTS)
    kustomization = yaml.safe_load(files["gitops-sync/kustomization.yaml"])
    assert kustomization["kind"] == "Kustomization"
    assert kustomization["resources"] == ["sync-job.yaml"]
    job = yaml.safe_load(files["gitops-sync/sync-job.yaml"])
    assert (job["kind"], job["metadata"]["namespace"]) == ("Job", "k2s-addon-sync")
    assert job["metadata"]["name"] == "addon-sync-udp-security"
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "addon-sync-processor"
    assert pod["nodeSelector"] == {"kubernetes.io/os": "windows"}
    assert pod["hostNetwork"]
    assert pod["securityContext"]["windowsOptions"]["hostProcess"]
    (container,) = pod["containers"]
    words = container["command"] + container["args"]
    assert words[words.index("-File") + 1] == r"C:\scripts\Sync-Addons.ps1"
    assert dict(zip(container["args"][::2], container["args"][1::2], strict=True)) == {
        "-AddonName": "udp-security",
        "-RegistryUrl": "$(REGISTRY_URL)",
        "-Insecure": "$(INSECURE)",
        "-K2sInstallDir": "$(K2S_INSTALL_DIR)",
        "-OrasExe": r"$(K2S_INSTALL_DIR)\bin\oras.exe",
    }
    environment = {item["name"]: item for item in container["env"]}
    assert environment.pop("CONTAINER_SANDBOX_MOUNT_POINT")["value"] == "C:\\"
    assert {name: item["valueFrom"]["configMapKeyRef"] for name, item in environment.items()} == {
        name: {"name": "addon-sync-config", "key": name}
        for name in ("REGISTRY_URL", "INSECURE", "K2S_INSTALL_DIR")
    }
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert (mount["mountPath"], mount["name"]) == (r"C:\scripts", volume["name"])
    assert volume["configMap"] == {"name": "addon-sync-script"}


def test_another_content_makes_another_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flux replaces a job whose template differs; a job that is done it leaves alone."""
    digests = set()
    for name, text in (("a", None), ("b", None), ("c", "another\n")):
        root = tmp_path / name
        shutil.copytree(ADDON, root / "addon")
        if text:
            (root / "addon" / "README.md").write_text(text)
        monkeypatch.setattr("udp_security.chart._INSTALLED", root / "addon" / "chart")
        (root / "out").mkdir()
        files = reader.read(packaged(root / "out")).unpacked(reader.MANIFESTS)
        job = yaml.safe_load(files["gitops-sync/sync-job.yaml"])
        (digest,) = job["spec"]["template"]["metadata"]["annotations"].values()
        assert len(digest) == 64
        digests.add((text, digest))
    assert len(digests) == 2


def test_images_are_taken_as_they_are(tmp_path: Path) -> None:
    tars = {
        "linux": draft.tar({"flannel.tar": draft.oci_archive(LINUX)}),
        "windows": draft.tar({"pause.tar": draft.oci_archive(WINDOWS)}),
    }
    options: list[str | Path] = []
    for system, data in tars.items():
        (tmp_path / f"{system}.tar").write_bytes(data)
        options += [f"--images-{system}", tmp_path / f"{system}.tar"]
    (tmp_path / "out").mkdir()
    artifact = reader.read(packaged(tmp_path / "out", *options))
    assert artifact.layers[reader.IMAGES_LINUX] == tars["linux"]
    assert artifact.layers[reader.IMAGES_WINDOWS] == tars["windows"]
    titles = [each["annotations"] for each in artifact.manifest["layers"]]
    assert [title["org.opencontainers.image.title"] for title in titles] == list(
        draft.TITLES.values()
    )


def test_what_it_says(tmp_path: Path) -> None:
    done = package("--output", tmp_path)
    first, *others = done.stdout.splitlines()
    assert first.startswith(f"{tmp_path / FILE}: ")
    assert others == [
        f"Without images for Linux nodes (--images-linux): {LINUX}",
        f"Without images for Windows nodes (--images-windows): {WINDOWS}",
    ]


def test_the_version_of_k2s(tmp_path: Path) -> None:
    name = "K2s-2.1.0-rc.1-addons-udp-security.oci.tar"
    artifact = reader.read(packaged(tmp_path, "--k2s-version", "2.1.0-rc.1", name=name))
    assert artifact.config["k2sVersion"] == "2.1.0-rc.1"
    assert artifact.manifest["annotations"]["vnd.k2s.version"] == "2.1.0-rc.1"


def test_the_same_bytes_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From anywhere, in any time zone, and from a copy whose files have other times and modes."""
    root = tmp_path / "a copy"
    shutil.copytree(ADDON, root, copy_function=shutil.copyfile)
    for path in root.rglob("*"):
        path.chmod(0o700)
    found = set()
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("TZ", ("UTC", "Asia/Tokyo", "UTC")[number])
        if number == 2:
            monkeypatch.setattr("udp_security.chart._INSTALLED", root / "chart")
        found.add(hashlib.sha256(packaged(folder).read_bytes()).hexdigest())
    assert len(found) == 1


def test_an_installed_wheel_writes_the_same(tmp_path: Path) -> None:
    """Without a checkout, without Helm."""
    build = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        str(tmp_path / "dist"),
    ]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "udp_security", "package", "--output", "out"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path / "site")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "here").mkdir()
    assert (tmp_path / "out" / FILE).read_bytes() == packaged(tmp_path / "here").read_bytes()
    assert not Path(udp_security.__file__).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("system", "content", "said"),
    [
        ("linux", b"no tar", "images-linux.tar: not a tar of oci-archives"),
        ("windows", draft.tar({}), f"images-windows.tar: {WINDOWS}, which the addon needs"),
        ("linux", draft.oci_archive(LINUX), "images-linux.tar: oci-layout: not an oci-archive"),
    ],
)
def test_images_that_k2s_could_not_import(
    tmp_path: Path, system: str, content: bytes, said: str
) -> None:
    (tmp_path / "images.tar").write_bytes(content)
    (tmp_path / "out").mkdir()
    done = package("--output", tmp_path / "out", f"--images-{system}", tmp_path / "images.tar")
    assert done.exit_code == 1
    assert f"\n  {said}" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    before = packaged(tmp_path).read_bytes()
    (tmp_path / "images").write_bytes(b"no tar")
    assert package("--output", tmp_path, "--images-linux", tmp_path / "images").exit_code == 1
    assert (tmp_path / FILE).read_bytes() == before
    (tmp_path / "images").unlink()
    packaged(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda addon: (addon / "chart" / "values.yaml").write_text("a: b\n"), "make generate"),
        (lambda addon: shutil.rmtree(addon / "manifests"), "make generate"),
        (lambda addon: (addon / "addon.manifest.yaml").unlink(), "there is no"),
        (lambda addon: (addon / "addon.manifest.yaml").write_text("a: ["), "no YAML"),
        (lambda addon: (addon / "addon.manifest.yaml").write_text("a: b"), "not an addon manifest"),
    ],
)
def test_an_addon_that_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], said: str
) -> None:
    shutil.copytree(ADDON, tmp_path / "addon")
    change(tmp_path / "addon")
    monkeypatch.setattr("udp_security.chart._INSTALLED", tmp_path / "addon" / "chart")
    (tmp_path / "out").mkdir()
    done = package("--output", tmp_path / "out")
    assert done.exit_code == 2
    assert said in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--k2s-version", "two"], "'two' is no version of K2s"),
        (["--k2s-version", "../2.0.0"], "is no version of K2s"),
        (["--output", "missing"], "does not exist"),
        (["--images-linux", "missing"], "does not exist"),
        (["--verify", "missing"], "does not exist"),
        (["--verify", __file__, "--output", "/"], "leave out --output"),
        (["--verify", __file__, "--k2s-version", "2.0.0"], "leave out --k2s-version"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    done = package(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def _tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
