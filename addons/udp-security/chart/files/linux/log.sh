# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What the agent says: log lines, and why its policy is not in force.

# log LEVEL EVENT MESSAGE
log() {
    printf 'time=%s level=%s event=%s node="%s" policy=%.12s msg="%s"\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2" "$(one_line "$NODE_NAME" | tr '"' "'")" "$WANTED" \
        "$(one_line "$3" | tr '"' "'")"
}

# A text with blanks for its control characters.
one_line() {
    printf %s "$1" | tr '\001-\037' ' '
}

# Remembers why this pod doesn't enforce, for `check` and `status`, and logs it once. fail EVENT REASON
fail() {
    [ "$FAILED" != "$2" ] || return 1
    rm -f "$STATE/room"
    # In one step, for `check` may read it at any time; where there is no space for two, in place.
    printf '%s\n' "$2" 2>/dev/null >"$STATE/reason.new"
    if [ -s "$STATE/reason.new" ]; then
        mv "$STATE/reason.new" "$STATE/reason"
    else
        rm -f "$STATE/reason.new"
        printf '%s\n' "$2" 2>/dev/null >"$STATE/reason"
    fi
    log error "$1" "$2"
    FAILED=$2
    return 1
}

# Whatever failed before is over.
recovered() {
    FAILED=
    rm -f "$STATE/reason" "$STATE/superseded"
    # Takes the space that a reason will need when there is no other left.
    [ -e "$STATE/room" ] || echo 'for a reason' 2>/dev/null >"$STATE/room"
}
