# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The words around a suggested rule: its name, its description, and why it is suggested."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from udp_security.policy.denied import DeniedFlow, time_text
from udp_security.policy.merging import Widening
from udp_security.policy.model import Address, Network, PortRange, Rule, address_text, canonical

# A DNS label has 63 characters; what is cut off leaves room for a number.
_LONGEST: Final = 58
_SHOWN: Final = 3
# Of each end in a description, which has room for 1,024 characters.
_LONG: Final = 200
# What a ReplicaSet and its Deployment, or a DaemonSet, put behind a pod's name, in the letters that
# Kubernetes makes such names of. It changes with every pod.
_LETTERS: Final = "[bcdfghjklmnpqrstvwxz2456789]"
_GENERATED: Final = re.compile(f"(-{_LETTERS}{{6,10}})?-{_LETTERS}{{5}}$")


class Names:
    """Names of rules, each given once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._numbers: Counter[str] = Counter()

    def free(self, base: str) -> str:
        """The base, with a number behind it where it is taken."""
        label = base
        number = self._numbers[base] or 1
        while label in self._taken:
            number += 1
            label = f"{base}-{number}"
        self._numbers[base] = number
        self._taken.add(label)
        return label


def rule_name(
    direction: str,
    ports: Sequence[PortRange],
    flows: Sequence[DeniedFlow],
    sources: Sequence[Network],
    destinations: Sequence[Network],
    names: Names,
) -> str:
    """A DNS label that says what the rule is for: `ingress-514-from-gateway-0`."""
    far = sources if direction == "ingress" else destinations
    short = {
        _short(flow.source_name if direction == "ingress" else flow.destination_name)
        for flow in flows
    }
    named = short.pop() if len(short) == 1 else None
    peer = named or _more([canonical(net) for net in far], 1, "-and-{}-more")
    low, high = ports[0]
    first = f"{low}-{high}" if low != high else str(low)
    more = f"-and-{len(ports) - 1}-more" if len(ports) > 1 else ""
    way = "from" if direction == "ingress" else "to"
    label = re.sub(r"[^a-z0-9]+", "-", f"{direction}-{first}{more}-{way}-{peer}".lower())
    return names.free(label[:_LONGEST].strip("-"))


def description(flows: Sequence[DeniedFlow]) -> str:
    """One line that stays in the values: who talked to whom, and how much of it was denied."""
    ends = [
        _more(list(dict.fromkeys(_called(*end(flow)) for flow in flows)), _SHOWN, " and {} more")
        for end in (_source, _destination)
    ]
    ends = [end if len(end) <= _LONG else f"{end[:_LONG]}..." for end in ends]
    return (
        f"learnt from denials: {ends[0]} to {ends[1]} ({_packets(flows)}{_last(flows, day=True)})"
    )


def rule_reasons(
    flows: Sequence[DeniedFlow],
    sources: Sequence[Network],
    destinations: Sequence[Network],
    widening: Widening,
    lone: Collection[Address],
    presets: Mapping[str, Iterable[Rule]],
) -> tuple[str, ...]:
    """Line by line: what was denied, and what to know before allowing it.

    `lone` are sources that all denials have one flow of; `presets` are those that are off and
    would allow some of the flows, with their rules.
    """
    found = [_evidence(flows)]
    for end, nets, word in (
        (_source, sources, "sources"),
        (_destination, destinations, "destinations"),
    ):
        seen = {end(flow)[0] for flow in flows}
        opened = sum(net.num_addresses for net in nets) - len(seen)
        if opened:
            named = _more([canonical(net) for net in nets], _SHOWN, " and {} more")
            found.append(
                f"opens the {word} {named}: {_number(opened)} addresses beyond the "
                f"{_number(len(seen))} seen"
            )
    strangers = [flow.source for flow in flows if flow.source in lone and not flow.source_name]
    if strangers:
        named = _more(list(map(address_text, strangers)), _SHOWN, " and {} more")
        found.append(
            f"{named}: seen in one flow only, nothing of the cluster's: be sure that you know it"
        )
    found += _unstable(flows, [*sources, *destinations], widening)
    found += (
        f"instead, presets.{preset}: true would allow {_allowed(rules)}"
        for preset, rules in presets.items()
    )
    return tuple(found)


def preset_reasons(flows: Sequence[DeniedFlow], rules: Iterable[Rule]) -> tuple[str, ...]:
    """Line by line: what was denied, and what all the preset allows."""
    return _evidence(flows), f"the preset allows {_allowed(rules)}"


def _allowed(rules: Iterable[Rule]) -> str:
    """What rules allow, in words."""
    return "; ".join(
        dict.fromkeys(
            f"{rule.direction} {', '.join(_range(*ports) for ports in rule.ports)} {_ends(rule)}"
            for rule in rules
        )
    )


def _evidence(flows: Sequence[DeniedFlow]) -> str:
    nodes = sorted({node for flow in flows for node in flow.nodes})
    on = f", on {_more(nodes, _SHOWN, ' and {} more')}" if nodes else ""
    return f"{_packets(flows)} of {_count(len(flows), 'flow')} denied{_last(flows)}{on}"


def _unstable(
    flows: Sequence[DeniedFlow], nets: Sequence[Network], widening: Widening
) -> Iterator[str]:
    """A word on pods' addresses, which only live as long as the pods."""
    pods = {
        name: address
        for flow in flows
        for address, name in (_source(flow), _destination(flow))
        if name and name.startswith("pod ") and address not in widening.fixed
    }
    if pods:
        names = _more(sorted(pods), _SHOWN, " and {} more")
        yield (
            f"{names}: a pod that is made anew has another address, and this rule no longer fits "
            "(--max-prefix as wide as cluster.podCIDRs names the pods' network)"
        )


def _source(flow: DeniedFlow) -> tuple[Address, str | None]:
    return flow.source, flow.source_name


def _destination(flow: DeniedFlow) -> tuple[Address, str | None]:
    return flow.destination, flow.destination_name


def _called(address: Address, name: str | None) -> str:
    """An address by its name, if it has one."""
    return name or address_text(address)


def _short(name: str | None) -> str | None:
    """`pod ward/gateway-7d9c8b6f5-x2x9z` is gateway."""
    if name is None:
        return None
    kind, _, full = name.partition(" ")
    last = full.rpartition("/")[2]
    return (_GENERATED.sub("", last) if kind == "pod" else last) or None


def _packets(flows: Sequence[DeniedFlow]) -> str:
    return _count(sum(flow.packets for flow in flows), "packet")


def _last(flows: Sequence[DeniedFlow], *, day: bool = False) -> str:
    times = [flow.last_seen for flow in flows if flow.last_seen]
    if not times:
        return ""
    text = time_text(max(times))
    return f", last on {text[:10]}" if day else f", last at {text}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _number(number: int) -> str:
    """In digits, as long as anybody can read them."""
    return f"{number:,}" if number < 10**9 else f"2^{number.bit_length() - 1} or more"


def _more(texts: Sequence[str], shown: int, rest: str) -> str:
    text = ", ".join(texts[:shown])
    return text if len(texts) <= shown else text + rest.format(len(texts) - shown)


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _ends(rule: Rule) -> str:
    """From and to, as far as the rule names them."""
    ends = [
        f"{word} {_more([canonical(net) for net in nets], _SHOWN, ' and {} more')}"
        for word, nets in (("from", rule.sources), ("to", rule.destinations))
        if nets
    ]
    return " ".join(ends) or "from and to any address"
