# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What this pod says of itself: `check` and `status`.

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
            all = all ",{" substr(fields, 2) "}"
        }
        END { printf "[%s]", substr(all, 2) }'
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
    printf '"healthy":%s,"reason":%s,"appliedAt":%s,"heals":%s,' "$_healthy" \
        "$({ [ "$_healthy" = true ] || printf %s "$_why"; } | json_string)" \
        "$(cut -d ' ' -f 2 "$STATE/applied" 2>/dev/null | json_string)" "$(heals)"
    printf '"notGoverned":[%s],' "$(not_governed | while read -r _line; do printf '%s' "$_line" | json_string; done | awk '{ printf "%s%s", sep, $0; sep = "," }')"
    printf '"cache":%s,"deniedFlows":%s,"deniedPorts":%s,"counters":%s}\n' "$(json_cache)" \
        "$(json_list denied_flows direction source destination port packets bytes)" \
        "$(json_list denied_ports direction port packets bytes)" "$(json_counters)"
}

# Whether flows' verdicts are cached, where the policy wants that.
json_cache() {
    if [ "$BACKEND" != nftables ] || ! cache_on; then
        echo null
    elif [ -e "$STATE/untrusted" ] || [ ! -e "$STATE/applied" ]; then
        echo '{"trusted":false}'
    else
        echo '{"trusted":true}'
    fi
}

# What the backend lists, or null where it cannot. json_list FUNCTION NAME...
json_list() {
    _listed=$(backend "$1") || { echo null; return; }
    shift
    printf %s "$_listed" | json_objects "$@"
}
