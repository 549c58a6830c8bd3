# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Compiles policy.rules for one family: what it prints is for iptables-restore (ip6tables-restore) --noflush.
#
#   awk -v family=4|6 -v generation=N [-v most=LINES] -f iptables.awk policy.rules
#
# Every chain is entered by -g, except those that a built-in chain jumps to. RETURN, and the end of a chain, then lead back to the
# built-in chain: that is how a packet is allowed, for the rules behind ours judge it too. So a chain ends with a -g to what shall
# become of the packets it knows nothing of.
#
# Fails, with a reason, when that makes more than LINES rules, or when two rules of the policy get one name.

BEGIN {
    PREFIX = "UDPSEC-"
    # So many load in about a second, and the tools take 40 MiB for it; twice as many take five times as long.
    if (!most) most = 30000
    # A lookup longer than LONGEST is cut into about WAYS parts, none of them in vain: shorter than SHORTEST.
    LONGEST = 24
    WAYS = 8
    SHORTEST = 12
    # Chains for ports have up to so many lines.
    PORTS = 16
    # A kernel takes so many chains in a row from iptables-nft, the built-in one among them (NFT_JUMP_STACK_SIZE).
    DEEPEST = 16

    OPTION["tracked", "source"] = "-m conntrack --ctorigsrc "
    OPTION["tracked", "destination"] = "-m conntrack --ctreplsrc "
    OPTION["tracked", "port"] = "-m conntrack --ctreplsrcport "
    # What conntrack does not see is judged by its header.
    OPTION["untracked", "source"] = "-s "
    OPTION["untracked", "destination"] = "-d "
    OPTION["untracked", "port"] = "-p udp -m udp --dport "
    # An untracked reply of an ingress flow: source and destination change places.
    OPTION["mirror", "source"] = "-d "
    OPTION["mirror", "destination"] = "-s "
    OPTION["mirror", "port"] = "-p udp -m udp --sport "

    for (i = 0; i < 16; i++) {
        digit = sprintf("%x", i)
        four = int(i / 8) % 2 "" int(i / 4) % 2 "" int(i / 2) % 2 "" i % 2
        BITS[digit] = four
        HEX[four] = digit
    }
    for (i = 32; i < 127; i++) CODE[sprintf("%c", i)] = i
    split("ingress egress forward", DIRECTIONS, " ")

    print "*filter"
}

NF == 2 && $1 ~ /^(mode|denyAction|scope|logDenials)$/ { setting[$1] = $2 }
$1 == "cluster" family { cluster = $2 }
$1 == "untrackedReply" family { replies = $2 }
NF == 7 {
    counting = account($2)
    from = $(family == 4 ? 4 : 5)
    to = $(family == 4 ? 6 : 7)
    if (from == "none" || to == "none") next
    counter[++rules] = counting
    direction[rules] = $1
    ports[rules] = $3
    sources[rules] = prefixes(from)
    destinations[rules] = prefixes(to)
}

END {
    while (!judged()) {
        # Longer chains cost a packet more, but fewer of them are in a row.
        LONGEST *= 2
        WAYS *= 2
        PORTS *= 2
    }
    for (d = 1; d <= 3; d++) write_direction(DIRECTIONS[d])
    hook("INPUT", "ingress", "-i lo", "egress")
    # kube-proxy may have sent a packet to the node's own NodePort to a pod elsewhere, and its device is still lo here.
    hook("OUTPUT", "egress", "-o lo -m addrtype --dst-type LOCAL", "ingress")
    hook("FORWARD", "forward", "", "")
    if (failed) exit 1
    for (i = 1; i <= lines; i++) print line[i]
    split("INPUT OUTPUT FORWARD", built_in, " ")
    for (i = 1; i <= 3; i++) print "-I " built_in[i] " 1 -p udp -j " PREFIX built_in[i]
    print "COMMIT"
}

function fail(why) {
    if (!failed) print why | "cat >&2"
    failed = 1
}

# --- Lines ------------------------------------------------------------------------------------------------------------------

function declare(chain) {
    print ":" chain " - [0:0]"
}

function add(chain, text) {
    if (++lines <= most) line[lines] = "-A " chain " " text
    else fail("this policy needs more than " most " rules of IPv" family " in iptables, and loading them would take too long" \
        " (name fewer addresses or fewer overlapping ports, or use a kernel with nftables)")
}

# A chain that only counts: what leads there goes on behind our jump. It has no generation, for its counters outlive them.
function account(name,    short) {
    short = PREFIX (length(name) > 21 ? substr(name, 1, 8) "_" digest(name) : name)
    if (short in taken) fail(taken[short] " and " name " get the same chain " short " in iptables (rename one of the two rules)")
    taken[short] = name
    declare(short)
    add(short, "-m comment --comment " name " -j RETURN")
    return short
}

# Twelve hexadecimal digits for a name.
function digest(name,    i, a, b) {
    for (i = 1; i <= length(name); i++) {
        a = (a * 257 + CODE[substr(name, i, 1)]) % 16777213
        b = (b * 263 + CODE[substr(name, i, 1)]) % 16777199
    }
    return sprintf("%06x%06x", a, b)
}

# --- Prefixes: "p" and the bits of a network, so that text order puts a network right before those in it -----------------------

# The id of a list of CIDRs in order: Count[id], and List[id, 1...].
function prefixes(text,    id, n, i, network) {
    if (text in known) return known[text]
    id = ++lists
    known[text] = id
    n = text == "any" ? 0 : split(text, network, ",")
    for (i = 1; i <= n; i++) List[id, i] = prefix(network[i])
    if (text == "any") List[id, n = 1] = "p"
    Count[id] = n
    return id
}

function prefix(network,    part, bits) {
    split(network, part, "/")
    bits = "p" (family == 4 ? bits4(part[1]) : bits6(part[1]))
    if (part[2] != "") bits = substr(bits, 1, part[2] + 1)
    Given[bits] = network
    return bits
}

function bits4(address,    octet, i, bits) {
    split(address, octet, ".")
    for (i = 1; i <= 4; i++) {
        if (!(octet[i] in BITS8)) BITS8[octet[i]] = BITS[sprintf("%x", int(octet[i] / 16))] BITS[sprintf("%x", octet[i] % 16)]
        bits = bits BITS8[octet[i]]
    }
    return bits
}

function bits6(address,    half, left, right, group, i, n, bits) {
    n = split(address, half, "::")
    left = split(half[1], group, ":")
    for (i = 1; i <= left; i++) bits = bits bits16(group[i])
    if (n == 2) {
        right = split(half[2], group, ":")
        for (i = left + right; i < 8; i++) bits = bits bits16("0")
        for (i = 1; i <= right; i++) bits = bits bits16(group[i])
    }
    return bits
}

function bits16(group,    i, bits) {
    if (group in BITS16) return BITS16[group]
    for (i = 1; i <= 4; i++) bits = bits BITS[substr(substr("000" group, length(group)), i, 1)]
    BITS16[group] = bits
    return bits
}

# A prefix as a CIDR.
function cidr(prefix_,    size, bits, i, text, group) {
    if (prefix_ in Given) return Given[prefix_]
    size = family == 4 ? 32 : 128
    bits = substr(prefix_, 2)
    while (length(bits) < size) bits = bits "0"
    for (i = 1; i <= size; i += family == 4 ? 8 : 16) {
        if (family == 4) group = decimal(substr(bits, i, 8))
        else group = HEX[substr(bits, i, 4)] HEX[substr(bits, i + 4, 4)] HEX[substr(bits, i + 8, 4)] HEX[substr(bits, i + 12, 4)]
        text = text (i == 1 ? "" : family == 4 ? "." : ":") group
    }
    return text "/" (length(prefix_) - 1)
}

function decimal(bits,    i, n) {
    for (i = 1; i <= length(bits); i++) n = 2 * n + substr(bits, i, 1)
    return n
}

# What two prefixes have in common.
function common(a, b,    low, high, middle) {
    low = 1
    high = length(a) < length(b) ? length(a) : length(b)
    while (low < high) {
        middle = int((low + high + 1) / 2)
        if (substr(a, 1, middle) == substr(b, 1, middle)) low = middle
        else high = middle - 1
    }
    return substr(a, 1, low)
}

# Sorts Sorted[1..n], texts.
function sort(n,    width, i, left, middle, right, l, r) {
    for (width = 1; width < n; width *= 2) {
        for (left = 1; left <= n; left += 2 * width) {
            middle = left + width <= n ? left + width : n + 1
            right = left + 2 * width <= n ? left + 2 * width : n + 1
            l = left
            r = middle
            for (i = left; i < right; i++)
                Merged[i] = r >= right || (l < middle && Sorted[l] <= Sorted[r]) ? Sorted[l++] : Sorted[r++]
        }
        for (i = 1; i <= n; i++) Sorted[i] = Merged[i]
    }
}

# --- How a direction is judged ----------------------------------------------------------------------------------------------
#
# Tracked packets, untracked ones and untracked replies are judged alike, but by other options: a judgement is made once, as steps
# [direction, 1..Steps[direction]]: in chain From, what has the Value of the option Kind (source, destination, port, or "" for
# all) goes to chain To. A chain is a number here, but for those that count, "denied", and "passed" (not for us to judge).

# Whether all directions are judged in rows of chains that a kernel takes. What is too much altogether is not tried again.
function judged(    longest, way_, d) {
    split("", Steps)
    split("", Chains)
    split("", Depth)
    split("", source_chain)
    split("", destination_chain)
    tables = 0
    for (d = 1; d <= 3; d++) {
        judge(way_ = DIRECTIONS[d])
        Row[way_] = Depth[way_, Judging[way_]]
        if (Scope[way_] + Row[way_] > longest) longest = Scope[way_] + Row[way_]
    }
    # The chain that tells untracked replies, what judges them, and what judges those that are none.
    if (mirrored() && Scope["egress"] + 1 + Row["ingress"] + Row["egress"] > longest)
        longest = Scope["egress"] + 1 + Row["ingress"] + Row["egress"]
    # Before them the built-in chain and ours that it jumps to, behind them "denied" and its counter.
    return failed || 2 + longest + 2 <= DEEPEST
}

# Whether untracked egress packets may be replies to what an ingress rule allows.
function mirrored() {
    return replies != "none" && Steps["ingress"] > First["ingress"]
}

# Depth[direction, chain]: the longest row of chains from this one on. What a step leads to has all its own steps by then.
function step(kind, from, value, to) {
    if (Depth[way, from] <= Depth[way, to]) Depth[way, from] = Depth[way, to] + 1
    From[way, ++Steps[way]] = from
    Kind[way, Steps[way]] = kind
    Value[way, Steps[way]] = value
    To[way, Steps[way]] = to
    if (Steps[way] > most) add("", "")
}

function judge(way_,    start, n, i, id, all, beyond) {
    way = way_
    start = Start[way] = ++Chains[way]
    if (setting["scope"] == "cluster") {
        # An end of the flow that is remote must be in the cluster.
        Judging[way] = ++Chains[way]
        id = cluster == "none" ? 0 : prefixes(cluster)
        for (i = 1; i <= Count[id]; i++) all[List[id, i]] = 1
        n = unfold(all)
        id = ++tables
        for (i = 1; i <= n; i++) {
            Prefix[id, i] = Sorted[i]
            Target[id, i] = Judging[way]
        }
        beyond = way == "forward" ? ++Chains[way] : "passed"
        find(start, way == "egress" ? "destination" : "source", id, 1, n, beyond)
        if (way == "forward") find(beyond, "destination", id, 1, n, "passed")
        # What is judged, and how deep that is, comes now only.
        Scope[way] = Depth[way, start] + (way == "forward" ? Depth[way, beyond] : 0)
        start = Judging[way]
    }
    First[way] = Steps[way] + 1
    Judging[way] = start
    segment()
    port(start, 1, segments)
}

# What lies in elements i..j of a table goes to their targets, the longest prefix deciding, and the rest on. A table is a sorted
# list of prefixes, each with a chain: Prefix[id, 1...] and Target[id, 1...].
function find(from, kind, id, i, j, otherwise,    k, many) {
    if (i <= j && Prefix[id, i] == "p") otherwise = Target[id, i++]
    many = int((j - i + 1) / WAYS)
    if (j - i < LONGEST)
        for (k = j; k >= i; k--) step(kind, from, cidr(Prefix[id, k]), Target[id, k])
    else cut(from, kind, id, i, j, many > SHORTEST ? many : SHORTEST, otherwise)
    step("", from, "", otherwise)
}

# Likewise, but the rest stays in the chain; `many` or fewer elements that have a prefix to themselves go to a chain of their own.
function cut(from, kind, id, i, j, many, otherwise,    shared, own, low, high, middle) {
    if (i > j || failed) return
    shared = common(Prefix[id, i], Prefix[id, j])
    if (Prefix[id, i] == shared) otherwise = own = Target[id, i++]
    if (j - i + 1 <= many && i < j) {
        own = ++Chains[way]
        find(own, kind, id, i, j, otherwise)
    } else if (i <= j) {
        low = i
        high = j + 1
        while (low < high) {
            middle = int((low + high) / 2)
            if (substr(Prefix[id, middle], length(shared) + 1, 1) == "1") high = middle
            else low = middle + 1
        }
        cut(from, kind, id, low, j, many, otherwise)
        cut(from, kind, id, i, low - 1, many, otherwise)
    }
    if (own != "") step(kind, from, cidr(shared), own)
}

# The chain that judges by the destination what these rules (numbers, with commas between them) allow from a source.
function destination(set,    id, n, i, k, r, rule, owner) {
    if (set in destination_chain) return destination_chain[set]
    n = split(set, rule, ",")
    for (i = 1; i <= n; i++)
        if (List[destinations[rule[i]], 1] == "p") return destination_chain[set] = counter[rule[i]]
    for (i = n; i >= 1; i--) {
        r = destinations[rule[i]]
        for (k = 1; k <= Count[r]; k++) owner[List[r, k]] = counter[rule[i]]
    }
    id = ++tables
    n = unfold(owner)
    k = 0
    for (i = 1; i <= n; i++) {
        # What lies in a network that is allowed needs no step of its own.
        if (k && index(Sorted[i], Prefix[id, k]) == 1) continue
        Prefix[id, ++k] = Sorted[i]
        Target[id, k] = owner[Sorted[i]]
    }
    destination_chain[set] = ++Chains[way]
    find(destination_chain[set], "destination", id, 1, k, "denied")
    return destination_chain[set]
}

# The chain that judges by the source, and by the destination, what these rules allow on a port.
function source(set,    id, n, i, k, r, rule, rules_, last, all, depth, around) {
    if (set in source_chain) return source_chain[set]
    n = split(set, rule, ",")
    for (i = 1; i <= n; i++) {
        r = sources[rule[i]]
        if (List[r, 1] == "p" && List[destinations[rule[i]], 1] == "p") return source_chain[set] = counter[rule[i]]
        for (k = 1; k <= Count[r]; k++) {
            if (last[List[r, k]] != rule[i]) rules_[List[r, k]] = rules_[List[r, k]] (rules_[List[r, k]] == "" ? "" : ",") rule[i]
            last[List[r, k]] = rule[i]
        }
    }
    n = unfold(rules_)
    id = ++tables
    for (i = 1; i <= n; i++) Prefix[id, i] = Sorted[i]
    k = depth = 0
    for (i = 1; i <= n; i++) {
        # A source is subject to the rules of every network around it.
        r = Prefix[id, i]
        while (depth && index(r, around[depth]) != 1) depth--
        all[depth + 1] = depth ? union(all[depth], rules_[r]) : rules_[r]
        if (depth && all[depth + 1] == all[depth]) continue
        around[++depth] = r
        Prefix[id, ++k] = r
        Target[id, k] = destination(all[depth])
    }
    if (k == 1 && Prefix[id, 1] == "p") return source_chain[set] = Target[id, 1]
    source_chain[set] = ++Chains[way]
    find(source_chain[set], "source", id, 1, k, "denied")
    return source_chain[set]
}

# Leads from the port to what judges segments i..j.
function port(from, i, j,    width, k, last, target) {
    width = 1
    while ((j - i + 1) / width > PORTS) width *= PORTS
    for (k = i; k <= j && !failed; k += width) {
        last = k + width - 1 < j ? k + width - 1 : j
        if (k == last) target = source(Set[k])
        else port(target = ++Chains[way], k, last)
        step("port", from, Low[k] (High[last] > Low[k] ? ":" High[last] : ""), target)
    }
    step("", from, "", "denied")
}

# Cuts the ports that this direction's rules name wherever a range begins or ends: Low, High and Set (of rules) of [1..segments].
# Bounds have one length, so that their order as texts is that of the numbers.
function segment(    r, n, i, k, part, ends, bounds, at, opens, closes, open, active) {
    for (r = 1; r <= rules; r++) {
        if (direction[r] != way) continue
        n = split(ports[r], part, ",")
        for (i = 1; i <= n; i++) {
            split(part[i], ends, "-")
            at = 100000 + ends[1] ""
            opens[at] = opens[at] " " r
            bounds[at] = 1
            at = 100000 + ends[2] + 1 ""
            closes[at] = closes[at] " " r
            bounds[at] = 1
        }
    }
    n = unfold(bounds)
    segments = 0
    for (i = 1; i <= n; i++) {
        at = Sorted[i]
        # A rule's own ranges may overlap: it is open until the last one ends.
        r = split(closes[at], part, " ")
        for (k = 1; k <= r; k++) if (!--open[part[k]]) active = without(active, part[k])
        r = split(opens[at], part, " ")
        for (k = 1; k <= r; k++) if (!open[part[k]]++) active = union(active, part[k])
        if (active == "") continue
        if (!segments || High[segments] != at - 100001 || Set[segments] != active) {
            Low[++segments] = at - 100000
            Set[segments] = active
        }
        High[segments] = Sorted[i + 1] - 100001
    }
}

function without(list, item) {
    list = "," list ","
    sub("," item ",", ",", list)
    return substr(list, 2, length(list) - 2)
}

# The keys of an array into Sorted, in order; their number.
function unfold(array,    key, n) {
    for (key in array) Sorted[++n] = key
    sort(n)
    return n + 0
}

# Two ascending lists of numbers as one.
function union(a, b,    x, y, n, m, i, k, text, next_) {
    n = split(a, x, ",")
    m = split(b, y, ",")
    for (i = k = 1; i <= n || k <= m; ) {
        if (k > m || (i <= n && x[i] + 0 <= y[k] + 0)) {
            next_ = x[i++]
            if (k <= m && y[k] == next_) k++
        } else next_ = y[k++]
        text = text "," next_
    }
    return substr(text, 2)
}

# --- Writing it down --------------------------------------------------------------------------------------------------------

function write_direction(way,    denied, reject, judging, i, n, address) {
    denied = chain("denied." way)
    reject = "REJECT --reject-with icmp" (family == 4 ? "" : 6) "-port-unreachable"
    add(denied, "-j " account("denied." way))
    if (setting["logDenials"] == "yes")
        add(denied, "-m limit --limit 10/second --limit-burst 20 -j LOG --log-prefix \"udp-security denied " way ": \"")
    add(denied, "-j " (setting["mode"] == "audit" ? "RETURN" : setting["denyAction"] == "reject" ? reject : "DROP"))
    write(way, "tracked", way, 1, denied)
    if (way != "egress" || !mirrored()) {
        write(way, "untracked", way ".u", 1, denied)
        return
    }
    # Untracked packets from these addresses may be replies.
    judging = numbered("egress.u", Judging[way])
    n = split(replies, address, ",")
    for (i = 1; i <= n; i++) add(judging, "-s " address[i] " -g " numbered("mirror", Judging["ingress"]))
    add(judging, "-g " chain("egress.u.other"))
    write("ingress", "mirror", "mirror", First["ingress"], chain("egress.u.other"))
    write(way, "untracked", "egress.u", 1, denied, chain("egress.u.other"))
}

# The steps of a direction from number i on, in chains whose names begin with `base`. `judging` is the chain that judges what is
# in scope, if it is not to be the usual one.
function write(way, mode, base, i, denied, judging,    from, to) {
    if (i == 1 && setting["scope"] == "cluster") {
        # It has no source and no destination that could lie anywhere.
        if (mode == "tracked" && cluster != "none") add(chain(base ".out"), "-m conntrack --ctstate INVALID -g " denied)
        add(chain(base ".out"), "-j RETURN")
    }
    for (; i <= Steps[way] && !failed; i++) {
        from = judging != "" && From[way, i] == Judging[way] ? judging : numbered(base, From[way, i])
        to = To[way, i]
        if (to == "denied") to = denied
        else if (to == "passed") to = chain(base ".out")
        else if (to ~ /^[0-9]/) to = numbered(base, to)
        add(from, (Kind[way, i] == "" ? "" : OPTION[mode, Kind[way, i]] Value[way, i] " ") "-g " to)
    }
}

function chain(name) {
    name = PREFIX generation "-" name
    if (!(name in declared)) declare(name)
    declared[name] = 1
    return name
}

function numbered(base, number) {
    return chain(number == 1 ? base : base "." number)
}

# What a built-in chain jumps to. A flow's other direction is what the other side asked for.
function hook(built_in, way, local, back,    from) {
    from = PREFIX built_in
    declare(from)
    if (local != "") add(from, local " -j RETURN")
    add(from, "-m conntrack --ctstate UNTRACKED -g " chain(way ".u"))
    if (back != "") add(from, "-m conntrack --ctdir REPLY -g " chain(back))
    add(from, "-g " chain(way))
}
