# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What `helm install` says when it is done."""

from __future__ import annotations

from .support import Helm, rule

KUBECTL = "  kubectl -n udp-security"
POWERSHELL = (
    f"{KUBECTL} exec POD -- powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass "
    r"-File '%CONTAINER_SANDBOX_MOUNT_POINT%\udp-security\config\Agent.ps1' -Command"
)
OFF = {"enabled": False}


def test_enforce(helm: Helm) -> None:
    notes = helm.notes({"rules": [rule()]})
    assert notes.startswith("The agents are told to ENFORCE this policy.\n")
    assert "  Linux nodes:    denied (drop): every UDP flow that no rule allows\n" in notes
    assert (
        "  Windows nodes:  denied (drop): every UDP flow with the cluster's addresses that no rule "
        "allows\n"
    ) in notes
    assert (
        "  Allowed:        the presets dhcp, dns, flannelVxlan, ntp, and 1 rule(s) of your own\n"
    ) in notes
    for what in ("CUT OFF", "forward", "reject", "keep", "not governed"):
        assert what not in notes
    assert f"{KUBECTL} exec POD -- sh /etc/udp-security/agent.sh check\n" in notes
    assert f"{KUBECTL} exec POD -- sh /etc/udp-security/agent.sh status\n" in notes
    assert f"{POWERSHELL} Check\n" in notes
    assert f"{POWERSHELL} Status\n" in notes
    for os in ("linux", "windows"):
        assert f"{KUBECTL} rollout status ds/udp-security-{os}\n" in notes
    assert "helm upgrade udp-security <chart> -n udp-security --reuse-values --set mode=au" in notes
    assert "helm rollback udp-security -n udp-security\n" in notes
    assert "  no rules at all:      helm uninstall udp-security -n udp-security\n" in notes


def test_audit_says_that_nothing_is_denied(helm: Helm) -> None:
    notes = helm.notes({"mode": "audit", "denyAction": "reject"})
    assert notes.startswith("The agents are told to AUDIT this policy: nothing is denied.\n")
    assert "counted as denied, but passing: every UDP flow that no rule allows\n" in notes
    assert "Windows nodes:  no firewall rules are installed, and nothing is counted; " in notes
    assert "ENFORCE" not in notes and "reject" not in notes


def test_what_audit_does_not_do(helm: Helm) -> None:
    words = "  No effect:      linux.prefilter, because mode is audit\n"
    assert words in helm.notes({"mode": "audit", "linux": {"prefilter": True}})
    assert words not in helm.notes({"linux": {"prefilter": True}})


def test_reject_and_scope(helm: Helm) -> None:
    values = {"linux": {"scope": "cluster"}, "windows": {"scope": "host"}}
    notes = helm.notes({"denyAction": "reject", **values})
    assert "denied (reject): every UDP flow with the cluster's addresses that no rule al" in notes
    assert (
        "Windows nodes:  denied (drop): every UDP flow that no rule allows\n"
        "                  (denyAction reject is a silent drop on Windows)\n"
    ) in notes


def test_forward_rules_are_not_for_windows(helm: Helm) -> None:
    rules = [
        rule("a", direction="forward"),
        rule("b", direction="forward", os=["windows", "linux"]),
        rule("c", direction="forward", os=["linux"]),
        rule("d"),
    ]
    said = "(2 rule(s) of direction forward do not apply to Windows hosts)\n"
    assert said in helm.notes({"rules": rules})
    assert "forward" not in helm.notes({"rules": rules, "windows": OFF})


def test_what_is_cut_off(helm: Helm) -> None:
    presets = dict.fromkeys(("dns", "dhcp", "ntp", "flannelVxlan"), False)
    cut = ["dhcp", "dns", "flannelVxlan"]
    notes = helm.notes({"presets": presets, "dangerouslyCutOff": cut})
    assert "the presets (none), and 0 rule(s) of your own" in notes
    assert "CUT OFF, as dangerouslyCutOff asks, where no rule allows it: dhcp, dns, flan" in notes


def test_iptables_says_what_has_no_effect(helm: Helm) -> None:
    said = (
        "\n  No effect:      linux.prefilter, linux.antiSpoofing and linux.verdictCache, because "
        "linux.backend is iptables\n"
    )
    assert said in helm.notes({"linux": {"backend": "iptables"}})
    for linux in ({"backend": "auto"}, {"backend": "nftables"}, {**OFF, "backend": "iptables"}):
        assert "No effect" not in helm.notes({"linux": linux})


def test_keep_says_how_to_get_rid_of_the_rules(helm: Helm) -> None:
    linux = "(linux.onStop is keep: first run `remove` in each Linux pod, or the rules stay in fo"
    windows = "(windows.onStop is keep: first run `Remove` in each Windows pod, or the rules st"
    notes = helm.notes({"linux": {"onStop": "keep"}, "nameOverride": "fence"})
    assert linux in notes and windows not in notes
    assert "rollout status ds/fence-linux\n" in notes
    notes = helm.notes({"windows": {"onStop": "keep"}})
    assert windows in notes and linux not in notes


def test_one_system_not_governed(helm: Helm) -> None:
    notes = helm.notes({"linux": {**OFF, "onStop": "keep"}})
    assert "  Linux nodes:    not governed: linux.enabled is false\n" in notes
    assert "agent.sh" not in notes and "ds/udp-security-linux" not in notes and "keep" not in notes
    notes = helm.notes({"windows": {**OFF, "onStop": "keep"}})
    assert "  Windows nodes:  not governed: windows.enabled is false\n" in notes
    assert "powershell" not in notes and "ds/udp-security-windows" not in notes
    assert "keep" not in notes


def test_nothing_governed(helm: Helm) -> None:
    notes = helm.notes({"linux": OFF, "windows": OFF})
    assert notes.strip() == "Nothing is governed: linux.enabled and windows.enabled are false."
