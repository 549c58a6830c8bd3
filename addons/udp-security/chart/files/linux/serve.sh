# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The metrics over HTTP: a listener that can do nothing but hand out one file. It runs in a container of its own, as nobody and
# without any right, so that whatever comes in by the port never reaches the agent. For busybox only: `read -t` is not POSIX.

# How often `serve` looks whether there is something to serve, in seconds.
SERVE_NAP=2
# How long a client may take to ask, and then to take the answer, in seconds.
ASK_SECONDS=2
ANSWER_SECONDS=5
# How many characters of a request are read at a time, and how often, to the end of its head and as often after that.
PIECE=1024
PIECES=64
# How many processes the container may have: those that answer, one to four for each, and three of `serve`. Further connections
# are closed at once, so that a flood of them stays within the container's memory.
ANSWER_PROCESSES=32

# Listens at the node's address while there are metrics, and lets the port go when they are withdrawn, for the next pod.
serve() {
    [ -n "$NODE_IP" ] && [ -n "$METRICS_PORT" ] || {
        log error bad-environment 'UDP_SECURITY_NODE_IP or UDP_SECURITY_METRICS_PORT is not set (the chart sets them)'
        return 2
    }
    # What is mounted follows the ConfigMap, which may be a later pod's when a connection comes.
    ANSWERING=$(cat "$HERE/serve.sh")
    LISTENER=
    _heard=
    _failures=0
    while [ -z "$STOPPING" ]; do
        if [ ! -e "$STATE/metrics.prom" ]; then
            stop_listener
        elif [ -z "$LISTENER" ]; then
            listen
        elif ! kill -0 "$LISTENER" 2>/dev/null; then
            _failures=$((_failures + 1))
            # In a rollout the other pod lets the port go after its next look.
            if [ "$_failures" = $((${POLL%.*} / 2 + 3)) ]; then
                log error not-serving "nc cannot listen on TCP port $METRICS_PORT of $NODE_IP, and tries again (does another \
program have the port? metrics.port can be another one)"
                _heard=
            fi
            listen
        elif [ "$_failures" != 0 ] || [ -z "$_heard" ]; then
            [ -n "$_heard" ] || log info serving "metrics on TCP port $METRICS_PORT of $NODE_IP"
            _heard=1
            _failures=0
        fi
        pause "$SERVE_NAP"
    done
    stop_listener
}

# Starts nc. It comes in two forms, of which each takes the address otherwise, and starts a program for each connection.
listen() {
    if nc --help 2>&1 | grep -q -e '-s ADDR'; then
        set -- -lk -p "$METRICS_PORT" -s "$NODE_IP"
    else
        set -- -ll -p "$METRICS_PORT" "$NODE_IP"
    fi
    nc "$@" -e /bin/sh -c "$ANSWERING
answer \"\$@\"" sh "$STATE/metrics.prom" $((3 * ${POLL%.*} + 60)) >/dev/null 2>&1 &
    LISTENER=$!
}

stop_listener() {
    [ -z "$LISTENER" ] || kill "$LISTENER" 2>/dev/null
    LISTENER=
    _heard=
    _failures=0
}

# One HTTP request on standard input, which is the connection, as standard output is. It is read to its end, within limits, for the
# kernel resets a connection that is closed with anything unread, and the answer is lost. answer FILE MOST-SECONDS-OLD
answer() {
    set -- "$1" "$2" /proc/[0-9]*
    [ $(($# - 2)) -le "$ANSWER_PROCESSES" ] || return 1
    read -r _now _ </proc/uptime
    _end=$((${_now%.*}${_now#*.} + 100 * ASK_SECONDS))
    _pieces=0
    _request=
    _begun=
    while :; do
        take || return 1
        # An empty line, or a carriage return alone.
        case $_begun$_piece in '' | ?) break ;; *) ;; esac
        [ -n "$_request" ] || _request=$_piece
        if [ ${#_piece} = "$PIECE" ]; then _begun=begun; else _begun=; fi
    done
    case $_request in
    'GET /metrics '* | 'GET /metrics?'*)
        send "$2" <"$1" || respond '503 Service Unavailable' 'no fresh metrics from the agent (see its log)'
        ;;
    'GET '*) respond '404 Not Found' 'only /metrics is here' ;;
    *)
        respond '405 Method Not Allowed' 'only GET is possible' 'Allow: GET\r\n'
        # A body, until the client has its answer and leaves.
        _pieces=0
        while take; do :; done
        ;;
    esac 2>/dev/null
}

# Reads the next piece of a request, a line or the PIECE characters that it begins with. Fails at the end and beyond the limits.
take() {
    _pieces=$((_pieces + 1))
    read -r _now _ </proc/uptime
    # In whole seconds, the last one begun: no `read` waits for fractions.
    _left=$(((_end - ${_now%.*}${_now#*.} + 99) / 100))
    [ "$_left" -gt 0 ] && [ "$_pieces" -le "$PIECES" ] || return 1
    # shellcheck disable=SC3045
    IFS= read -r -t "$_left" -n "$PIECE" _piece
}

# Sends the file that is standard input, or fails where it is older than that many seconds. send SECONDS
send() {
    read -r _written _size <<STAT
$(stat -L -c '%Y %s' /proc/self/fd/0)
STAT
    _age=$(($(date +%s) - _written))
    [ "$_age" -ge 0 ] && [ "$_age" -le "$1" ] || return 1
    printf 'HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\nConnection: close\r\n\r\n' \
        "$_size"
    # A client that takes nothing must not stay for good. `timeout` would leave a process behind for a second; this pipe ends with
    # cat, which keeps it open and writes elsewhere.
    {
        {
            read -r _self _ </proc/self/stat
            echo "$_self"
            exec cat 4>&1 >&3
        } | {
            read -r _cat
            # shellcheck disable=SC3045
            read -r -t "$ANSWER_SECONDS" _
            kill -9 "$_cat"
        }
    } 3>&1
    return 0
}

# respond STATUS TEXT [HEADERS]
respond() {
    printf 'HTTP/1.1 %s\r\n%bContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n' \
        "$1" "${3:-}" $((${#2} + 1)) "$2"
}
