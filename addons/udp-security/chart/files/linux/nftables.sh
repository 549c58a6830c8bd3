# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The backend nftables: all contact with nft.
#
# Ownership is an empty chain `owner-<pod uid>` in our table. Claiming is one transaction that deletes the old owner's chain and
# adds one's own: of two claimants the second gets ENOENT, and nothing changed. An agent that lost the node stands by with a
# chain `standby-<pod uid>`, so that an owner who leaves can hand the rules over instead of removing them (a rollback). A chain
# `release-<namespace>/<name>` tells a rollout from a second Helm release, which may not take the node over.

# Tables are two words, and none of them can hold a glob.
# shellcheck disable=SC2086

TABLE='inet udp_security'
BRIDGE='bridge udp_security'
# The line of policy.nft behind which the base chains are pointed to the new generation.
HOOKS_MARK='# hooks: '
# How long nft may take. Loading the largest policy takes a few seconds on a slow machine.
NFT_SECONDS=60
# UDP timeouts of conntrack that were longer once do not show any more: never trust a cached verdict's value sooner than this.
LEAST_QUARANTINE=300

# For awk: what nft prints for a time, in seconds.
AWK_SECONDS='
    function seconds(text,   n, unit) {
        for (; match(text, /^[0-9]+[a-z]+/); text = substr(text, RLENGTH + 1)) {
            unit = substr(text, 1, RLENGTH)
            gsub(/[0-9]/, "", unit)
            n += text * (unit == "d" ? 86400 : unit == "h" ? 3600 : unit == "m" ? 60 : unit == "s" ? 1 : 0.001)
        }
        return n
    }'

# nft, but for so long only: one that hangs would end the watch.
run_nft() {
    timeout -s KILL "$NFT_SECONDS" nft "$@"
    _code=$?
    [ "$_code" != 137 ] || echo "Error: nft was killed (it took over $NFT_SECONDS seconds, or more memory than linux.resources gives)" >&2
    return "$_code"
}

# The last complaint of nft, with what to do where the cause is known.
nftables_complaint() {
    _line=$(grep -m 1 -i error "$STATE/complaint" || head -n 1 "$STATE/complaint")
    case $_line in
    *'not permitted'*) _line="$_line (the container needs the capability NET_ADMIN in the node's network namespace; or another \
program holds the table as its own)" ;;
    *'not found'*) _line="$_line (linux.image must be an image with nft, as Flannel's is)" ;;
    *'too long'*) _line="$_line (as root of a user namespace only, nft sends what fits into net.core.wmem_max)" ;;
    *'not supported'*) _line="$_line (this kernel lacks an nf_tables feature)" ;;
    *) ;;
    esac
    printf %s "$_line"
}

# Whether this image and kernel have what the rules are made of; prints why not. Nothing of it stays.
nftables_usable() {
    command -v nft >/dev/null || { echo 'this image has no nft'; return 1; }
    loadable "$STATE/policy/probe.nft" && return 0
    nftables_complaint
    ! passing || return 2
    return 1
}

# --- What the kernel holds --------------------------------------------------------------------------------------------------

# Our table without set elements and counters' values: enough to see names. Fails where nft cannot tell: not to know the rules is
# not the same as that there are none.
nftables_look() {
    # No further descriptor for run_nft: timeout's watcher would keep it open for a second.
    { _said=$(run_nft -s -t list table $TABLE 2>&1 >&3 3>&-) && return 0; } 3>&1
    case $_said in *'No such file'*) ;; *) return 1 ;; esac
}

# Whether a look might find anything; where a look itself is quick there is no need to ask.
nftables_traces() {
    return 0
}

# The rest of the names of empty chains that begin with $1, from an outline on standard input. A chain with anything in it, a hook
# for example, is no mark of ours. marks PREFIX
marks() {
    sed -n -E "/^	chain $1-/{N;s/^	chain $1-([^ ]+) \{\n	\}\$/\1/p;}"
}

# What others add beside our own mark is no claim.
nftables_owner() {
    marks owner | awk -v self="$SELF" 'NR == 1 || $0 == self { uid = $0 } END { if (NR) print uid }'
}

nftables_standbys() {
    marks standby
}

nftables_releases() {
    marks release
}

# Without counters' values, without what the kernel and `tend` put into sets, and without the marks of others, who wait to own the
# rules.
nftables_digest() {
    nftables_listing | sha256sum | cut -d ' ' -f 1
}

nftables_listing() {
    for _table in "$TABLE" "$BRIDGE"; do run_nft -s list table $_table 2>/dev/null; done | awk -v self="owner-$SELF" '
        mark { held = mark; mark = ""; if ($0 == "\t}") next; print held }
        /^\tchain (owner|standby)-/ && $2 != self { mark = $0; next }
        /^\tset (cache|denied|prefilter)\./ { volatile = 1 }
        volatile && /^\t\telements = / { elements = 1 }
        /^\t\}$/ { volatile = elements = 0 }
        !elements && NF'
}

# Lines `TABLE CHAIN RULES`, and for maps their elements, of what is on standard input: an earlier such list, nft's listing or a text
# for it. Others' marks are no chains here.
nftables_shape() {
    awk -v self="owner-$SELF" '
        NF == 4 && /^(inet|bridge) [^ ]+ [^ ]+ [0-9]+$/ { n[$1 " " $2 " " $3] = $4; next }
        $1 == "table" { table = $2 " " $3 }
        /^\tchain [^ ]+ \{/ { chain = table " " $2; n[chain] += 0; if (/\}$/) chain = ""; next }
        /^\tmap [^ ]+ \{/ { map = table " map:" $2 }
        map != "" { n[map] += gsub(/ : /, "&") }
        /^\t\}/ { chain = map = "" }
        chain != "" && /^\t\t[^#\t ]/ && $1 != "type" { n[chain]++ }
        $2 == "chain" { name = $3 " " $4 " " $5 }
        $2 == "chain" && ($1 == "add" || $1 == "create") { n[name] += 0 }
        $2 == "chain" && $1 == "flush" { n[name] = 0 }
        $2 == "chain" && $1 == "delete" { delete n[name] }
        $1 == "add" && $2 == "rule" { n[$3 " " $4 " " $5]++ }
        END {
            for (name in n) if (name ~ (" " self "$") || name !~ / (owner|standby|release)-|\.reserved$/) print name, n[name]
        }' | sort
}

# Writes down which shape the rules will have after these files of $STATE, or fails where there is no space. expect FILE...
expect() {
    for _file in "$@"; do cat "$STATE/$_file"; done 2>/dev/null | nftables_shape 2>/dev/null >"$STATE/shape.new"
    echo "$WRITTEN" 2>/dev/null >>"$STATE/shape.new"
    whole shape.new
}

# The digest, after this pod has changed the rules; fails where they are not those that it loaded, for somebody else was quicker:
# their shape is another one, or they differ, apart from the generation's number, from what they were with this shape before.
nftables_record() {
    whole shape || return 1
    _listing=$(nftables_listing)
    [ "$(printf '%s\n' "$_listing" | nftables_shape)" = "$(grep -v '^#' "$STATE/shape")" ] || return 1
    _shape=$(sed 's/[ :]g[0-9]*\./ /' "$STATE/shape" | sha256sum)
    _content=$(printf '%s\n' "$_listing" | sed -E -e '/^	chain g[0-9]+\.reserved \{$/,/^	\}$/d' \
        -e 's/(^|[^a-z0-9.-])g[0-9]+\./\1/g' -e '/ct mark/s/0x[0-9a-f]{8}/0x/g' | sort | sha256sum)
    _known=$(sed -n "s/^$_shape//p" "$STATE/known" 2>/dev/null)
    if [ "$_known" != "$_content" ]; then
        # Two loads in a row that agree are right.
        { grep -v "^$_shape" "$STATE/known"; echo "$_shape$_content"; } 2>/dev/null >"$STATE/known.new"
        mv "$STATE/known.new" "$STATE/known"
        [ -z "$_known" ] || return 1
    fi
    printf '%s\n' "$_listing" | sha256sum | cut -d ' ' -f 1
}

# Lines `rule NAME PACKETS BYTES` and `denied DIRECTION PACKETS BYTES`; nothing where our first table is missing. All tables'
# counters are listed at once, since nft reads all tables for those of one.
nftables_counters() {
    run_nft list counters 2>/dev/null | awk -v rules="$TABLE" -v frames="$BRIDGE" '
        $1 == "table" { table = $2 " " $3 }
        $1 == "counter" { name = $2 }
        $1 != "packets" || (table != rules && table != frames) { next }
        table == rules { there = 1 }
        sub(/^denied\./, "denied ", name) { line[++n] = name " " $2 " " $4 }
        name ~ /^r\./ { line[++n] = "rule " name " " $2 " " $4 }
        END { for (i = 1; there && i <= n; i++) print line[i] }'
}

# The elements of the sets of denials whose names end with one of the words, as lines `DIRECTION KEY... PACKETS BYTES AGO` (seconds
# since its last packet), the most packets first. denied_elements MOST WORD...
denied_elements() {
    _most=$1
    shift
    for _direction in ingress egress forward; do
        for _kind in "$@"; do run_nft list set $TABLE "denied.$_direction.$_kind" 2>/dev/null; done
    done | tr ',' '\n' | awk '
        $1 == "set" { split($2, name, "."); keys = name[3] == "ports" ? 1 : 5; lifetime = 0 }
        $1 == "timeout" && $2 != "" { lifetime = $2 }
        / counter / {
            key = $1 == "elements" ? 4 : 1
            own = left = lifetime
            for (i = key + keys; i < NF; i += 2) {
                if ($i == "counter") i--
                else if ($i == "packets") packets = $(i + 1)
                else if ($i == "bytes") bytes = $(i + 1)
                else if ($i == "expires") left = $(i + 1)
                else if ($i == "timeout") own = $(i + 1)
            }
            print name[2], (keys == 1 ? $key : $key " " $(key + 2) " " $(key + 4)), packets, bytes, own, left
        }' | sort -k "$((${#1} > 3 ? 3 : 5)),9nr" | head -n "$_most" | awk "$AWK_SECONDS"'
            { ago = int(seconds($(NF - 1)) - seconds($NF)); NF -= 2; print $0, ago }'
}

# nftables_denied_flows MOST
nftables_denied_flows() {
    denied_elements "$1" ip ip6
}

# nftables_denied_ports MOST
nftables_denied_ports() {
    denied_elements "$1" ports
}

# --- Cached verdicts --------------------------------------------------------------------------------------------------------
#
# A generation's accepted flows carry its values in their conntrack mark. There are few values, and one that was used before may
# stand in marks that an older policy left: such a value is not trusted before every flow that could carry it has been judged
# again or has expired. The set `cache.<mask>` holds those values ("slots"), and the kernel lets them go in time, whether an agent
# lives or not.

# The words of the fact `cache`.
cache_fact() {
    read -r _shift _slots _mask _on <<FACT
$(fact cache)
FACT
}

# The set's name.
cache_set() {
    cache_fact
    printf 'cache.%s' "$_mask"
}

cache_slots() {
    cache_fact
    echo "$_slots"
}

cache_on() {
    cache_fact
    [ "$_on" = on ]
}

# The slots that must not be trusted; the number of slots stands for all. Fails where no table has the set.
quarantined() {
    _set=$(run_nft list set $TABLE "$(cache_set)" 2>/dev/null) || return 1
    # What somebody takes out just now is remembered all the same.
    _remembered=$(awk -v set="$(cache_set)" -v now="$(($(uptime_hundredths) / 100))" '$1 == set && $3 - now >= 2 { print $2 }' \
        "$STATE/quarantine" 2>/dev/null)
    for _slot in $(printf '%s' "$_set" | grep -o '0x[0-9a-f]\{8\}') $_remembered; do echo $((_slot)); done
}

# Puts back into the set what somebody took out before its time, and remembers what is in it: lines `SET SLOT UNTIL`, in seconds since
# the node started.
guard_quarantine() {
    [ -e "$STATE/purging" ] || { rm -f "$STATE/quarantine"; return 0; }
    _set=$(cache_set)
    _listed=$(run_nft list set $TABLE "$_set" 2>/dev/null) || return 1
    touch "$STATE/quarantine"
    _early=$(printf '%s\n' "$_listed" | tr ',' '\n' | awk -v set="$_set" -v now="$(($(uptime_hundredths) / 100))" \
        -v longest="$(quarantine)" -v kept="$STATE/quarantine" -v new="$STATE/quarantine.new" "$AWK_SECONDS"'
        match($0, /0x[0-9a-f]+ timeout /) {
            slot = substr($0, RSTART, RLENGTH - 9)
            sub(/.* expires /, "")
            until[slot] = now + int(seconds($1))
        }
        END {
            while ((getline line <kept) > 0) {
                split(line, word, " ")
                left = word[3] - now
                if (word[1] != set || (word[2] in until) || left < 2) continue
                if (left > longest) left = longest
                until[word[2]] = now + left
                print "add element inet udp_security " set " { " word[2] " timeout " left "s }"
            }
            printf "" >new
            for (slot in until) print set, slot, until[slot] >new
        }')
    mv "$STATE/quarantine.new" "$STATE/quarantine" 2>/dev/null
    [ -n "$_early" ] || return 0
    printf '%s\n' "$_early" | run_nft -f - 2>/dev/null &&
        log warn quarantine "somebody took values out of $_set that old flows may still carry: they are back, and not trusted"
}

# Whether no earlier flow can carry the values of generation $1 any more, where $2 are the numbers of other generations.
trusted() {
    _quarantined=$(quarantined) || return 1
    _slots=$(cache_slots)
    for _other in $2; do [ $(((_other - $1) % _slots)) -ne 0 ] || return 1; done
    ! printf '%s\n' "$_quarantined" | grep -qx -e $(($1 % _slots)) -e "$_slots"
}

# The UDP timeouts of conntrack, in seconds; what it had set once, its entries keep.
TIMEOUTS='/proc/sys/net/netfilter/nf_conntrack_udp_timeout /proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream'

# Remembers the longest of them as long as this pod watches.
remember_timeouts() {
    read -r _longest 2>/dev/null <"$STATE/longest" || _longest=0
    for _file in $TIMEOUTS; do
        read -r _timeout 2>/dev/null <"$_file" && [ "$_timeout" -gt "$_longest" ] || continue
        _longest=$_timeout
        echo "$_longest" >"$STATE/longest"
    done
}

# How many seconds a flow may live without a packet.
quarantine() {
    cat $TIMEOUTS "$STATE/longest" 2>/dev/null |
        awk -v longest="$LEAST_QUARANTINE" '$1 > longest { longest = $1 } END { print longest + 10 }'
}

# Statements that keep the values of all generations of an outline from being trusted, or all values, where the outline has no
# set of them, or had no cache: then nothing has taken old values from flows that were denied. To add again what is there would
# not renew its time. retire OUTLINE
retire() {
    _set="$TABLE $(cache_set)"
    _slots=$(cache_slots)
    _seconds=$(quarantine)
    case $1 in
    *"	set $(cache_set) {"*'ct mark set'*) _retired=$(printf '%s\n' "$1" | generations | awk -v slots="$_slots" '{ print $1 % slots }' | sort -u) ;;
    *) _retired=$_slots ;;
    esac
    for _slot in $_retired; do
        echo "add element $_set { $_slot }"
        echo "delete element $_set { $_slot }"
        echo "add element $_set { $_slot timeout ${_seconds}s }"
    done
}

# The numbers of the generations in an outline on standard input.
generations() {
    sed -n 's/^	chain g0*\([0-9]\{1,9\}\)\..*/\1/p' | sort -nu
}

# The number of the next generation after those of an outline: the first whose values can be trusted, if there is one.
next_generation() {
    _present=$(printf '%s\n' "$1" | generations)
    _first=$(($(printf '%s\n' "${_present:-0}" | tail -n 1) + 1))
    _quarantined=
    ! cache_on || _quarantined=$(quarantined) || _quarantined=$(cache_slots)
    { printf '%s\n' "$_present" | sed 's/./present &/'; printf '%s\n' "$_quarantined"; } |
        awk -v first="$_first" -v slots="$(cache_slots)" '
            NF { taken[$1 == "present" ? $2 % slots : $1] = 1 }
            END { for (n = first; n < first + slots && (slots in taken || n % slots in taken); n++); print n < first + slots ? n : first }'
}

# --- Applying ---------------------------------------------------------------------------------------------------------------

# Loads a file as one transaction, complaining into $STATE/complaint. Only here, not when asked to check, do kernels before 5.19 say
# that they cannot look up which device leads to a source where packets are forwarded: the next try will not ask for it.
load() {
    run_nft -f "$1" 2>"$STATE/complaint" && return 0
    ! { grep -q 'not supported' "$STATE/complaint" && grep -q 'fib saddr' "$STATE/complaint"; } || nftables_complaint >"$STATE/no-source"
    return 1
}

# Whether the kernel would take that transaction.
loadable() {
    run_nft -c -f "$1" 2>"$STATE/complaint"
}

# Whether the last complaint says nothing about what was loaded.
passing() {
    grep -qE 'allocate memory|nft was killed' "$STATE/complaint"
}

# Statements that make this pod the owner in place of $1 (a pod uid, maybe this one's; empty: there is none), and that fail when
# that is no longer so.
claim() {
    if [ -n "$1" ]; then
        echo "delete chain $TABLE owner-$1"
        echo "add chain $TABLE owner-$SELF"
    else
        echo "create chain $TABLE owner-$SELF"
    fi
    [ -z "$RELEASE" ] || echo "add chain $TABLE release-$RELEASE"
}

# The policy's text with generation number $1: the part before the hooks, or from them on, there with or without the rules that
# trust cached verdicts. The number is replaced at the start of a name only: a rule may be called g0 itself.
# generation N before|trusting|judging
generation() {
    cache_fact
    _base=$((3 * ($1 % _slots)))
    set -- "$1" "$2" -e "s/\([ @]\)g0\./\1g$1./g"
    for _value in 1 2 3; do
        set -- "$@" -e "/ct mark/s/$(printf '0x%08x' $((_value << _shift)))/$(printf '0x%08x' $(((_base + _value) << _shift)))/g"
    done
    [ ! -e "$STATE/no-source" ] || set -- "$@" -e '/ fib saddr /d'
    case $2 in
    before) shift 2; sed -e "/^$HOOKS_MARK/,\$d" "$@" "$STATE/policy/policy.nft" ;;
    trusting) shift 2; sed -n "$@" -e "/^$HOOKS_MARK/,\$p" "$STATE/policy/policy.nft" ;;
    *) shift 2; sed -n -e '/ # trusted$/d' -e 's/^# untrusted: //' "$@" -e "/^$HOOKS_MARK/,\$p" "$STATE/policy/policy.nft" ;;
    esac
}

# What goes with the hooks: the table for bridged frames where the kernel can have one, and what the prefilter must let through.
# Fails where nft could not tell whether the kernel can.
beside_hooks() {
    if [ -e "$STATE/policy/policy.bridge" ] && loadable "$STATE/policy/policy.bridge"; then
        rm -f "$STATE/no-bridge"
        cat "$STATE/policy/policy.bridge"
    else
        ! passing || return 1
        [ ! -e "$STATE/policy/policy.bridge" ] || nftables_complaint >"$STATE/no-bridge"
        ! bridge_table || echo "delete table $BRIDGE"
    fi
    [ -z "$(fact prefilter)" ] || exempt "$(nat_ports)"
}

# Statements that let these ports pass the prefilter, and no others. exempt PORTS
exempt() {
    echo "flush set $TABLE prefilter.exempt"
    [ -z "$1" ] || echo "add element $TABLE prefilter.exempt { $(echo $1 | tr ' ' ',') }"
}

# Statements that delete every object of the table that generation $1 does not use, or those of this generation only. Fails where
# the table cannot be read. cleanup GENERATION others|only
cleanup() {
    nftables_look | awk -v table="$TABLE" -v mine="g$1." -v which="$2" -v self="owner-$SELF" -v release="release-$RELEASE" \
        -v policy="$STATE/policy/policy.nft" '
        BEGIN {
            while ((getline line <policy) > 0)
                if (split(line, words, " ") > 2 && line ~ /^\t(counter|chain|set|map) [^ ]+ \{/ && words[2] !~ /^g0\./)
                    keep[words[1] " " words[2]] = 1
                else if (line ~ /^add chain inet /) keep["chain " words[5]] = 1
            keep["chain " self] = keep["chain " release] = 1
        }
        { read = 1 }
        # Foreign objects may be of other kinds as well: "quota NAME {", "ct helper NAME {".
        /^\t[a-z][a-z ]* [^ ]+ \{$/ {
            name = $(NF - 1)
            kind = substr($0, 2, length($0) - length(name) - 4)
            if (which == "only" ? index(name, mine) != 1 : (kind " " name) in keep || index(name, mine) == 1) next
            if (name ~ /^standby-/) { getline; if ($0 == "\t}") next }
            if (kind == "chain" || kind == "map") stale[kind, ++n[kind]] = name
            else others[++m] = "delete " kind " " table " " name
        }
        END {
            for (i = 1; i <= n["chain"]; i++) print "flush chain", table, stale["chain", i]
            for (i = 1; i <= n["map"]; i++) print "delete map", table, stale["map", i]
            for (i = 1; i <= n["chain"]; i++) print "delete chain", table, stale["chain", i]
            for (i = 1; i <= m; i++) print others[i]
            exit !read
        }'
}

# Deletes what generation $1 does not use, if this pod is still the owner.
sweep() {
    _stale=$(cleanup "$1" others) || return 1
    [ -z "$_stale" ] || printf '%s\n' "$(claim "$SELF")" "$_stale" | load -
}

# The first two transactions of a swap, in files of their own and together; fails where there is no space. Takes $_generation, $_hooks
# and what is beside the hooks from nftables_swap. write_swap OUTLINE OWNER
write_swap() {
    {
        # The chain fails when another pod builds the same generation at this moment.
        generation "$_generation" before && echo "create chain $TABLE g$_generation.reserved" && echo "$WRITTEN"
    } 2>/dev/null >"$STATE/add.nft"
    {
        claim "$2"
        retire "$1"
        cat "$STATE/beside.nft" && generation "$_generation" "$_hooks" && echo "$WRITTEN"
    } 2>/dev/null >"$STATE/point.nft"
    cat "$STATE/add.nft" "$STATE/point.nft" 2>/dev/null >"$STATE/both.nft"
    whole add.nft point.nft both.nft
}

# The transaction that replaces the whole table, likewise. write_rebuild OUTLINE OWNER
write_rebuild() {
    {
        if [ -n "$1" ]; then
            [ -z "$2" ] || echo "delete chain $TABLE owner-$2"
            echo "delete table $TABLE"
        fi
        echo "create table $TABLE"
        generation "$_generation" before && claim '' && retire '' &&
            cat "$STATE/beside.nft" && generation "$_generation" judging && echo "$WRITTEN"
    } 2>/dev/null >"$STATE/rebuild.nft"
    whole rebuild.nft
}

# The first two transactions of a swap. A policy that the kernel never had is checked before: the first would leave its counters
# behind when the second is refused. Returns 1 when this table does not take them (it is damaged, or the policy is refused), 2 when it
# was another one just now. Takes $_generation.
load_beside() {
    if ! { claimed || loadable "$STATE/both.nft"; } || ! load "$STATE/add.nft"; then
        passing || nftables_look | grep -q "^	chain g$_generation\.reserved {" || return 1
        return 2
    fi
    load "$STATE/point.nft" && return 0
    passing && _refused=2 || _refused=1
    cleanup "$_generation" only | run_nft -f - 2>/dev/null
    [ "$_refused" = 2 ] || ! loadable "$STATE/both.nft" || _refused=2
    return "$_refused"
}

# Makes the kernel hold this pod's policy and this pod own it, where the outline was $1 and the owner $2. Three transactions: add
# the new generation beside the old one, point the base chains to it, delete the old one. No packet meets half a policy, and only
# the second changes a packet's fate. One replacing transaction would lose packets: it is for a table that is missing, or damaged so
# that nothing can be added to it. Returns 1 when the kernel refuses the policy, 2 when the table is not as it was seen any more, 3
# when there is no space to write to. nftables_swap OUTLINE OWNER
nftables_swap() {
    if [ -z "$1" ]; then rm -f "$STATE/quarantine"; elif [ -s "$STATE/quarantine" ]; then guard_quarantine; fi
    _generation=$(next_generation "$1")
    _hooks=judging
    case $1 in
    *'ct mark set'*) cache_on && trusted "$_generation" "$(printf '%s\n' "$1" | generations)" && _hooks=trusting ;;
    *) ;;
    esac
    { beside_hooks || return 2; echo "$WRITTEN"; } 2>/dev/null >"$STATE/beside.nft"
    # Half a policy might load as well.
    if ! whole beside.nft || { [ -n "$1" ] && ! { write_swap "$1" "$2" && expect both.nft; }; }; then
        discard
        return 3
    fi

    _way=1
    if [ -n "$1" ]; then
        load_beside
        _way=$?
    fi
    case $_way in
    0)
        mv "$STATE/shape.new" "$STATE/shape"
        # Once more, because nobody else looks for leftovers.
        sweep "$_generation" || { sleep 0.3; sweep "$_generation"; } ||
            log warn leftovers "old rules stay beside those in force: $(nftables_complaint)"
        ;;
    2) return 2 ;;
    *)
        if ! { write_rebuild "$1" "$2" && expect rebuild.nft; }; then
            discard
            return 3
        fi
        if ! load "$STATE/rebuild.nft"; then
            ! passing && ! loadable "$STATE/rebuild.nft" && return 1
            return 2
        fi
        mv "$STATE/shape.new" "$STATE/shape"
        _hooks=judging
        ;;
    esac
    discard
    rm -f "$STATE/untrusted" "$STATE/purging"
    ! cache_on || touch "$STATE/purging"
    ! cache_on || [ "$_hooks" = trusting ] || echo "$_generation" >"$STATE/untrusted"
}

# Removes the files of the last swap: space for what has to be remembered.
discard() {
    for _file in beside.nft add.nft point.nft both.nft rebuild.nft shape.new; do rm -f "$STATE/$_file"; done
}

# Changes the rules in force by the statements on standard input.
change() {
    { claim "$SELF"; cat; echo "$WRITTEN"; } 2>/dev/null >"$STATE/point.nft"
    if ! { whole point.nft && expect shape point.nft && load "$STATE/point.nft"; }; then
        discard
        return 1
    fi
    mv "$STATE/shape.new" "$STATE/shape"
    discard
    rules_changed "$(cut -d ' ' -f 2 "$STATE/applied")"
}

# What changes in time while the policy is in force: the cache's values come to be trusted, and the node's NAT names other ports.
nftables_tend() {
    remember_timeouts
    guard_quarantine
    _untrusted=$(cat "$STATE/untrusted" 2>/dev/null)
    if [ -n "$_untrusted" ] && trusted "$_untrusted" ''; then
        generation "$_untrusted" trusting | change || return 1
        rm -f "$STATE/untrusted"
        log info cached "generation $_untrusted: verdicts of flows are cached from now on"
    fi
    if [ ! -e "$STATE/untrusted" ] && [ -e "$STATE/purging" ] && _quarantined=$(quarantined) && [ -z "$_quarantined" ]; then
        for _hook in prerouting output; do
            echo "flush chain $TABLE purge.$_hook"
            echo "delete chain $TABLE purge.$_hook"
        done | change || return 1
        rm -f "$STATE/purging"
    fi
    [ -n "$(fact prefilter)" ] || return 0
    _ports=$(nat_ports)
    [ "$(printf '%s\n' $_ports | sort -n)" = "$(exempted)" ] || exempt "$_ports" | change
}

# The ports that pass the prefilter, one a line.
exempted() {
    run_nft list set $TABLE prefilter.exempt 2>/dev/null | sed -n '/elements = /,/}/p' | grep -o '[0-9]\{1,5\}' | sort -n
}

# --- Owning -----------------------------------------------------------------------------------------------------------------

nftables_standby() {
    run_nft add chain $TABLE "standby-$SELF" 2>/dev/null
}

nftables_unstandby() {
    run_nft delete chain $TABLE "standby-$1" 2>/dev/null
}

nftables_disown() {
    run_nft delete chain $TABLE "owner-$1" 2>/dev/null
}

# Whether there is a table for bridged frames; 2 where nft cannot tell.
bridge_table() {
    _said=$(run_nft list table $BRIDGE 2>&1) && return 0
    case $_said in *'No such file'* | *'not supported'*) return 1 ;; *) return 2 ;; esac
}

# Removes our tables, if the owner is still $1, or what is left where no table holds rules any more.
nftables_remove() {
    _outline=$(nftables_look) || return 1
    bridge_table
    _bridge=$?
    [ "$_bridge" != 2 ] || return 1
    # A transaction can tell that an owner is gone, not that one came.
    [ -n "$1" ] || [ -z "$(printf '%s\n' "$_outline" | nftables_owner)" ] || return 1
    {
        if [ -n "$_outline" ]; then
            [ -z "$1" ] || echo "delete chain $TABLE owner-$1"
        else
            # Fails where somebody has made the table meanwhile.
            echo "create table $TABLE"
        fi
        echo "delete table $TABLE"
        [ "$_bridge" != 0 ] || echo "delete table $BRIDGE"
    } | run_nft -f - 2>/dev/null
}

# Whether nft can speak to the kernel; it says why not itself.
nftables_reachable() {
    _said=$(run_nft list tables 2>&1) || { echo "$_said (this needs nft and the capability NET_ADMIN)"; return 1; }
}

nftables_removal_by_hand() {
    printf 'on the node: nft delete table %s; nft delete table %s' "$TABLE" "$BRIDGE"
}

nftables_present() {
    command -v nft >/dev/null || fail no-nft "this image has no nft (linux.image must be one that has, as Flannel's)"
}
