# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What this pod says of itself: `check`, `status` and `denials`.

# Whether the kernel holds exactly this pod's policy; says why not in $_why, and in $_owner who owns the rules.
in_force() {
    _why=
    if [ ! -e "$STATE/released" ] && read -r _digest _ 2>/dev/null <"$STATE/applied" && [ "$(backend digest)" = "$_digest" ]; then
        _owner=$SELF
        return 0
    fi
    _owner=$(backend look | backend owner)
    _why=$(cat "$STATE/reason" 2>/dev/null)
    if [ -e "$STATE/released" ]; then
        _why='the rules were removed on request (delete this pod to have them back)'
    elif [ ! -e "$STATE/applied" ]; then
        _why=${_why:-no policy was applied yet}
    elif [ -z "$_owner" ]; then
        # By whom it was superseded is past.
        case $_why in superseded:*) _why= ;; *) ;; esac
        _why="${_why:+$_why; }the rules are gone from the kernel"
    elif [ "$_owner" != "$SELF" ]; then
        _why="superseded: pod $_owner owns this node now"
    else
        _why="${_why:+$_why; }the kernel's rules differ from this policy's"
    fi
    return 1
}

check() {
    known_backend
    # A swap in progress changes the rules between two looks.
    in_force || { sleep 0.5; in_force; } || { echo "not in force: $_why"; return 1; }
    printf 'in force: policy %.12s, mode %s\n' "$WANTED" "$(fact mode)"
    not_governed | sed 's/^/not governed: /'
}

# A JSON string of standard input; null when there is none.
json_string() {
    tr '\001-\037' ' ' | sed -e 's/[\\"]/\\&/g' -e 's/ *$//' | awk '{ print "\"" $0 "\""; some = 1 } END { if (!some) print "null" }'
}

# The counters as a JSON object.
json_counters() {
    backend counters | awk '
        { traffic = sprintf("\"packets\":%s,\"bytes\":%s", $3, $4) }
        $1 == "denied" { denied = denied ",\"" $2 "\":{" traffic "}" }
        $1 == "rule" {
            sub(/^r\./, "", $2)
            if ($2 ~ /^preset\./) gsub(/\./, ":", $2)
            rules = rules ",{\"name\":\"" $2 "\"," traffic "}"
        }
        END { printf "{\"rules\":[%s],\"denied\":{%s}}", substr(rules, 2), substr(denied, 2) }'
}

# Lines on standard input as a JSON list of objects with these names of fields. json_objects NAME...
json_objects() {
    awk -v names="$*" '
        BEGIN { n = split(names, name, " ") }
        {
            fields = ""
            for (i = 1; i <= n; i++)
                fields = fields ",\"" name[i] "\":" (name[i] ~ /^(direction|source|destination)$/ ? "\"" $i "\"" : $i)
            printf "%s{%s}", NR == 1 ? "[" : ",", substr(fields, 2)
        }
        END { print NR ? "]" : "[]" }'
}

status() {
    known_backend
    in_force && _healthy=true || _healthy=false
    printf '{"schemaVersion":1,"os":"linux","backend":"%s","backendReason":%s,"node":%s,"version":%s,"generation":%s,' \
        "$BACKEND" "$(sed -n '2{/./p;}' "$STATE/backend" 2>/dev/null | json_string)" \
        "$(printf %s "$NODE_NAME" | json_string)" "$(fact version | json_string)" "$(printf %.12s "$WANTED" | json_string)"
    printf '"owner":%s,"self":%s,"mode":%s,"denyAction":%s,"scope":%s,' \
        "$(printf %s "$_owner" | json_string)" "$(printf %s "$SELF" | json_string)" "$(fact mode | json_string)" \
        "$(fact denyAction | json_string)" "$(fact scope | json_string)"
    printf '"healthy":%s,"reason":%s,"appliedAt":%s,"applySeconds":%s,"heals":%s,' "$_healthy" \
        "$({ [ "$_healthy" = true ] || printf %s "$_why"; } | json_string)" \
        "$(cut -d ' ' -f 2 "$STATE/applied" 2>/dev/null | json_string)" "$(apply_seconds)" "$(heals)"
    printf '"notGoverned":[%s],' "$(not_governed | while read -r _line; do printf '%s' "$_line" | json_string; done | awk '{ printf "%s%s", sep, $0; sep = "," }')"
    printf '"cache":%s,%s,"counters":%s}\n' "$(json_cache)" "$(json_denied 20)" "$(json_counters)"
}

# All that was denied in the last hour, as far as the sets of denials hold it.
denials() {
    known_backend
    printf '{"schemaVersion":1,"os":"linux","node":%s,"mode":%s,%s}\n' \
        "$(printf %s "$NODE_NAME" | json_string)" "$(fact mode | json_string)" "$(json_denied 99999)"
}

# The flows and ports with the most denied packets. json_denied MOST
json_denied() {
    printf '"deniedFlows":%s,"deniedPorts":%s' \
        "$(json_list denied_flows "$1" direction source destination port packets bytes ago)" \
        "$(json_list denied_ports "$1" direction port packets bytes ago)"
}

json_cache() {
    _trusted=$(cache_trusted)
    if [ -n "$_trusted" ]; then echo "{\"trusted\":$_trusted}"; else echo null; fi
}

# `true` or `false`: whether flows' verdicts are taken from the cache; nothing where there is none.
cache_trusted() {
    [ "$BACKEND" = nftables ] && cache_on || return 0
    if [ -e "$STATE/untrusted" ] || [ ! -e "$STATE/applied" ]; then echo false; else echo true; fi
}

# What the backend lists, or null where it cannot. json_list FUNCTION MOST NAME...
json_list() {
    _listed=$(backend "$1" "$2") || { echo null; return; }
    shift 2
    printf %s "$_listed" | json_objects "$@"
}
