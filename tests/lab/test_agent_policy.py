# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A pod keeps to the policy it was made for, whatever becomes of the ConfigMap it mounts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.lab.agents import (
    ANOTHER_POLICY,
    Documents,
    Node,
    check,
    config_data,
    documents,
    heals,
    said,
    status,
    until,
)


def mixed() -> Documents:
    """A pod of one policy that mounts another's files."""
    made = documents()
    config_data(made).update(config_data(documents(ANOTHER_POLICY)))
    return made


def test_a_running_pod_takes_no_notice_of_a_changed_configmap(node: Node) -> None:
    pod = node.start()
    policy, generation = node.policy(), status(pod)["generation"]
    pod.update_configmap(config_data(documents(ANOTHER_POLICY)))
    # It looks again, and what it heals it heals with its own copy.
    node.nft("delete", "table", "inet", "udp_security")
    until(lambda: heals(pod, node.lab) == 1)
    assert node.policy() == policy

    pod.restart_container()
    pod.wait_ready()
    node.nft("delete", "table", "inet", "udp_security")
    until(lambda: heals(pod, node.lab) == 2)
    assert node.policy() == policy
    assert status(pod)["generation"] == generation
    assert said(pod, "foreign-policy") == []


def test_a_pod_keeps_its_agent_too(node: Node) -> None:
    """Else an upgrade could make all old pods unready before the rollout reaches their nodes."""
    pod = node.start()
    later = dict(config_data(documents(ANOTHER_POLICY)))
    script = later["agent.sh"]
    later["agent.sh"] = script.replace("\ncase ", "\nnftables_digest() { echo another; }\ncase ")
    assert later["agent.sh"] != script
    pod.update_configmap(later)
    assert pod.ready()
    pod.restart_container()
    pod.wait_ready()
    assert pod.stop() == 0
    assert node.table() == ""


def test_a_pod_that_began_with_an_earlier_agent_runs_its_own(node: Node) -> None:
    """The kubelet may mount what the ConfigMap was, and mount what it is only a minute later."""
    made = documents()
    own = dict(config_data(made))
    script = own["agent.sh"]
    earlier = script.replace("\ncase ", "\nnftables_digest() { echo another; }\ncase ")
    assert earlier != script
    config_data(made)["agent.sh"] = earlier
    pod = node.pod(made)
    pod.start()
    until(lambda: said(pod, "foreign-policy"))
    assert node.table() == ""
    pod.update_configmap(own)
    pod.wait_ready()
    assert heals(pod, node.lab) == 0
    assert len(said(pod, "started")) == 2
    assert pod.stop() == 0
    assert node.table() == ""


def test_a_new_pod_refuses_another_pods_policy(node: Node) -> None:
    pod = node.pod(mixed())
    pod.start()
    (reason,) = until(lambda: said(pod, "foreign-policy"))
    assert reason.startswith("/etc/udp-security holds policy ")
    assert "run helm upgrade" in reason
    assert check(pod) == (1, f"not in force: {reason}\n")
    assert node.table() == ""

    # And goes on as soon as the files are its own.
    pod.update_configmap(config_data(documents()))
    pod.wait_ready()
    assert pod.stop() == 0


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("policy.nft", lambda text: ""),
        ("policy.nft", lambda text: text[: len(text) // 2]),
        ("policy.nft", lambda text: text + "\n"),
        ("policy.facts", lambda text: text.rstrip("\n")),
        ("policy.facts", lambda text: text.replace("mode enforce", "mode audit")),
    ],
    ids=["empty", "half", "one-more-newline", "no-last-newline", "another-mode"],
)
def test_files_that_are_not_whole_are_refused(
    node: Node, file: str, damage: Callable[[str], str]
) -> None:
    made = documents()
    data = config_data(made)
    data[file] = damage(data[file])
    pod = node.pod(made)
    pod.start()
    until(lambda: said(pod, "foreign-policy"))
    assert check(pod)[0] == 1
    assert node.table() == ""


def test_a_missing_file_is_refused(node: Node) -> None:
    made = documents()
    del config_data(made)["policy.nft"]
    pod = node.pod(made)
    pod.start()
    until(lambda: said(pod, "foreign-policy"))
    assert node.table() == ""
    assert pod.stop() == 0
    assert said(pod, "stopped") == ["this pod never owned any rules"]


def test_a_pod_whose_own_copy_was_lost_keeps_its_rules(node: Node) -> None:
    """Its files are another policy's by now: what it can still do is to leave."""
    pod = node.start()
    policy = node.policy()
    pod.update_configmap(config_data(documents(ANOTHER_POLICY)))
    pod.run(["rm", "/run/udp-security/policy/policy.nft"])
    until(lambda: said(pod, "foreign-policy"))
    assert node.policy() == policy
    assert pod.stop() == 0
    assert node.table() == ""
