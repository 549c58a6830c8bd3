# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Values that the schema alone must refuse, each with the place and words of Helm's complaint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .support import rule

Path = tuple[str | int, ...]
# `at` of what is wrong with a key itself.
PARENT: Path = ("..",)
# The operating systems, and how few and how many seconds their agents may wait.
AGENTS = {"linux": (1, 3600), "windows": (5, 60)}
TYPES = {"array": [], "boolean": True, "object": {}, "string": "text", "number": 1.5}


@dataclass(frozen=True)
class Bad:
    """`value` at `path` of the values is refused at `path + at`, in words that hold `says`."""

    path: Path
    value: Any
    says: str
    at: Path = field(default=())

    @property
    def pointer(self) -> str:
        """Where Helm reports it, as a JSON pointer."""
        place = self.path[:-1] if self.at == PARENT else (*self.path, *self.at)
        return "".join(f"/{step}" for step in place)

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}={self.value!r}"[:80]


def bad_rules() -> Iterator[Bad]:
    """Wrong rules, each to stand in the list `rules` anywhere: the path is the one in the rule."""
    for key in ("name", "direction", "ports"):
        yield Bad((), {k: v for k, v in rule().items() if k != key}, f"'{key}'")
    yield Bad((), 5, "want object")
    yield Bad((), None, "want object")
    for key in ("nam", "Name", "port", "source", "action", "protocol"):
        yield Bad((), rule(**{key: "x"}), f"additional properties '{key}' not allowed")
    for key in ("from", "to", "ports", "os"):
        for no_list in (None, "10.0.0.0/8", 53, {"a": 1}):
            yield Bad((key,), no_list, "want array")
        yield Bad((key,), [], "minItems: got 0, want 1")
    for name in (
        "Syslog", "a_b", "a.b", "-a", "a-", "", " a", "a b", "a\n", "é", "preset:dns", "a" * 64,
        "a}",
    ):  # fmt: skip
        yield Bad(("name",), name, "maxLength" if len(name) > 63 else "does not match pattern")
    for no_text in (None, 5, ["a"]):
        yield Bad(("description",), no_text, "want string")
    yield Bad(("description",), "x" * 1025, "maxLength: got 1,025, want 1,024")
    for direction in ("in", "Ingress", "input", "any", "both", ""):
        yield Bad(("direction",), direction, "value must be one of 'ingress', 'egress', 'forward'")
    for key in ("name", "direction"):
        for wrong in (None, 5, True, ["a"]):
            yield Bad((key,), wrong, "want string")
    yield Bad(("os",), [None], "want string", (0,))
    for system in ("mac", "Linux"):
        yield Bad(("os",), [system], "value must be one of 'linux', 'windows'", (0,))
    yield Bad(("os",), ["linux", "linux"], "items at 0 and 1 are equal")
    yield from _bad_ports()
    for key in ("from", "to"):
        for address in BAD_ADDRESSES:
            says = "maxLength" if len(address) > 43 else "does not match pattern"
            yield Bad((key,), [address], says, (0,))
        for no_address in (None, 10, 10.1, True, ["10.0.0.1"]):
            yield Bad((key,), [no_address], "want string", (0,))
        yield Bad((key,), ["10.0.0.1", "10.0.0"], "does not match pattern", (1,))


def _bad_ports() -> Iterator[Bad]:
    for port in (0, -1):
        yield Bad(("ports",), [port], f"minimum: got {port}, want 1", (0,))
    for port in (65536, 10**9):
        yield Bad(("ports",), [port], "want 65,535", (0,))
    for wrong in (1.5, True, None, [53], {"port": 53}):
        yield Bad(("ports",), [wrong], "want integer or string", (0,))
    for text in (
        "70-60x", "0", "0-5", "5-0", "65536", "1-65536", "-1", "-", "1-", "-5", "1-2-3", "1 - 2",
        "1:2", "1,2", " 1", "1 ", "1\n", "dns", "", "01", "1-02", "1.5", "1e3", "0x35", "+1",
        "any", "*", "\u0663",
    ):  # fmt: skip
        yield Bad(("ports",), [text], "does not match pattern", (0,))
    yield Bad(("ports",), [53, "54", 70000], "maximum", (2,))


BAD_ADDRESSES = (
    # IPv4
    "", " ", "10.0.0", "10.0.0.0.0", "10.0.0.256", "10.0.0.-1", "10.0.0.01", "010.0.0.1",
    "10.0.0.1/33", "10.0.0.1/-1", "10.0.0.1/08", "10.0.0.1/", "10.0.0.1/8/8", "10.0.0.1/255.0.0.0",
    "10.0.0.1 ", " 10.0.0.1", "10.0.0.1\n", "10.0.0.1-10.0.0.9", "10.0.0.*", "10.0.0.x",
    "0x0a.0.0.1", "10,0,0,1", "167772161", "10.0.0.0 /8", "10.0.0.1:53", "!10.0.0.1",
    "10.0.0.0/8,10.1.0.0/16", "1e1.0.0.1", "\u0661.0.0.1",
    # IPv6
    ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8", "12345::", "g::", "fd00::/129", "fd00::/-1", "fd00::/064", "fd00::/",
    "fd00::1%eth0", "fe80::1%1/64", "[fd00::1]", "[fd00::1]:53", "::ffff:10.0.0.1",
    "::10.0.0.1/128", "64:ff9b::10.0.0.1", "fd00:", ":fd00::1", "fd00::1:", "fd00:::1", "fd00::1 ",
    "fd00::1\n", "fd00::/64/64", "::/0x0", "1:2:3:4:5:6:7::8:9",
    # neither
    "any", "*", "all", "localhost", "example.org", "cluster.podCIDRs", "0.0.0.0/0 }",
    "1::/64; drop", f"{'0000:' * 9}:",
)  # fmt: skip


def bad_settings() -> Iterator[Bad]:
    """Wrong values of all other keys."""
    yield from _wrong_types()
    for path in MAPS:
        for key in ("x", "Mode", "DNS", "podCIDR", "podCidrs", "scop", "Tag", "cpu"):
            yield Bad((*path, key), 1, f"'{key}'", PARENT)
    yield Bad(("imagePullSecrets",), [{"nam": "a"}], "missing property 'name'", (0,))
    yield Bad(("imagePullSecrets",), [{"name": "a", "x": 1}], "'x'", (0,))
    yield Bad(("imagePullSecrets",), [{"name": ""}], "minLength", (0, "name"))
    yield Bad(("imagePullSecrets",), ["a"], "want object", (0,))
    for key in (
        "mode", "denyAction", "presets", "rules", "cluster", "dangerouslyCutOff", "metrics",
        *AGENTS,
    ):  # fmt: skip
        yield Bad((key,), None, f"'{key}'", PARENT)
    for key in ("podCIDRs", "serviceCIDRs", "nodeCIDRs", "dnsServers"):
        yield Bad(("cluster", key), None, f"'{key}'", PARENT)
        yield Bad(("cluster", key), [], "minItems: got 0, want 1")
        yield Bad(("cluster", key), ["10.0.0.0/33"], "does not match pattern", (0,))
        yield Bad(("cluster", key), ["10.0.0.1", "::/129"], "does not match pattern", (1,))
    for path, values in {
        ("mode",): ("enforced", "Audit", "", "off"),
        ("denyAction",): ("deny", "DROP", "accept", ""),
    }.items():
        for value in values:
            yield Bad(path, value, "value must be one of")
    for value in ("ntp", "DNS", "all"):
        yield Bad(("dangerouslyCutOff",), [value], "value must be one of", (0,))
    yield Bad(("dangerouslyCutOff",), ["dns", "dns"], "items at 0 and 1 are equal")
    for address in (
        "10.0.0.0/8",
        "10.0.0.1/32",
        "fd00::/64",
        "::ffff:10.0.0.1",
        "x",
        "fe80::1%eth0",
    ):
        path = ("linux", "untrackedReplyAddresses")
        yield Bad(path, [address], "does not match pattern", (0,))
    for name in ("A", "a_b", "-a", "a-", "a.b"):
        yield Bad(("nameOverride",), name, "does not match pattern")
    yield Bad(("nameOverride",), "a" * 51, "maxLength: got 51, want 50")
    for backend in ("nft", "Auto", "windows-firewall", ""):
        yield Bad(("linux", "backend"), backend, "value must be one of")
    cache = ("linux", "verdictCache")
    for mask, says in ((14, "minimum: got 14, want 15"), (0, "minimum"), (2**32, "maximum")):
        yield Bad((*cache, "mask"), mask, says)
    for key in ("enabled", "mask"):
        yield Bad((*cache, key), None, f"'{key}'", PARENT)
    for key in ("backend", "verdictCache", "antiSpoofing", "prefilter", "logDenials"):
        yield Bad(("linux", key), None, f"'{key}'", PARENT)
    # The container that listens may not open a lower port.
    for port, says in (
        (0, "minimum"),
        (1023, "minimum: got 1,023, want 1,024"),
        (65536, "maximum"),
    ):
        yield Bad(("metrics", "port"), port, says)
    for key in ("enabled", "port", "prometheusOperator"):
        yield Bad(("metrics", key), None, f"'{key}'", PARENT)
    for label in (1, True, ["a"]):
        yield Bad(("metrics", "labels"), {"release": label}, "want string", ("release",))
    for os, bounds in AGENTS.items():
        yield from _bad_agent(os, *bounds)


def _bad_agent(os: str, fewest: int, most: int) -> Iterator[Bad]:
    """Wrong settings of one operating system's agent, which may poll so often."""
    yield Bad((os, "tolerations"), [{"keey": "a"}], "'keey'", (0,))
    for key in ("enabled", "scope", "onStop", "pollSeconds", "image"):
        yield Bad((os, key), None, f"'{key}'", PARENT)
    for key in ("repository", "tag"):
        yield Bad((os, "image", key), None, f"'{key}'", PARENT)
    for path, values in {
        (os, "scope"): ("Host", "all", "node", ""),
        (os, "onStop"): ("delete", "Keep", ""),
        (os, "image", "pullPolicy"): ("always", "", "None"),
    }.items():
        for value in values:
            yield Bad(path, value, "value must be one of")
    for seconds in (fewest - 1, -1):
        yield Bad((os, "pollSeconds"), seconds, "minimum")
    yield Bad((os, "pollSeconds"), most + 1, "maximum")
    yield Bad((os, "pollSeconds"), 5.5, "want integer")
    for repository in ("", "Flannel/flannel", "a b", "a: b", "a#b", "a@sha256:0", "a/", "a:1\n"):
        yield Bad((os, "image", "repository"), repository, "does not match pattern")
    for tag in ("", "a b", "-1", "1:2", "1#windows_image", "1\n", "a" * 129):
        yield Bad((os, "image", "tag"), tag, "does not match pattern")
    for key, value in (("operator", "In"), ("effect", "NoRun")):
        yield Bad((os, "tolerations"), [{key: value}], "value must be one of", (0, key))
    yield Bad((os, "resources", "limits"), {"cpu": True}, "want number or string", ("cpu",))
    for key in ("podLabels", "podAnnotations", "nodeSelector"):
        yield Bad((os, key), {"a": 1}, "want string", ("a",))
        yield Bad((os, key), {"a": True}, "want string", ("a",))


def _wrong_types() -> Iterator[Bad]:
    """For each key, one value of each type that it doesn't have."""
    kinds: dict[Path, str] = {
        ("nameOverride",): "string",
        ("mode",): "string",
        ("denyAction",): "string",
        ("presets",): "object",
        ("rules",): "array",
        ("cluster",): "object",
        ("dangerouslyCutOff",): "array",
        ("imagePullSecrets",): "array",
        ("metrics",): "object",
        ("metrics", "enabled"): "boolean",
        ("metrics", "port"): "integer",
        ("metrics", "prometheusOperator"): "boolean",
        ("metrics", "labels"): "object",
        ("linux", "untrackedReplyAddresses"): "array",
        ("linux", "backend"): "string",
        ("linux", "verdictCache"): "object",
        ("linux", "verdictCache", "enabled"): "boolean",
        ("linux", "verdictCache", "mask"): "integer",
        **{("linux", key): "boolean" for key in ("antiSpoofing", "prefilter", "logDenials")},
        **{("presets", preset): "boolean" for preset in PRESETS},
        **{("cluster", key): "array" for key in
           ("podCIDRs", "serviceCIDRs", "nodeCIDRs", "dnsServers")},
    }  # fmt: skip
    for os in AGENTS:
        kinds[(os,)] = "object"
        kinds |= {(os, *path): wanted for path, wanted in AGENT.items()}
    for path, wanted in kinds.items():
        for kind, value in TYPES.items():
            if kind != wanted:
                yield Bad(path, value, f"want {wanted}")


MAPS: tuple[Path, ...] = (
    (),
    ("presets",),
    ("cluster",),
    ("metrics",),
    ("linux", "verdictCache"),
    *((os, *path) for os in AGENTS for path in ((), ("image",), ("resources",), ("affinity",))),
)
PRESETS = ("dns", "dhcp", "ntp", "flannelVxlan", "windowsDomain", "vpn", "quic")
AGENT: dict[Path, str] = {
    ("enabled",): "boolean",
    ("scope",): "string",
    ("onStop",): "string",
    ("pollSeconds",): "integer",
    ("image",): "object",
    ("image", "repository"): "string",
    ("image", "tag"): "string",
    ("image", "pullPolicy"): "string",
    ("resources",): "object",
    ("resources", "requests"): "object",
    ("resources", "limits"): "object",
    ("nodeSelector",): "object",
    ("tolerations",): "array",
    ("affinity",): "object",
    ("priorityClassName",): "string",
    ("podAnnotations",): "object",
    ("podLabels",): "object",
}
