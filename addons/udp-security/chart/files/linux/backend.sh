# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Which of the kernel's firewalls carries the policy.

# backend FUNCTION ARGUMENTS...: the backend's own function of that name. `look` fails only where it cannot tell what there is.
backend() {
    _function=$1
    shift
    "${BACKEND}_$_function" "$@"
}

# The same of the backend that this pod does not use.
other_backend() {
    (
        [ "$BACKEND" = nftables ] && BACKEND=iptables || BACKEND=nftables
        backend "$@"
    )
}

# What an earlier process of this pod chose. `auto` is decided once: two backends in turn would be two sets of rules.
known_backend() {
    _known=$(head -n 1 "$STATE/backend" 2>/dev/null)
    [ -n "$_known" ] && BACKEND=$_known
}

# Takes the backend that the policy names; for `auto` nftables, or iptables where this kernel or image cannot do nftables.
choose_backend() {
    known_backend && return 0
    BACKEND=$(fact backend)
    _without=
    if [ "$BACKEND" = auto ]; then
        BACKEND=nftables
        _without=$(nftables_usable)
        _code=$?
        if [ "$_code" = 2 ]; then
            fail no-backend "cannot tell whether nftables works here: $_without"
            return 1
        elif [ "$_code" != 0 ]; then
            BACKEND=iptables
            if ! _either=$(iptables_usable); then
                fail no-backend "neither nftables nor iptables works here: $_without; $_either"
                return 1
            fi
            log warn backend "iptables, because nftables does not work here: $_without"
        fi
    fi
    printf '%s\n%s\n' "$BACKEND" "$(one_line "$_without")" >"$STATE/backend.new" && mv "$STATE/backend.new" "$STATE/backend"
}
