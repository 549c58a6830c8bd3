# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Whose the node is: applying a policy, standing by, and leaving.

# Applies this pod's policy. Only for the event `applied` it takes the node from another pod. apply EVENT [WHY]
apply() {
    for _try in 1 2 3 last; do
        _outline=$(backend look) || { pause 0.3; _outline=$(backend look); } || {
            fail not-applied "the kernel's rules cannot be read, and stay as they are: $(one_line "$(backend reachable 2>&1)")"
            return 1
        }
        _before=$(printf '%s\n' "$_outline" | backend owner)
        # Seen here, the request came before the look above: what vanished since then makes the swap fail.
        [ ! -e "$STATE/released" ] || return 1
        case $1:$_before in
        applied:* | *: | *:"$SELF") ;;
        *) return 1 ;;
        esac
        if [ "$_before" != "$SELF" ]; then
            alone backend "$_outline" || return 1
            # Where a pod of this release guards the node, it has made sure of the other backend.
            [ -n "$_before" ] || ! other_backend traces || alone other_backend "$(other_backend look)" || return 1
        fi
        _stays='the kernel keeps the rules it has'
        [ -n "$_outline" ] || _stays='no rules are in force'
        _loading=$(uptime_hundredths)
        backend swap "$_outline" "$_before"
        _swapped=$?
        _loading=$(($(uptime_hundredths) - _loading))
        case $_swapped in
        0) break ;;
        1)
            # When the rules are others by now, not the policy was to blame.
            if [ "$(backend look)" = "$_outline" ]; then
                fail bad-ruleset "the kernel refuses this policy; $_stays: $(backend complaint)"
                return 1
            fi
            ;;
        3)
            fail no-state "cannot write to $STATE (is its emptyDir full?); $_stays"
            return 1
            ;;
        *) ;;
        esac
        if [ "$_try" = last ]; then
            fail not-applied "the policy could not be applied; $_stays: $(backend complaint)"
            return 1
        fi
        # Another pod was faster: look again at what it left.
        WOKEN=
        pause 0.3
    done
    printf '%d.%02d\n' $((_loading / 100)) $((_loading % 100)) >"$STATE/loaded.new"
    mv "$STATE/loaded.new" "$STATE/loaded"
    boot_id >"$STATE/claimed"
    rules_changed "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    [ "$1" = healed ] || remember_other
    case $_before in
    '') rm -f "$STATE/succeeded" ;;
    "$SELF") ;;
    *) uptime_hundredths >"$STATE/succeeded" ;;
    esac
    recovered
    log info "$1" "mode $(fact mode), backend $BACKEND, owner before: ${_before:-none}${2:-}"
}

# Whether none of these rules is another Helm release's: two policies at once would allow only what both do.
# alone backend|other_backend OUTLINE
alone() {
    _foreign=$(printf '%s\n' "$2" | "$1" releases | grep -vFx "$RELEASE" | head -n 1)
    [ -z "$_foreign" ] || {
        _theirs=$(printf '%s\n' "$2" | "$1" owner)
        fail other-release "Helm release $_foreign guards this node, pod ${_theirs:-unknown} owns its rules (uninstall one of the two; if \
that release is gone, $("$1" removal_by_hand))"
    }
}

# Remembers whose rules of the other backend stand beside ours, for `retire_other`.
remember_other() {
    _left=$(other_backend look)
    rm -f "$STATE/other"
    [ -z "$_left" ] || printf '5 %s\n' "$(printf '%s\n' "$_left" | other_backend owner)" >"$STATE/other"
}

# Takes away the other backend's rules that were there when this pod took the node: a pod with another linux.backend made them, and
# they would stay in force beside ours. While that pod lives it brings them back, so this looks again a few times.
retire_other() {
    read -r _looks _other_owner 2>/dev/null <"$STATE/other" || return 0
    _left=$(other_backend look)
    if [ -n "$_left" ] && [ "$(printf '%s\n' "$_left" | other_backend owner)" = "$_other_owner" ]; then
        other_backend remove "$_other_owner" && log info retired "removed the rules that a pod with another linux.backend left"
    elif [ "$_looks" -gt 1 ]; then
        echo "$((_looks - 1)) $_other_owner" >"$STATE/other"
    else
        rm -f "$STATE/other"
    fi
}

# This pod has changed the rules: remembers what they are now, if they are what it loaded. Whatever else somebody made of them
# meanwhile is healed at the next look, as at any other time. rules_changed TIME-OF-APPLY
rules_changed() {
    # iptables would not tell of a change before the poll.
    _digest=$(backend record) || { _digest=unknown; WOKEN=1; }
    echo "$_digest $1" >"$STATE/applied.new"
    mv "$STATE/applied.new" "$STATE/applied"
}

# How long the last load took, in seconds; null before the first.
apply_seconds() {
    _loaded=
    read -r _loaded 2>/dev/null <"$STATE/loaded"
    echo "${_loaded:-null}"
}

boot_id() {
    read -r _boot </proc/sys/kernel/random/boot_id
    echo "$_boot"
}

# Whether this pod claimed the node since it booted.
claimed() {
    read -r _claimed 2>/dev/null <"$STATE/claimed" && [ "$_claimed" = "$(boot_id)" ]
}

# Waits until the node needs this pod after all: its new owner handed the rules over, or they have been gone for so long that
# no owner can be left to heal them.
stand_by() {
    touch "$STATE/superseded"
    # No failure: in every rollout the older pod gets here.
    FAILED="superseded: pod ${1:-unknown} owns this node now"
    printf '%s\n' "$FAILED" >"$STATE/reason"
    log info superseded "$FAILED"
    withdraw_metrics
    stop_monitor
    _gone=0
    # The first look comes at once: the new owner may leave as soon as it is there.
    _second=0
    while [ -z "$STOPPING" ]; do
        WOKEN=
        pause "$_second"
        _second=1
        _outline=$(backend look) || continue
        if [ -z "$_outline" ]; then
            _gone=$((_gone + 1))
            [ "$_gone" -le $((2 * ${POLL%.*})) ] || return 0
            continue
        fi
        _gone=0
        _other=$(printf '%s\n' "$_outline" | backend owner)
        [ -n "$_other" ] && [ "$_other" != "$SELF" ] || return 0
        printf '%s\n' "$_outline" | backend standbys | grep -qFx "$SELF" || backend standby
    done
}

# What SIGTERM asks for: leave the node as `onStop` says, unless it is another pod's.
release() {
    for _try in 1 2 3; do
        ! leave || return 0
        sleep 0.5
    done
    log error stopped "the rules stay, for they could not be removed ($(backend removal_by_hand))"
}

# Fails where the rules could not be read or removed.
leave() {
    _outline=$(backend look) || return 1
    _owner=$(printf '%s\n' "$_outline" | backend owner)
    backend unstandby "$SELF"
    if [ -n "$_owner" ] && [ "$_owner" != "$SELF" ]; then
        log info stopped "the rules stay: they belong to pod $_owner"
    elif [ -z "$_owner" ] && ! claimed; then
        log info stopped 'this pod never owned any rules'
    elif [ -z "$_outline" ]; then
        backend remove '' || return 1
        log info stopped 'no rules to remove'
    elif [ -n "$_owner" ] && hand_over; then
        log info stopped 'handed the rules over to the pod that stands by'
    elif [ "$ON_STOP" = keep ]; then
        log info stopped 'the rules stay in force (linux.onStop: keep)'
    elif backend remove "$_owner"; then
        log info removed 'all rules are removed: UDP is open again'
    else
        _owner=$(backend look | backend owner)
        [ -n "$_owner" ] && [ "$_owner" != "$SELF" ] || return 1
        log info stopped "the rules stay: pod $_owner took them over"
    fi
}

# Whether this pod took the node from another one so short a time ago that the other one may have yet to see that.
succeeded_lately() {
    read -r _since 2>/dev/null <"$STATE/succeeded" || return 1
    _since=$(($(uptime_hundredths) - _since))
    [ "$_since" -ge 0 ] && [ "$_since" -lt 300 ]
}

# Leaves the rules in force, without an owner, to a pod that stands by: after a rollback the pod of the older policy goes on.
hand_over() {
    _standbys=$(backend look | backend standbys)
    while [ -z "$_standbys" ] && succeeded_lately; do
        sleep 0.2
        _standbys=$(backend look | backend standbys)
    done
    [ -n "$_standbys" ] || return 1
    for _standby in $_standbys; do backend unstandby "$_standby"; done
    # Whoever is alive announces itself again within a second.
    sleep 2.5
    backend look | backend standbys | grep -q . && backend disown "$SELF"
}

remove() {
    known_backend
    _said=$(backend reachable 2>&1) || {
        echo "not removed: $(one_line "$_said")" >&2
        return 1
    }
    _outline=$(backend look) || {
        echo "not removed: the kernel's rules cannot be read" >&2
        return 1
    }
    if [ -z "$_outline" ]; then
        backend remove ''
        echo 'nothing to remove'
        return 0
    fi
    _owner=$(printf '%s\n' "$_outline" | backend owner)
    if [ -n "$SELF" ] && [ -n "$_owner" ] && [ "$_owner" != "$SELF" ]; then
        echo "not removed: pod $_owner owns the rules (run this in that pod, or $(backend removal_by_hand))" >&2
        return 1
    fi
    # Tells the running agent not to heal what is about to happen.
    [ ! -d "$STATE" ] || touch "$STATE/released"
    # The running agent may have been quicker.
    backend remove "$_owner" || { _outline=$(backend look) && [ -z "$_outline" ]; } || {
        rm -f "$STATE/released"
        echo "not removed: pod $(backend look | backend owner) took the rules over" >&2
        return 1
    }
    echo 'removed'
}
