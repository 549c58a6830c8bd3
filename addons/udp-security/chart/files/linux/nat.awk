# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Which UDP ports NAT may translate when a packet comes in. Reads listings of NAT tables one after the other, iptables-save's and
# nft's, and a line `unreadable` for what could not be listed. Prints the first port of each block of 64 that has such a port, and
# of every block where a translation is reached without a port being named, or by what is not understood here.
#
# From the prerouting hook on, rules that name no destination port are followed to the chains they lead to. Where one names ports
# there is no need to look farther: what is behind it is only reached by these.
#
#   rules[CHAIN, N], size[CHAIN]   the rules of each chain, without comments; CHAIN begins with its table's number
#   roots[CHAIN]                   the chains at the hook
#   types[SET], elements[SET]      nft's sets and maps, likewise

{ gsub(/"([^"\\]|\\.)*"/, "") }
/^unreadable$/ { everything = 1 }

/^\*/ { ++tables; nft = 0; roots[tables " PREROUTING"] = 1 }
/^-A / { add(tables " " $2, $0) }

/^table / { ++tables; nft = 1; name = "" }
nft && /^\t(chain|set|map) / { kind = $1; name = tables " " $2; open = 0; next }
nft && /^\t}/ { name = "" }
nft && name == "" { next }
nft && kind == "chain" && /type nat hook prerouting/ { roots[name] = 1; next }
nft && kind == "chain" { add(name, $0); next }
nft && /^\t\ttype(of)? / { sub(/^\t\ttype(of)? /, ""); sub(/ : .*/, ""); types[name] = $0; next }
nft && sub(/^\t\telements = \{/, "") { open = 1 }
nft && open { if (sub(/}[ \t]*$/, "")) open = 0; elements[name] = elements[name] $0 }

END {
    for (root in roots) follow(root)
    for (block = 0; block < 1024; block++) if (everything || block in blocks) print 64 * block
}

function add(chain, rule) {
    rules[chain, ++size[chain]] = rule
}

function follow(chain,    i) {
    if (chain in followed) return
    followed[chain] = 1
    for (i = 1; i <= size[chain]; i++) {
        split(chain, place, " ")
        if (rules[chain, i] ~ /^-A /) judge_iptables(place[1], rules[chain, i])
        else judge_nft(place[1], rules[chain, i])
    }
}

function judge_iptables(table, rule,    target) {
    if (rule ~ / -p / && rule !~ / (! -p [^ ]+|-p (udp|17|all)) /) return
    if (rule !~ /! --dports? / && match(rule, / --dports? [0-9:,]+/)) {
        rule = substr(rule, RSTART, RLENGTH)
        sub(/^ --dports? /, "", rule)
        note(rule)
    } else if (match(rule, / -[jg] [^ ]+/)) {
        target = substr(rule, RSTART + 4, RLENGTH - 4)
        if (target == "DNAT" || target == "REDIRECT") everything = 1
        else follow(table " " target)
    }
}

function judge_nft(table, rule,    keys, map) {
    if (rule ~ /(meta l4proto|ip protocol|ip6 nexthdr) (tcp|sctp|dccp|icmp|icmpv6|ipv6-icmp) /) return
    if (rule ~ /(^|[ \t])(tcp|sctp|dccp) dport /) return
    # Ports, then maybe others of the key's fields, and a set's or map's name.
    if (match(rule, /(udp|th) dport( \. [a-z0-9 ]+)? (vmap |map )?@[^ ]+/)) {
        map = substr(rule, RSTART, RLENGTH)
        sub(/.*@/, "", map)
        note_keys(elements[table " " map], types[table " " map])
    } else if (match(rule, /(udp|th) dport ((vmap |map )?\{[^}]*\}|[0-9][-0-9]*)/)) {
        keys = substr(rule, RSTART, RLENGTH)
        sub(/^(udp|th) dport (v?map )?/, "", keys)
        note_keys(keys, "inet_service")
    } else if (rule ~ /(dnat|redirect|xt target)/) everything = 1
    else {
        follow_all(table, rule)
        if (match(rule, /vmap @[^ ]+/)) follow_all(table, elements[table " " substr(rule, RSTART + 6, RLENGTH - 6)])
    }
}

function follow_all(table, text) {
    while (match(text, /(jump|goto) [^ ,}]+/)) {
        follow(table " " substr(text, RSTART + 5, RLENGTH - 5))
        text = substr(text, RSTART + RLENGTH)
    }
}

# The ports among the keys of UDP in a list of elements; `type` is the key's.
function note_keys(list, type,    element, elements_, field, fields, key, i, j, port, protocol) {
    fields = split(type, field, / \. /)
    for (j = 1; j <= fields; j++) {
        if (field[j] ~ /inet_service|dport/) port = j
        if (field[j] ~ /inet_proto|l4proto|protocol|nexthdr/) protocol = j
    }
    gsub(/[{}]/, "", list)
    elements_ = split(list, element, ",")
    for (i = 1; i <= elements_; i++) {
        sub(/ : .*/, "", element[i])
        if (element[i] !~ /[^ \t]/) continue
        if (split(element[i], key, / \. /) != fields) everything = 1
        else if (!protocol || key[protocol] ~ /udp|17|-/) note(key[port])
    }
}

# Ports "a", "a-b", "a:b", with commas between them, and words behind that do not matter.
function note(list,    block, ends, i, n, part) {
    n = split(list, part, ",")
    for (i = 1; i <= n; i++) {
        if (part[i] !~ /^[ \t]*[0-9]+([-:][0-9]+)?([ \t].*)?$/) { everything = 1; continue }
        sub(/^[ \t]*/, "", part[i])
        sub(/[ \t].*/, "", part[i])
        if (split(part[i], ends, /[-:]/) == 1) ends[2] = ends[1]
        for (block = int(ends[1] / 64); block <= int(ends[2] / 64); block++) blocks[block] = 1
    }
}
