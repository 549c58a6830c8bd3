# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What `helm install` says when it is done."""

from __future__ import annotations

from .support import Helm, rule


def test_enforce(helm: Helm) -> None:
    notes = helm.notes({"rules": [rule()]})
    assert "The agents of the Linux nodes are told to ENFORCE this policy.\n" in notes
    assert "  denied (drop): every UDP flow that no rule allows\n" in notes
    assert "allowed: the presets dhcp, dns, flannelVxlan, ntp, and 1 rule(s) of your own" in notes
    assert "CUT OFF" not in notes
    exec_ = "kubectl -n udp-security exec POD -- sh /etc/udp-security/agent.sh"
    assert f"{exec_} check\n" in notes
    assert f"{exec_} status\n" in notes
    assert "kubectl -n udp-security rollout status ds/udp-security-linux\n" in notes
    assert "helm upgrade udp-security <chart> -n udp-security --reuse-values --set mode=au" in notes
    assert "helm rollback udp-security -n udp-security\n" in notes
    assert "no rules at all:              helm uninstall udp-security -n udp-security\n" in notes


def test_audit_says_that_nothing_is_denied(helm: Helm) -> None:
    notes = helm.notes({"mode": "audit", "denyAction": "reject"})
    assert (
        "The agents of the Linux nodes are told to AUDIT this policy: nothing is denied.\n" in notes
    )
    assert "counted as denied, but passing: every UDP flow that no rule allows" in notes
    assert "ENFORCE" not in notes and "reject" not in notes


def test_reject_and_scope(helm: Helm) -> None:
    notes = helm.notes({"denyAction": "reject", "linux": {"scope": "cluster"}})
    assert "denied (reject): every UDP flow with the cluster's addresses that no rule" in notes


def test_what_is_cut_off(helm: Helm) -> None:
    presets = dict.fromkeys(("dns", "dhcp", "ntp", "flannelVxlan"), False)
    cut = ["dhcp", "dns", "flannelVxlan"]
    notes = helm.notes({"presets": presets, "dangerouslyCutOff": cut})
    assert "allowed: the presets (none), and 0 rule(s) of your own" in notes
    assert "CUT OFF, as dangerouslyCutOff asks, where no rule allows it: dhcp, dns, flan" in notes


def test_keep_says_how_to_get_rid_of_the_rules(helm: Helm) -> None:
    notes = helm.notes({"linux": {"onStop": "keep"}, "nameOverride": "fence"})
    assert "run `agent.sh remove` in each pod, then helm uninstall udp-security -n udp-s" in notes
    assert "an uninstall alone leaves the rules in force" in notes
    assert "rollout status ds/fence-linux\n" in notes


def test_linux_not_governed(helm: Helm) -> None:
    notes = helm.notes({"linux": {"enabled": False}})
    assert notes.strip() == "Linux nodes are not governed: linux.enabled is false."
