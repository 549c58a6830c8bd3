#!/bin/sh
# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The Linux agent: keeps the node's UDP filter equal to the policy mounted beside this script.
#
#   agent.sh run      apply the policy, then watch it; on SIGTERM release the node
#   agent.sh check    exit 0 only if the kernel holds exactly this pod's policy; one line says so, or why not
#   agent.sh status   one JSON object (files/status.schema.json in the chart)
#   agent.sh denials  one JSON object: every flow and port that was denied in the last hour
#   agent.sh metrics  counters and states as Prometheus reads them, without addresses and ports
#   agent.sh serve    answer HTTP requests for these metrics while `run` writes them: the second container of the pod
#   agent.sh remove   remove all that is ours, unless another pod owns it
#
# It needs busybox ash with the applets of Alpine's image, ip, and nft or iptables; no network, no API server, nothing to install.

set -u
STOPPING=
WOKEN=
SLEEPING=
# Before all else: until it has a trap, a container's first process doesn't hear SIGTERM at all.
case ${1:-} in
run | serve)
    trap 'STOPPING=1; [ -z "$SLEEPING" ] || kill -9 $! 2>/dev/null' TERM INT
    trap 'WOKEN=1; [ -z "$SLEEPING" ] || kill -9 $! 2>/dev/null' USR1
    ;;
*) ;;
esac
umask 077
export LC_ALL=C PATH="${PATH:-}:/usr/sbin:/usr/bin:/sbin:/bin"

MOUNTED=/etc/udp-security
STATE=/run/udp-security
# A pod keeps to the agent it began with, as to its policy: what is mounted follows the ConfigMap, which may be a later pod's by now.
if [ -e "$STATE/policy/agent.sh" ] && [ "$0" != "$STATE/policy/agent.sh" ]; then exec /bin/sh "$STATE/policy/agent.sh" "$@"; fi

SELF=${UDP_SECURITY_POD_UID:-}
RELEASE=${UDP_SECURITY_RELEASE:-}
WANTED=${UDP_SECURITY_POLICY_SHA256:-}
POLL=${UDP_SECURITY_POLL_SECONDS:-30}
ON_STOP=${UDP_SECURITY_ON_STOP:-remove}
NODE_NAME=${UDP_SECURITY_NODE_NAME:-}
NODE_IP=${UDP_SECURITY_NODE_IP:-}
METRICS_PORT=${UDP_SECURITY_METRICS_PORT:-}
# Metrics are as old as the last look.
[ -z "$METRICS_PORT" ] || [ "${POLL%.*}" -le 30 ] || POLL=30
POD_BRIDGE=cni0
BACKEND=nftables
FAILED=

HERE=${0%/*}
# Of what the agent is about to be read from.
[ "${1:-}" != run ] || BEGAN=$(cat "$HERE"/* 2>/dev/null | sha256sum)
. "$HERE/log.sh"
. "$HERE/policy.sh"
. "$HERE/node.sh"
. "$HERE/backend.sh"
. "$HERE/nftables.sh"
. "$HERE/iptables.sh"
. "$HERE/owner.sh"
. "$HERE/watch.sh"
. "$HERE/status.sh"
. "$HERE/metrics.sh"
. "$HERE/serve.sh"

case ${1:-} in
run | check | status | denials | metrics | serve | remove) "$1" ;;
*)
    echo "usage: agent.sh run|check|status|denials|metrics|serve|remove" >&2
    exit 2
    ;;
esac
