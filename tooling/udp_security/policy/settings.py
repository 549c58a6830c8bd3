# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What decides, beside a policy, whether and how an agent enforces it: where it runs, with what.

Left out is what changes nothing of that as long as the pods run: images, resources, labels,
priorities, metrics, pollSeconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from udp_security.policy.boxes import Policies
from udp_security.policy.model import SYSTEMS, OperatingSystem, canonical, networks

#: Texts by system and name (as in the values): equal texts mean the same. A name that is missing is
#: not known.
Settings = Mapping[OperatingSystem, Mapping[str, str]]

_NONE: Final = "none"
_OFF: Final = "off"
_OS_LABEL: Final = "kubernetes.io/os"
# What a setting comes to, by its new text; "": any other text.
_MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "nodeSelector": {
        _NONE: "no node's labels keep the agent away any more",
        "": "only nodes with these labels have the agent: on others nothing is denied",
    },
    "affinity": {
        _NONE: "no affinity keeps the agent off a node any more",
        "": "only nodes that these terms admit have the agent: on others nothing is denied",
    },
    "tolerations": {
        _NONE: "tainted nodes have no agent: nothing is denied there",
        "": "of tainted nodes only those tolerated have the agent: on others nothing is denied",
    },
    "onStop": {
        "remove": "a terminated agent takes its rules away: nothing is denied until the next runs",
        "keep": "a terminated agent leaves its rules in force",
    },
    "backend": {
        "auto": "nftables enforces where the node has it, else iptables, which lacks some checks",
        "nftables": "a node without nftables enforces nothing",
        "iptables": "nothing that only nftables can do: forged source addresses pass",
    },
    "verdictCache": {
        _OFF: "every packet is looked up, and conntrack marks are left alone",
        "": "a flow's later packets pass by these bits of the mark: nobody else may set them",
    },
    "antiSpoofing": {
        "true": "what pods send from forged addresses or with VLAN tag 0 is denied",
        "false": "what pods send from forged addresses or with VLAN tag 0 is no longer denied",
    },
    "prefilter": {
        "true": "packets whose ports no rule names are dropped before conntrack, never rejected",
        "false": "packets whose ports no rule names are denied only behind conntrack",
    },
    "logDenials": {
        "true": "denied packets are written to the kernel's log",
        "false": "denied packets are no longer written to the kernel's log",
    },
    "untrackedReplyAddresses": {
        _NONE: "replies to untracked queries need a rule",
        "": "of replies to untracked queries only those from these addresses need no rule",
    },
}


@dataclass(frozen=True)
class Side:
    """All that is compared of one side; ``cluster`` is like that of the values."""

    policies: Policies
    cluster: Mapping[str, Sequence[str]]
    settings: Settings


def of_values(values: Mapping[str, Any]) -> Settings:
    """Those of valid, merged values; of governed systems."""
    found: dict[OperatingSystem, Mapping[str, str]] = {}
    for os in SYSTEMS:
        given = values[os]
        if given["enabled"]:
            found[os] = {**placement(os, given), "onStop": given["onStop"]}
    if "linux" in found:
        given = values["linux"]
        cache = given["verdictCache"]
        found["linux"] = {
            **found["linux"],
            **linux(
                given["backend"],
                int(cache["mask"]) if cache["enabled"] else None,
                anti_spoofing=given["antiSpoofing"],
                # As the chart has it: an audit drops nothing.
                prefilter=given["prefilter"] and values["mode"] == "enforce",
            ),
            "logDenials": switch(given["logDenials"]),
            "untrackedReplyAddresses": replies(given.get("untrackedReplyAddresses") or ()),
        }
    return found


def placement(os: OperatingSystem, spec: Mapping[str, Any]) -> dict[str, str]:
    """On which nodes the agent runs; a pod's spec and the values say it by the same names."""
    # The chart sets this label, whatever the values say.
    labels = {k: v for k, v in (spec.get("nodeSelector") or {}).items() if k != _OS_LABEL}
    tolerations = {_text(_plain(each)) for each in spec.get("tolerations") or ()}
    return {
        "nodeSelector": _text(labels),
        "affinity": _text(_without_empty(spec.get("affinity"))),
        "tolerations": f"[{', '.join(sorted(tolerations))}]" if tolerations else _NONE,
    }


def linux(
    backend: str, mask: int | None, *, anti_spoofing: bool, prefilter: bool
) -> dict[str, str]:
    """What a Linux agent's backend does; `mask` is the verdict cache's, None without one.

    What only nftables can do is off where the backend is iptables.
    """
    able = backend != "iptables"
    return {
        "backend": backend,
        "verdictCache": _OFF if mask is None or not able else f"mask 0x{mask:08x}",
        "antiSpoofing": switch(anti_spoofing and able),
        "prefilter": switch(prefilter and able),
    }


def replies(addresses: Iterable[str]) -> str:
    """The text of ``untrackedReplyAddresses``; their order means nothing."""
    found = sorted(set(networks([*addresses])), key=lambda net: (net.version, net.network_address))
    return ", ".join(map(canonical, found)) or _NONE


def switch(on: bool) -> str:
    """The text of a boolean, as YAML has it."""
    return "true" if on else "false"


def meaning(name: str, new: str) -> str:
    """What it comes to that a setting has this text now, for people."""
    words = _MEANINGS[name]
    return words.get(new) or words[""]


def _text(given: Any) -> str:
    return json.dumps(given, sort_keys=True, ensure_ascii=False) if given else _NONE


def _plain(toleration: Mapping[str, Any]) -> dict[str, Any]:
    """Without what Kubernetes takes for granted."""
    given = {key: value for key, value in toleration.items() if value not in (None, "")}
    if given.get("operator") == "Equal":
        del given["operator"]
    return given


def _without_empty(given: Any) -> Any:
    """Without what the API server leaves out; an empty selector, which selects all, stays."""
    if isinstance(given, Mapping):
        return {
            key: _without_empty(value)
            for key, value in given.items()
            if value is not None and value != [] and not (key == "matchLabels" and not value)
        }
    return [_without_empty(each) for each in given] if isinstance(given, list) else given
