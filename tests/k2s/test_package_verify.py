# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security package --verify`: every way in which an artifact can be broken is told."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from udp_security.cli.main import cli
from udp_security.k2s.addon import parse
from udp_security.k2s.verify import violations

from . import artifact_draft as draft
from . import artifact_reader as reader

NAME = "K2s-2.0.0-addons-udp-security.oci.tar"
LINUX = "docker.io/flannel/flannel:0.28.9"
VERSION = "org.opencontainers.image.version"

Change = Callable[[draft.Draft], Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    done = CliRunner().invoke(cli, ["package", "--output", str(folder)])
    assert (done.exit_code, done.stderr) == (0, "")
    return folder / NAME


def verify(path: Path) -> list[str]:
    """The violations; asserts that the exit code goes with them."""
    done = CliRunner().invoke(cli, ["package", "--verify", str(path)])
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    found = [line.removeprefix(f"{path}: ") for line in lines]
    assert done.exit_code == (0 if found == ["valid"] else 1)
    return [] if found == ["valid"] else found


def test_a_good_one(good: Path) -> None:
    assert verify(good) == []


def test_a_good_one_of_somebody_else(good: Path, tmp_path: Path) -> None:
    """Compressed, with folders, `./` before the paths and images: as K2s exports it."""
    made = draft.Draft(reader.read(good))
    for media_type in (reader.CONFIG_FILES, reader.MANIFESTS, reader.CHARTS, reader.SCRIPTS):
        made.repack(media_type, {})
    made.layers[reader.IMAGES_LINUX] = draft.tar({"a.tar": draft.oci_archive(LINUX)})
    made.config |= {"k2sVersion": "v2.0.1", "exportDate": "2026-01-31T10:00:00Z"}
    made.last = {"./": b"", "./blobs/": b""}
    assert verify(made.write(tmp_path / NAME)) == []


def _set(part: str, key: str, value: Any) -> Change:
    def change(made: draft.Draft) -> None:
        document = made
        for name in part.split("."):
            document = document[name] if isinstance(document, dict) else getattr(document, name)
        document[key] = value  # type: ignore[index]

    return change


def _repack(media_type: str, changes: dict[str, bytes | None]) -> Change:
    return lambda made: made.repack(media_type, changes)


def _layer(media_type: str, content: bytes) -> Change:
    return lambda made: made.layers.update({media_type: content})


def _last(name: str, content: bytes | None) -> Change:
    return lambda made: made.last.update({name: content})


def _manifest(old: bytes, new: bytes) -> Change:
    """Another text in the addon.manifest.yaml."""

    def change(made: draft.Draft) -> None:
        files = reader.Artifact({}, {}, {}, {}, made.layers).unpacked(reader.CONFIG_FILES)
        text = files["addon.manifest.yaml"]
        assert old in text
        made.repack(reader.CONFIG_FILES, {"addon.manifest.yaml": text.replace(old, new)})

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # The layout.
        (_last("oci-layout", None), ["there is no oci-layout"]),
        (_last("oci-layout", b"{}"), ["oci-layout: must be of imageLayoutVersion '1.0.0'"]),
        (_last("oci-layout", b"\xef\xbb\xbf{}"), ["oci-layout: not ASCII, or it has a BOM"]),
        (_last("index.json", None), ["there is no index.json"]),
        (_last("index.json", b"{"), ["index.json: no JSON: "]),
        (_last("index.json", b"[]"), ["index.json: must be a JSON object"]),
        (_last("index.json", b'{"a": "\xc3\xa9"}'), ["index.json: not ASCII"]),
        (_last("../x", b""), ["'../x' would be unpacked elsewhere"]),
        (_last("/x", b""), ["'/x' would be unpacked elsewhere"]),
        (_last("C:/x", b""), ["'C:/x' would be unpacked elsewhere"]),
        (_last("a\\..\\x", b""), ["'a\\\\..\\\\x' would be unpacked elsewhere"]),
        (_last("./index.json", b"{}"), ["'./index.json' is there twice"]),
        # The index.
        (_set("index", "schemaVersion", 1), ["index.json: schemaVersion is 1 (must be 2)"]),
        (_set("index", "mediaType", "x"), ["index.json: mediaType is 'x' (must be "]),
        (
            lambda made: made.index["manifests"].append(made.reference),
            ["index.json: manifests must be a list of one"],
        ),
        (_set("reference", "mediaType", "x"), ["index.json: manifest: mediaType is 'x'"]),
        (_set("reference", "artifactType", "x"), ["index.json: manifest: artifactType is 'x'"]),
        (
            _set("reference", "annotations", None),
            ["index.json: manifest: there are no annotations"],
        ),
        *(
            (
                _set("reference.annotations", key, "x"),
                [f"index.json: manifest: annotations: {key} is 'x' (must be "],
            )
            for key in (
                "org.opencontainers.image.ref.name",
                "org.opencontainers.image.title",
                VERSION,
                "vnd.k2s.addon.name",
                "vnd.k2s.addon.implementation",
                "vnd.k2s.addon.export-name",
            )
        ),
        # The manifest and the config.
        (_set("manifest", "schemaVersion", "2"), ["manifest: schemaVersion is '2' (must be 2)"]),
        (_set("manifest", "artifactType", None), ["manifest: artifactType is None"]),
        (_set("manifest", "mediaType", None), ["manifest: mediaType is None"]),
        (_set("manifest.annotations", VERSION, "9"), [f"manifest: annotations: {VERSION} is '9'"]),
        (_set("manifest.config", "mediaType", "x"), ["config: mediaType is 'x'"]),
        (_set("config", "name", "x"), ["config: name is 'x' (must be 'udp-security')"]),
        (_set("config", "version", 1), ["config: version is 1 (must be "]),
        (_set("config", "implementation", "x"), ["config: implementation is 'x'"]),
        (_set("config", "description", "x"), ["config: description is 'x'"]),
        (_set("config", "k2sVersion", "2"), ["config: k2sVersion is '2'"]),
        (_set("config", "k2sVersion", None), ["config: k2sVersion is None"]),
        (_set("config", "exportDate", "today"), ["config: exportDate is 'today'"]),
        # The layers.
        *(
            (
                lambda made, media_type=media_type: made.layers.pop(media_type),
                [f"layers: there is no {title} ({media_type})"],
            )
            for media_type, title in list(draft.TITLES.items())[:4]
        ),
        (_layer("x/y", b""), ["layer 4: K2s knows no layers of mediaType 'x/y'"]),
        (
            lambda made: made.layers.update({reader.CHARTS: made.layers.pop(reader.CHARTS)}),
            ["layers: not each once, or not in K2s's order"],
        ),
        (
            lambda made: made.manifest["layers"][1]["annotations"].clear(),
            ["layer 1: annotations: org.opencontainers.image.title is None"],
        ),
        (_layer(reader.SCRIPTS, b"x"), ["scripts.tar.gz: no tar.gz, or cut off: "]),
        (_layer(reader.SCRIPTS, gzip.compress(b"x")), ["scripts.tar.gz: no tar.gz, or cut off: "]),
        (
            lambda made: made.layers.update({reader.CHARTS: made.layers[reader.CHARTS][:-30]}),
            ["charts.tar.gz: no tar.gz, or cut off: "],
        ),
        (_repack(reader.SCRIPTS, {"../x": b""}), ["scripts.tar.gz: '../x' would be unpacked"]),
        # The addon's files.
        (
            _repack(reader.CONFIG_FILES, {"addon.manifest.yaml": None}),
            ["config.tar.gz: addon.manifest.yaml is missing"],
        ),
        (
            _repack(reader.CONFIG_FILES, {"addon.manifest.yaml": b"a: ["}),
            ["config.tar.gz: addon.manifest.yaml: no YAML: "],
        ),
        (
            _repack(reader.CONFIG_FILES, {"addon.manifest.yaml": b"a: b"}),
            ["config.tar.gz: addon.manifest.yaml: not an addon manifest"],
        ),
        (
            _manifest(b'version: "0.1.0"', b"version: 0.1"),
            ["config.tar.gz: addon.manifest.yaml: version is 0.1 (write it as a string"],
        ),
        (
            _manifest(b"  name: udp-security\n  description", b"  name: other\n  description"),
            [
                "config.tar.gz: addon.manifest.yaml: name is 'other' (must be 'udp-security')",
                "config: name is 'udp-security' (must be 'other')",
                "manifest: annotations: org.opencontainers.image.title",
                "manifest: annotations: vnd.k2s.addon.name",
                "manifest: annotations: vnd.k2s.addon.export-name",
                "index.json: manifest: annotations: org.opencontainers.image.title",
                "index.json: manifest: annotations: vnd.k2s.addon.name",
                "index.json: manifest: annotations: vnd.k2s.addon.export-name",
                "charts.tar.gz: other-0.1.0.tgz is missing (Enable.ps1 installs it)",
            ],
        ),
        *(
            (
                _repack(reader.MANIFESTS, {f"gitops-sync/{name}": None}),
                [f"manifests.tar.gz: gitops-sync/{name} is missing (Flux applies it)"],
            )
            for name in ("kustomization.yaml", "sync-job.yaml")
        ),
        (
            _repack(reader.MANIFESTS, {"linux-daemonset.yaml": b"a: ["}),
            ["manifests.tar.gz: linux-daemonset.yaml is no YAML: "],
        ),
        (
            _repack(reader.MANIFESTS, {"chart/udp-security-0.1.0.tgz": b""}),
            ["charts.tar.gz and chart/ of manifests.tar.gz differ"],
        ),
        (
            _repack(reader.CHARTS, {"udp-security-0.1.0.tgz": None}),
            [
                "charts.tar.gz: udp-security-0.1.0.tgz is missing (Enable.ps1 installs it)",
                "charts.tar.gz and chart/ of manifests.tar.gz differ",
            ],
        ),
        (
            _repack(reader.CHARTS, {"udp-security-0.1.0.tgz": gzip.compress(draft.tar({}))}),
            [
                "charts.tar.gz: udp-security-0.1.0.tgz is not the chart udp-security of version",
                "charts.tar.gz and chart/ of manifests.tar.gz differ",
            ],
        ),
        (
            _repack(reader.SCRIPTS, {"Enable.ps1": None}),
            ["scripts.tar.gz: Enable.ps1, which addon.manifest.yaml names, is missing"],
        ),
        # The images.
        (
            _layer(reader.IMAGES_LINUX, b"x"),
            ["images-linux.tar: not a tar of oci-archives, or cut off: "],
        ),
        (
            _layer(reader.IMAGES_LINUX, draft.tar({})),
            [f"images-linux.tar: {LINUX}, which the addon needs, is not in it (found: [])"],
        ),
        (
            _layer(reader.IMAGES_LINUX, draft.tar({"a.tar": b"x"})),
            [
                "images-linux.tar: a.tar: not an oci-archive, or cut off: ",
                f"images-linux.tar: {LINUX}, which the addon needs",
            ],
        ),
        *(
            (
                _layer(reader.IMAGES_LINUX, draft.tar({"a.tar": draft.oci_archive(name)})),
                [
                    f"images-linux.tar: a.tar: org.opencontainers.image.ref.name is {name!r}",
                    "images-linux.tar: a.tar: names no image",
                    f"images-linux.tar: {LINUX}, which the addon needs",
                ],
            )
            for name in (None, "0.28.9", "flannel/flannel:0.28.9", "docker.io/flannel/flannel")
        ),
        (
            _layer(
                reader.IMAGES_LINUX,
                draft.tar({"a.tar": draft.oci_archive(LINUX, {"blobs/sha256/" + "0" * 64: b"x"})}),
            ),
            [f"images-linux.tar: a.tar: blobs/sha256/{'0' * 64}: damaged: sha256:"],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_broken_one(good: Path, tmp_path: Path, change: Change, said: list[str]) -> None:
    """Exactly these violations, in this order; `said` are their beginnings."""
    made = draft.Draft(reader.read(good))
    change(made)
    found = verify(made.write(tmp_path / NAME))
    assert [line[: len(start)] for line, start in zip(found, said, strict=True)] == said


def test_all_are_told_at_once(good: Path, tmp_path: Path) -> None:
    made = draft.Draft(reader.read(good))
    made.index["mediaType"] = "x"
    made.config["k2sVersion"] = ""
    made.repack(reader.SCRIPTS, {"Disable.ps1": None})
    made.repack(reader.MANIFESTS, {"gitops-sync/sync-job.yaml": None})
    made.layers["x/y"] = b""
    assert len(verify(made.write(tmp_path / NAME))) == 5


ODD: tuple[Any, ...] = (None, 3, [], {}, [3])


def _oddities(document: Any) -> Iterator[Any]:
    """The document with each of its values in turn replaced by something odd, or removed."""
    places = [(document, key) for key in (document if isinstance(document, dict) else [])]
    for place, key in places:
        old = place[key]
        for value in ODD:
            place[key] = value
            yield document
        del place[key]
        yield document
        place[key] = old
        if isinstance(old, list):
            for number, item in enumerate(old):
                for value in ODD:
                    old[number] = value
                    yield document
                old[number] = item
        for inside in [old, *(old if isinstance(old, list) else [])]:
            for _ in _oddities(inside):
                yield document


def _files_with(artifact: reader.Artifact, part: str, document: Any) -> dict[str, bytes]:
    """The layout's files with another document, and digests that fit it."""
    files = dict(artifact.files)

    def put(descriptor: dict[str, Any], content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        files[f"blobs/sha256/{digest}"] = content
        return {**descriptor, "digest": f"sha256:{digest}", "size": len(content)}

    data = draft.as_json(document)
    if part == "config":
        config = put(artifact.manifest["config"], data)
        part, data = "manifest", draft.as_json({**artifact.manifest, "config": config})
    if part == "manifest":
        data = draft.as_json({**artifact.index, "manifests": [put(artifact.reference, data)]})
    return {**files, "index.json": data}


@pytest.mark.parametrize("part", ["index", "manifest", "config"])
def test_whatever_a_document_holds_is_an_answer_not_a_fault(
    good: Path, tmp_path: Path, part: str
) -> None:
    made = draft.Draft(reader.read(good))
    for media_type in (reader.MANIFESTS, reader.CHARTS, reader.SCRIPTS):
        # Less to read.
        made.layers[media_type] = gzip.compress(draft.tar({"a": b""}))
    artifact = reader.read(made.write(tmp_path / NAME))
    document = getattr(reader.read(tmp_path / NAME), part)
    for _ in _oddities(document):
        (tmp_path / NAME).write_bytes(draft.tar(_files_with(artifact, part, document)))
        violations(tmp_path / NAME)


def test_whatever_the_addons_manifest_holds_is_an_answer(good: Path) -> None:
    files = reader.read(good).unpacked(reader.CONFIG_FILES)
    document = yaml.safe_load(files["addon.manifest.yaml"])
    refused = 0
    for _ in _oddities(document):
        try:
            parse(yaml.safe_dump(document))
        except ValueError:
            refused += 1
    assert refused > 100


def _digest(artifact: reader.Artifact, what: str) -> str:
    found = {
        "manifest": artifact.reference,
        "config": artifact.manifest["config"],
        "layer 3": artifact.manifest["layers"][3],
    }[what]
    return str(found["digest"].removeprefix("sha256:"))


@pytest.mark.parametrize("what", ["manifest", "config", "layer 3"])
@pytest.mark.parametrize("damage", ["missing", "flipped", "longer", "cut"])
def test_a_blob_that_is_not_what_it_should_be(
    good: Path, tmp_path: Path, what: str, damage: str
) -> None:
    artifact = reader.read(good)
    name = f"blobs/sha256/{_digest(artifact, what)}"
    data = artifact.files.pop(name)
    changed = {
        "missing": None,
        "flipped": bytes([data[0] ^ 1]) + data[1:],
        "longer": data + b" ",
        "cut": data[:-1],
    }[damage]
    files = artifact.files if changed is None else {**artifact.files, name: changed}
    (tmp_path / NAME).write_bytes(draft.tar(files))
    found = verify(tmp_path / NAME)
    digest = name.removeprefix("blobs/sha256/")
    expected = {
        "missing": [f"{what}: there is no blob sha256:{digest}"],
        "flipped": [f"{what}: the blob is damaged: "],
    }.get(damage, [f"{what}: size is {len(data)}, its blob has", f"{what}: the blob is damaged: "])
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize("digest", ["sha256:XYZ", "md5:00", None, 3, "sha256:" + "A" * 64])
def test_a_digest_that_is_none(good: Path, tmp_path: Path, digest: object) -> None:
    artifact = reader.read(good)
    index = {**artifact.index, "manifests": [{**artifact.reference, "digest": digest}]}
    files = {**artifact.files, "index.json": draft.as_json(index)}
    (tmp_path / NAME).write_bytes(draft.tar(files))
    assert verify(tmp_path / NAME) == [
        f"manifest: digest is {digest!r} (must be sha256:<64 hex digits>)"
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (NAME, b"", ["not a tar, or cut off: "]),
        (NAME, b"x" * 2000, ["not a tar, or cut off: "]),
        ("a.tar", b"", ["the file's name must end in .oci.tar", "not a tar, or cut off: "]),
    ],
)
def test_what_is_no_artifact(tmp_path: Path, name: str, content: bytes, said: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    found = verify(tmp_path / name)
    assert [line[: len(start)] for line, start in zip(found, said, strict=True)] == said


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9])
def test_one_that_was_cut_off(good: Path, tmp_path: Path, part: float) -> None:
    data = good.read_bytes()
    (tmp_path / NAME).write_bytes(data[: int(len(data) * part)])
    assert verify(tmp_path / NAME)


def test_a_gzipped_one(good: Path, tmp_path: Path) -> None:
    """K2s's import doesn't decompress it."""
    (tmp_path / NAME).write_bytes(gzip.compress(good.read_bytes()))
    assert verify(tmp_path / NAME)[0].startswith("not a tar, or cut off: ")


def test_links_are_not_unpacked(good: Path, tmp_path: Path) -> None:
    artifact = reader.read(good)
    (tmp_path / NAME).write_bytes(draft.tar(artifact.files, links={"x": "/etc/passwd"}))
    assert verify(tmp_path / NAME) == ["'x' is neither file nor folder"]
