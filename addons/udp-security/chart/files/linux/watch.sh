# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The main loop: it sleeps until nft's monitor reports a change of what is ours, or the poll is due, and mends what differs.

# How much address space nft's monitor may take. It holds the rules of the whole node, 3.3 kB each, and forgets no element of a
# set that anybody ever added: at this size it ends, and a new one begins anew.
MONITOR_KILOBYTES=131072
# Seconds between two starts of the monitor: one that ends again and again is started ever more seldom.
MONITOR_REST_LEAST=5
MONITOR_REST_MOST=60
MONITOR_REST=$MONITOR_REST_LEAST
MONITORED=-1000000
# Whether it was said that there is no monitor.
POLLED=
# How often in a row the rules had to be healed.
FIGHTS=0
# Seconds until what failed is tried again.
RETRY=

# Sleeps, but ends at once when told to stop or woken. The traps kill the sleep as well, for a signal that comes just before
# `wait`; a weaker signal would be lost where the child is not `sleep` yet.
pause() {
    sleep "$1" &
    SLEEPING=1
    [ -n "$STOPPING$WOKEN" ] || wait $!
    SLEEPING=
    [ -z "$STOPPING$WOKEN" ] || kill -9 $! 2>/dev/null
}

# Hundredths of a second since the node started, which no clock change moves.
uptime_hundredths() {
    read -r _up _ </proc/uptime
    echo "${_up%.*}${_up#*.}"
}

# Starts nft's monitor, unless it runs or failed just now. Of all the changes that it prints, one signal for the transactions of a
# fifth of a second that have to do with us reaches this shell, and one when the monitor, or what reads it, ends. $STATE/monitor
# is there as long as both run.
start_monitor() {
    [ "$BACKEND" = nftables ] && [ ! -e "$STATE/monitor" ] || return 0
    _lived=$(($(uptime_hundredths) - MONITORED))
    [ "$_lived" -ge $((100 * MONITOR_REST)) ] || return 0
    MONITOR_REST=$((2 * MONITOR_REST))
    if [ "$_lived" -gt $((200 * MONITOR_REST_MOST)) ]; then
        MONITOR_REST=$MONITOR_REST_LEAST
        POLLED=
    elif [ "$MONITOR_REST" -gt "$MONITOR_REST_MOST" ]; then
        MONITOR_REST=$MONITOR_REST_MOST
        [ -n "$POLLED" ] || log warn no-events "nft monitor ends again and again (where others have over 35,000 rules it needs \
more than its $((MONITOR_KILOBYTES / 1024)) MiB): foreign changes are undone at the next poll, after $POLL seconds at most"
        POLLED=1
    fi
    MONITORED=$(uptime_hundredths)
    # In a substitution, whose children are not what the traps kill; it ends as soon as they have let go of its output.
    _=$(
        sh -c "echo \$\$ >'$STATE/monitor' && ulimit -v $MONITOR_KILOBYTES && exec nft monitor" 2>/dev/null | {
            exec >/dev/null 2>&1
            awk -v wake="kill -USR1 $$; sleep 0.2" -v nat="$(fact prefilter)" '
                index($0, "udp_security") || (nat != "" && /nat|kube-proxy|hostport/) || /^# ERROR/ { ours = 1 }
                ours && /^# (new generation|ERROR)/ { system(wake); ours = 0 }
                second != systime() { second = systime(); lines = 0; many = 64 }
                # In a storm of others: to be woken for each line would cost more than to read it.
                ++lines >= many && !ours { system("sleep 0.1"); many *= 2 }'
            stop_monitor
            rm -f "$STATE/monitor"
            kill -USR1 $$
        } &
    )
}

stop_monitor() {
    MONITORED=-1000000
    [ ! -e "$STATE/monitor" ] || kill "$(cat "$STATE/monitor")" 2>/dev/null
}

# How long to sleep: until the poll, or until the monitor may be started again, or for these seconds at most. nap [SECONDS]
nap() {
    _nap=$POLL
    if [ "$BACKEND" = nftables ] && [ ! -e "$STATE/monitor" ] && [ "$MONITOR_REST" -lt "${_nap%.*}" ]; then _nap=$MONITOR_REST; fi
    if [ -n "$1" ] && [ "$1" -lt "${_nap%.*}" ]; then _nap=$1; fi
    echo "$_nap"
}

heals() {
    _heals=$(cat "$STATE/heals" 2>/dev/null)
    echo "${_heals:-0}"
}

# One step of the watch: bring the kernel to what it should hold.
reconcile() {
    if [ -e "$STATE/released" ]; then
        # The request may have come while rules were being loaded.
        _owner=$(backend look | backend owner)
        case $_owner in
        "" | "$SELF") backend remove "$_owner" ;;
        *) ;;
        esac
        return 0
    fi
    adopt_policy && choose_backend && backend present || return 1
    # Before the look at the kernel: what happens after that is reported.
    [ -e "$STATE/superseded" ] || start_monitor
    if [ ! -e "$STATE/superseded" ] && ! claimed; then
        preflight || return 1
        apply applied
    elif in_force; then
        FIGHTS=0
        recovered
        backend tend
        retire_other
    elif [ -e "$STATE/superseded" ] || { [ -n "$_owner" ] && [ "$_owner" != "$SELF" ]; }; then
        stand_by "$_owner"
        [ -z "$STOPPING" ] || return 0
        # The monitor has to be started again.
        apply taken-over && WOKEN=1
    else
        apply healed ", undone: $_why" || return 1
        FIGHTS=$((FIGHTS + 1))
        # In one step, for `status` may read it at any time.
        echo $(($(heals) + 1)) >"$STATE/heals.new"
        mv "$STATE/heals.new" "$STATE/heals"
    fi
}

run() {
    [ -n "$SELF" ] || { log error bad-environment 'UDP_SECURITY_POD_UID is not set (the chart sets it)'; return 2; }
    # Not `test -w`: busybox believes that root may write everywhere.
    touch "$STATE/heals" 2>/dev/null || {
        log error no-state "$STATE is not a writable directory (the chart mounts an emptyDir there)"
        return 2
    }
    [ -e "$STATE/applied" ] || echo 'no policy was applied yet' >"$STATE/reason"
    # Of an earlier process of this pod.
    rm -f "$STATE/monitor"
    log info started "version $(sed -n 's/^version //p' "$MOUNTED/policy.facts" 2>/dev/null), pod $SELF"
    while [ -z "$STOPPING" ]; do
        WOKEN=
        _began=$(uptime_hundredths)
        # What fails is tried again soon, and ever more seldom.
        if reconcile; then RETRY=; else RETRY=$((RETRY < 1000 ? 2 * RETRY + 1 : RETRY)); fi
        publish_metrics
        # However often others change something, this takes a quarter of a processor at most. The rests are short for a while,
        # since somebody may do several things in a row.
        _rest=$((3 * ($(uptime_hundredths) - _began)))
        _most=1000
        case $FIGHTS in [1-5]) _most=99 ;; *) ;; esac
        [ "$_rest" -le "$_most" ] || _rest=$_most
        [ -z "$WOKEN" ] || sleep "$((_rest / 100)).$(printf %02d $((_rest % 100)))"
        pause "$(nap "$RETRY")"
    done
    withdraw_metrics
    stop_monitor
    release
}
