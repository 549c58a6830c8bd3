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
    [ "$FAILED" = "$2" ] || log error "$1" "$2"
    FAILED=$2
    printf '%s\n' "$2" 2>/dev/null >"$STATE/reason"
    return 1
}

# Whatever failed before is over.
recovered() {
    FAILED=
    rm -f "$STATE/reason" "$STATE/superseded"
}
