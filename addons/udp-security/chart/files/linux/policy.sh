# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# This pod's policy: what is mounted, the pod's own copy of it, and what that says.

# Files that the agent writes for a backend end with this line: busybox's sed does not tell when the disk is full.
WRITTEN='# written'

# Whether each of these files of $STATE was written to its end. whole FILE...
whole() {
    for _file in "$@"; do
        [ "$(tail -n 1 "$STATE/$_file" 2>/dev/null)" = "$WRITTEN" ] || return 1
    done
}

# fact KEY: its values, one line for each time the key occurs
fact() {
    while read -r _fact; do
        case $_fact in
        "$1") echo ;;
        "$1 "*) printf '%s\n' "${_fact#"$1 "}" ;;
        *) ;;
        esac
    done 2>/dev/null <"$STATE/policy/policy.facts"
}

# The hash of a directory's files in the order of their names, as the pod template has it. Kubernetes' own entries have a dot.
bundle_hash() {
    cat "$1"/* 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

# Copies what is mounted, if it is this pod's, to where no later change of the ConfigMap reaches it.
adopt_policy() {
    [ -n "$WANTED" ] || fail bad-environment 'UDP_SECURITY_POLICY_SHA256 is not set (the chart sets it)' || return 1
    [ "$(bundle_hash "$STATE/policy")" = "$WANTED" ] && return 0
    _seen=$(bundle_hash "$MOUNTED")
    if [ "$_seen" != "$WANTED" ]; then
        fail foreign-policy "$MOUNTED holds policy $(printf %.12s "$_seen"), not this pod's $(printf %.12s "$WANTED") \
(the ConfigMap was changed without a rollout: run helm upgrade, or delete this pod after the rollout)"
        return 1
    fi
    rm -rf "$STATE/policy.new"
    mkdir "$STATE/policy.new" 2>/dev/null && cp "$MOUNTED"/* "$STATE/policy.new" 2>/dev/null
    if [ "$(bundle_hash "$STATE/policy.new")" != "$WANTED" ]; then
        rm -rf "$STATE/policy.new"
        fail no-state "cannot copy the policy to $STATE (is its emptyDir full?)"
        return 1
    fi
    rm -rf "$STATE/policy"
    mv "$STATE/policy.new" "$STATE/policy"
    # What runs was read from the mount as it was when the container began: maybe an earlier ConfigMap's agent.
    [ "${BEGAN%% *}" = "$WANTED" ] || exec /bin/sh "$STATE/policy/agent.sh" run
}
