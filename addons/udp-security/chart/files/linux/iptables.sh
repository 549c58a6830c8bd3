# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The backend iptables: all contact with iptables and ip6tables. What it loads, iptables.awk compiles from policy.rules.
#
# Everything of ours is in chains UDPSEC-... of the table `filter`, and in one rule at the head of INPUT, OUTPUT and FORWARD. The
# owner is a chain UDPSEC-O-<uid> (as much of the uid as fits, all of it in a comment). iptables-restore does all or nothing,
# and to delete a chain that is missing is a failure: whoever claims the node deletes the owner's chain, so of two claimants the
# second one fails. Where nobody owns it, a claimant first announces itself by UDPSEC-S-<uid> and then deletes all such chains
# that it sees: of two claimants, one has seen the other. A family has marks of its own; IPv4's tell who owns the node.
#
# A new generation is loaded in both families before anything leads to it. Until then it is this pod's: a chain
# UDPSEC-<generation>-of.<uid> says so, and whoever deletes or replaces that generation deletes it as well.

# How long one call may take, and how long it waits for the lock that the legacy tools have.
XTABLES_SECONDS=60
XTABLES_WAIT=5
# Numbers of generations have five digits in the names of chains.
GENERATIONS=99999

# One of the tools, but for so long only: one that hangs would end the watch. xtables FAMILY save|restore ARGUMENTS...
xtables() {
    _tool=ip6tables
    [ "$1" = 6 ] || _tool=iptables
    _tool=$_tool-$(variant)-$2
    shift 2
    timeout -s KILL "$XTABLES_SECONDS" "$_tool" "$@"
    _code=$?
    [ "$_code" != 137 ] ||
        echo "$_tool was killed (it took over $XTABLES_SECONDS seconds, or more memory than linux.resources gives)" >&2
    return "$_code"
}

# The variant of the tools: nft or legacy. This pod keeps to what it began with, as long as that works.
variant() {
    grep . "$STATE/variant" 2>/dev/null || variants | head -n 1
}

# The variants that the image has, the best one first: where our rules are, then where Kubernetes' and Flannel's are.
variants() {
    for _variant in nft legacy; do
        command -v "iptables-$_variant-restore" >/dev/null || continue
        "iptables-$_variant-save" 2>/dev/null | awk -v variant="$_variant" '
            /^:UDPSEC-/ { rank = 1 }
            /^:(KUBE|FLANNEL|CNI)-/ && !rank { rank = 2 }
            END { print rank ? rank : 3, variant }'
    done | sort -s -n -k 1,1 | cut -d ' ' -f 2
}

# Whether this image and kernel can do what a policy needs; prints why not.
iptables_usable() {
    if [ ! -e "$STATE/policy/policy.rules" ]; then
        echo "the policy is too large to carry iptables' form as well (set linux.backend: iptables)"
        return 1
    fi
    _reason='this image has no iptables-nft and no iptables-legacy'
    for _candidate in $(variants); do
        echo "$_candidate" >"$STATE/variant"
        if ! try_rules 4; then
            _reason="iptables-$_candidate: $(iptables_complaint)"
        elif family_works 6 && ! try_rules 6; then
            _reason="ip6tables-$_candidate: $(iptables_complaint)"
        else
            return 0
        fi
    done
    rm -f "$STATE/variant"
    echo "$_reason"
    return 1
}

iptables_present() {
    [ ! -e "$STATE/variant" ] || return 0
    _without=$(iptables_usable) || fail no-iptables "iptables does not work here: $_without"
}

# Whether the kernel takes a chain with each kind of rule that the compiler makes; it is gone at once. try_rules FAMILY
try_rules() {
    _chain="UDPSEC-T-$(printf %.19s "$SELF")"
    _any=::/0
    [ "$1" = 6 ] || _any=0.0.0.0/0
    load_rules "$1" <<RULES
*filter
:$_chain - [0:0]
-A $_chain -m conntrack --ctstate UNTRACKED,INVALID -j RETURN
-A $_chain -m conntrack --ctdir REPLY --ctorigsrc $_any --ctreplsrc $_any --ctreplsrcport 1:2 -j RETURN
-A $_chain -p udp -m udp --sport 1:2 --dport 1:2 -m comment --comment try -j RETURN
-A $_chain -o lo -m addrtype --dst-type LOCAL -j RETURN
$(! grep -qx 'denyAction reject' "$STATE/policy/policy.rules" || echo "-A $_chain -j REJECT")
$(! grep -qx 'logDenials yes' "$STATE/policy/policy.rules" || echo "-A $_chain -m limit --limit 10/second -j LOG")
COMMIT
*filter
-F $_chain
-X $_chain
COMMIT
RULES
}

# Whether the node has this family and the tools for it.
family_works() {
    [ "$1" = 4 ] || { [ -e /proc/net/if_inet6 ] && xtables 6 save -t filter >/dev/null 2>&1; }
}

# What this backend leaves alone on this node, one a line.
iptables_not_governed() {
    [ ! -e /proc/net/if_inet6 ] || family_works 6 ||
        echo "IPv6: ip6tables does not work here (load the kernel's module ip6_tables, or disable IPv6)"
    [ -z "$(fact prefilter)" ] ||
        echo "floods before conntrack sees them: linux.prefilter has no effect with iptables (linux.backend nftables has it)"
}

# The last complaint of the tools, with what to do where the cause is known.
iptables_complaint() {
    # The nft variant says what it is in one line, and in the next what is wrong.
    _line=$(grep -v -e '^#' -e '^Killed$' "$STATE/complaint" | head -n 2 | tr '\n' ' ' | sed 's/ *$//')
    case $_line in
    *'ermission denied'* | *'not permitted'*)
        _line="$_line (the container needs the capability NET_ADMIN in the node's network namespace, and iptables-legacy NET_RAW)"
        ;;
    *'lock file'*) _line="$_line (iptables-legacy needs the node's /run/xtables.lock, writable)" ;;
    *'does not exist'* | *'not supported'* | *'missing kernel module'*) _line="$_line (this kernel lacks a module for it)" ;;
    *) ;;
    esac
    printf %s "$_line"
}

# --- What the kernel holds --------------------------------------------------------------------------------------------------

# Whether a look might find anything. It costs a fraction of one, and nftables pods ask when they have no time to lose.
iptables_traces() {
    run_nft list chain ip filter UDPSEC-RELEASE >/dev/null 2>&1 || grep -q filter /proc/net/ip_tables_names 2>/dev/null
}

# Lines of FAMILY and what is there of ours: `chain NAME [counting]`, `hook BUILT-IN COUNT first|later`, and `owner UID`,
# `standby UID`, `release NAME`. A chain that is `counting` is just as the compiler makes it. Fails where a family that worked
# before cannot be read now: not to know the rules is not the same as that there are none.
iptables_look() {
    for _each in 4 6; do
        { xtables "$_each" save -t filter 2>/dev/null && echo whole; } | awk -v family="$_each" -v self="$SELF" '
            $1 == "whole" { whole = 1 }
            $1 ~ /^:UDPSEC-/ { name[++n] = substr($1, 2) }
            $1 == "-A" {
                rules[$2]++
                rule[$2] = substr($0, 4)
                if (rule[$2] != $2 " -p udp -j UDPSEC-" $2) next
                hooks[$2]++
                if (rules[$2] == 1) first[$2] = 1
            }
            END {
                if (!whole) exit 1
                split("INPUT OUTPUT FORWARD", built_in, " ")
                for (i = 1; i <= 3; i++)
                    if (hooks[built_in[i]])
                        print family, "hook", built_in[i], hooks[built_in[i]], first[built_in[i]] ? "first" : "later"
                for (i = 1; i <= n; i++) {
                    said = ""
                    if (rules[name[i]] == 1 && match(rule[name[i]], / -m comment --comment "?[^"]+"? -j RETURN$/)) {
                        said = substr(rule[name[i]], RSTART + 22, RLENGTH - 32)
                        gsub(/"/, "", said)
                    }
                    if (name[i] == "UDPSEC-RELEASE") {
                        if (said != "") print family, "release", said
                        else print family, "chain", name[i]
                    } else if (match(name[i], /^UDPSEC-[OS]-/)) {
                        # Whoever flushed the chain has left us its name.
                        uid = substr(name[i], 10)
                        if (substr(said, 1, 19) == uid) uid = said
                        else if (substr(self, 1, 19) == uid) uid = self
                        print family, (name[i] ~ /^UDPSEC-O/ ? "owner" : "standby"), uid
                    } else print family, "chain", name[i] (said ~ /^(r|denied)\./ ? " counting" : "")
                }
            }' && { [ ! -d "$STATE" ] || touch "$STATE/readable$_each" 2>/dev/null; continue; }
        [ ! -e "$STATE/readable$_each" ] || return 1
    done
}

# What others add beside our own mark is no claim.
iptables_owner() {
    sed -n 's/^4 owner //p' | awk -v self="$SELF" 'NR == 1 || $0 == self { uid = $0 } END { if (NR) print uid }'
}

iptables_standbys() {
    sed -n 's/^4 standby //p'
}

iptables_releases() {
    sed -n 's/^4 release //p'
}

# The rules in force, each with its family before it: without counters' values, and without who owns them or waits to, but for our
# own mark. Our rules in built-in chains end with whether they come first there. While a pod is about to take the node, chains for
# its policy stand beside those that this pod loaded: nothing leads there, so they do not matter.
saved() {
    for _each in 4 6; do
        xtables "$_each" save -t filter 2>/dev/null | awk -v family="$_each" -v mine="4 :UDPSEC-O-$(printf %.19s "$SELF")" \
            -v shape="$STATE/shape" '
            function beside(chain) { return begun && chain ~ /^UDPSEC-([0-9]+-|r\.|denied\.)/ && !(chain in loaded) }
            $1 ~ /^:UDPSEC-/ { declared[++n] = $1; if ($1 ~ /^:UDPSEC-[0-9]+-of\./) begun = 1; next }
            # Chains come before rules.
            !rules_follow && ($1 == "-A" || $1 == "COMMIT") {
                rules_follow = 1
                while (begun && (getline line <shape) > 0)
                    if (split(line, word, " ") == 3 && word[1] == family) loaded[word[2]] = 1
                for (i = 1; i <= n; i++)
                    if ((declared[i] !~ /^:UDPSEC-[OST]-/ || family " " declared[i] == mine) && !beside(substr(declared[i], 2)))
                        print family, declared[i]
            }
            $2 ~ /^UDPSEC-/ && $2 !~ /^UDPSEC-[OST]-/ && !beside($2) { print family, $0 }
            $1 == "-A" && $2 ~ /^(INPUT|OUTPUT|FORWARD)$/ {
                rules[$2]++
                if (/ -j UDPSEC-/) print family, $0, rules[$2] == 1
            }'
    done
}

iptables_digest() {
    saved | sha256sum | cut -d ' ' -f 1
}

# The digest, if the kernel holds what the last swap loaded. Fails, silently, where somebody changed it before this look: what
# that left is not what this pod wants. Old chains that could not be deleted (a foreign rule leads there) are no reason to fail
# again and again.
iptables_record() {
    whole shape || return 1
    _recorded=$(saved | awk -v leftovers="$([ ! -e "$STATE/leftovers" ] || echo 1)" '
        part == "shape" { if (NF == 3) wanted[$1 " " $2] = $3; next }
        { print | "sha256sum" }
        $2 == ":UDPSEC-RELEASE" || $3 == "UDPSEC-RELEASE" { next }
        $2 ~ /^:/ { found[$1 " " substr($2, 2)] += 0; next }
        $3 ~ /^UDPSEC-/ { found[$1 " " $3]++; next }
        index($0, $1 " -A " $3 " -p udp -j UDPSEC-" $3 " ") == 1 {
            found[$1 " " $3]++
            if (!$NF) differs = 1
        }
        END {
            close("sha256sum")
            for (chain in wanted) if (!(chain in found) || found[chain] != wanted[chain]) differs = 1
            for (chain in found) if (!(chain in wanted) && !leftovers) differs = 1
            exit differs
        }' part=shape "$STATE/shape" part=saved -) || return 1
    echo "${_recorded%% *}"
}

# Lines `rule NAME PACKETS BYTES` and `denied DIRECTION PACKETS BYTES`, both families together.
iptables_counters() {
    for _each in 4 6; do xtables "$_each" save -c -t filter 2>/dev/null; done | awk '
        $3 ~ /^UDPSEC-/ && $4 " " $5 == "-m comment" && $6 == "--comment" {
            gsub(/"/, "", $7)
            if ($7 !~ /^(r|denied)\./) next
            if (!($7 in packets)) name[++n] = $7
            split(substr($1, 2), count, ":")
            packets[$7] += count[1]
            bytes[$7] += count[2]
        }
        END {
            for (i = 1; i <= n; i++) {
                what = name[i] ~ /^r\./ ? "rule " name[i] : "denied " substr(name[i], 8)
                printf "%s %.0f %.0f\n", what, packets[name[i]], bytes[name[i]]
            }
        }'
}

# No rule of iptables remembers flows in a list that could not be filled from outside.
iptables_denied_flows() {
    return 1
}

iptables_denied_ports() {
    return 1
}

# --- Applying ---------------------------------------------------------------------------------------------------------------

# Loads standard input, complaining into $STATE/complaint. load_rules FAMILY
load_rules() {
    xtables "$1" restore --noflush -w "$XTABLES_WAIT" 2>"$STATE/complaint"
}

# The compiled policy $STATE/rules.FAMILY, for a kernel with the outline on standard input: the new generation, and the counters
# that the kernel lacks. Nothing leads there yet. A generation that somebody else has begun is not replaced. new_generation FAMILY
new_generation() {
    awk -v family="$1" -v begun="$(begun_by_us "$_generation")" '
        part == "outline" { if ($1 == family && $4 == "counting") counting[$3] = 1; next }
        /^\*/ { print; print "-N " begun; next }
        $1 == "-I" || /^(:|-A )UDPSEC-[A-Z]+ / || substr($1, 2) in counting || ($1 == "-A" && $2 in counting) { next }
        /^:UDPSEC-[0-9]/ { print "-N " substr($1, 2); next }
        { print }' part=outline - part=policy "$STATE/rules.$1"
}

# The chain that says that this pod has begun a generation. begun_by_us GENERATION
begun_by_us() {
    echo "UDPSEC-$1-$(begun_suffix)"
}

# Its name without the generation.
begun_suffix() {
    printf 'of.%.12s' "$SELF"
}

# Lets our built-in chains lead to the new generation, likewise: this pod becomes the owner instead of whoever has a mark there,
# and our rules come first. pointing FAMILY
pointing() {
    awk -v family="$1" -v self="$SELF" -v release="$RELEASE" -v begun="$(begun_by_us "$_generation")" '
        function leave(chain) { print "-F " chain; print "-X " chain }
        function mark(chain, text) {
            print ":" chain " - [0:0]"
            print "-A " chain " -m comment --comment \"" text "\" -j RETURN"
        }
        part == "outline" {
            if ($1 != family) next
            if ($2 == "hook") { hooks[$3] = $4; first[$3] = $5 == "first" }
            else if ($2 == "owner") owner[++owners] = $3
            else if ($2 == "standby") standby[++standbys] = $3
            next
        }
        /^\*/ {
            print
            for (i = 1; i <= owners; i++) leave("UDPSEC-O-" substr(owner[i], 1, 19))
            for (i = 1; i <= standbys; i++)
                if (!owners || standby[i] == self) leave("UDPSEC-S-" substr(standby[i], 1, 19))
            mark("UDPSEC-O-" substr(self, 1, 19), self)
            if (release != "") mark("UDPSEC-RELEASE", release)
            leave(begun)
            next
        }
        $1 == "-I" {
            if (hooks[$2] == 1 && first[$2]) next
            rule = $0
            sub(/^-I [A-Z]+ 1/, "-D " $2, rule)
            for (i = 1; i <= hooks[$2]; i++) print rule
        }
        $1 == "-I" || /^(:|-A )UDPSEC-[A-Z]+ / || /^COMMIT/ { print }' part=outline - part=policy "$STATE/rules.$1"
}

# What `pointing` replaces: our built-in chains, and whose they are. Fails where that cannot be read. pointers FAMILY
pointers() {
    { xtables "$1" save -t filter 2>"$STATE/complaint" && echo whole; } | awk '
        /^(:|-A )UDPSEC-([A-Z]+|O-[^ ]+) / { print }
        $1 == "whole" { whole = 1 }
        END { exit !whole }'
}

# Undoes `pointing`, as long as this pod is the owner: back to the pointers on standard input.
pointing_back() {
    awk -v mark="UDPSEC-O-$(printf %.19s "$SELF")" -v release="$RELEASE" -v begun="$(begun_by_us "$_generation")" '
        function leave(chain) { print "-F " chain; print "-X " chain }
        BEGIN { print "*filter"; leave(mark); print "-N " begun }
        /^:/ { there[substr($1, 2)] = 1 }
        { print }
        END {
            split("INPUT OUTPUT FORWARD", built_in, " ")
            for (i = 1; i <= 3; i++) {
                if ("UDPSEC-" built_in[i] in there) continue
                print "-D " built_in[i] " -p udp -j UDPSEC-" built_in[i]
                leave("UDPSEC-" built_in[i])
            }
            if (release != "" && !("UDPSEC-RELEASE" in there)) leave("UDPSEC-RELEASE")
            print "COMMIT"
        }'
}

# Statements that delete the chains of an outline on standard input which the compiled policy lacks. stale FAMILY
stale() {
    awk -v family="$1" '
        part == "outline" { if ($1 == family && $2 == "chain") chain[++n] = $3; next }
        /^:/ { keep[substr($1, 2)] = 1 }
        END {
            for (i = 1; i <= n; i++) {
                if (chain[i] in keep) continue
                flush = flush "-F " chain[i] "\n"
                drop = drop "-X " chain[i] "\n"
            }
            if (flush != "") printf "*filter\n%s%sCOMMIT\n", flush, drop
        }' part=outline - part=policy "$STATE/rules.$1"
}

# What `saved` has to have of the compiled policy, as lines `FAMILY CHAIN RULES`: of a built-in chain our one rule, of this pod's
# mark no rule. compiled_shape FAMILY...
compiled_shape() {
    echo "4 UDPSEC-O-$(printf %.19s "$SELF") 0"
    for _each in "$@"; do
        awk -v family="$_each" '
            /^:/ { rules[substr($1, 2)] += 0 }
            /^-[AI] / { rules[$2]++ }
            END { for (chain in rules) print family, chain, rules[chain] }' "$STATE/rules.$_each"
    done
    echo "$WRITTEN"
}

# Makes the kernel hold this pod's policy and this pod own it, where the outline was $1 and the owner $2. Three transactions a
# family: add the new generation, point our built-in chains to it, delete the old one. Only the second, a few lines, changes a
# packet's fate, and no packet meets half a policy: both families have a generation before either points to it. Returns 1 when
# the kernel or the compiler refuses the policy, 2 when the rules are not as they were seen any more, 3 when there is no space to
# write to. iptables_swap OUTLINE OWNER
iptables_swap() {
    _generation=$(printf '%s\n' "$1" | sed -n 's/^[46] chain UDPSEC-\([0-9]\{1,5\}\)-.*/\1/p' | sort -n | tail -n 1)
    _generation=$((${_generation:-0} % GENERATIONS + 1))
    _families=4
    ! family_works 6 || _families='4 6'
    for _family in $_families; do
        awk -v family="$_family" -v generation="$_generation" -f "$STATE/policy/iptables.awk" "$STATE/policy/policy.rules" \
            >"$STATE/rules.$_family" 2>"$STATE/complaint" ||
            { discard_rules; [ -s "$STATE/complaint" ] && return 1 || return 3; }
        echo "$WRITTEN" 2>/dev/null >>"$STATE/rules.$_family"
        whole "rules.$_family" || { discard_rules; return 3; }
    done
    # Two words, or one.
    # shellcheck disable=SC2086
    compiled_shape $_families 2>/dev/null >"$STATE/shape.new"
    whole shape.new || { discard_rules; return 3; }
    # What was begun before the agent was killed, or could not be taken back.
    case $1 in *"-$(begun_suffix)"*) abandon "$1" "$1" ;; *) ;; esac
    load_and_point "$1" "$2" || {
        _outcome=$?
        keeping_complaint abandon_since "$1"
        discard_rules
        return "$_outcome"
    }
    mv "$STATE/shape.new" "$STATE/shape"
    rm -f "$STATE/leftovers"
    for _family in $_families; do
        tidy "$_family" && continue
        log warn leftovers "old rules stay beside those in force: $(iptables_complaint)"
        touch "$STATE/leftovers"
    done
    discard_rules
}

# load_and_point OUTLINE OWNER
load_and_point() {
    for _family in $_families; do
        printf '%s\n' "$1" | new_generation "$_family" | load_rules "$_family" || { blame; return; }
    done
    _pointers=$(pointers 4) || return 2
    for _family in $_families; do
        point "$_family" "$1" "$2" && continue
        _outcome=$?
        [ "$_family" = 4 ] || keeping_complaint point_back
        return "$_outcome"
    done
}

# point FAMILY OUTLINE OWNER
point() {
    _seen=$2
    _announced=
    if ! printf '%s\n' "$_seen" | grep -q "^$1 owner "; then
        announce "$1" || return 1
        _announced=1
        _seen=$(iptables_look) || {
            withdraw "$1" "$SELF"
            return 2
        }
        if [ "$1" = 4 ] && [ "$(printf '%s\n' "$_seen" | iptables_owner)" != "$3" ]; then
            withdraw "$1" "$SELF"
            return 2
        fi
    fi
    _statements=$(printf '%s\n' "$_seen" | pointing "$1")
    # Less than all is nothing: without its end, the tools load none of it, but no text at all would be no failure.
    printf '%s\n' "${_statements:-nothing}" | load_rules "$1" && return 0
    [ -z "$_announced" ] || keeping_complaint withdraw "$1" "$SELF"
    blame
}

# How the last load failed, in terms of `iptables_swap`.
blame() {
    ! grep -qE 'xtables lock|already exists' "$STATE/complaint" || return 2
    return 1
}

# Without its own complaints: those before are what matters. keeping_complaint FUNCTION ARGUMENTS...
keeping_complaint() {
    _kept=$(cat "$STATE/complaint")
    "$@"
    printf '%s\n' "$_kept" 2>/dev/null >"$STATE/complaint"
}

# Back to what IPv4 had before, since IPv6 has it still.
point_back() {
    printf '%s\n' "$_pointers" | pointing_back | load_rules 4 || log warn leftovers \
        "IPv6 has the policy before, and IPv4 this one, for it cannot be set back: $(iptables_complaint)"
}

# Deletes, of what an outline has, the generations that this pod began, and the counters that go with them and that the outline
# before lacked. abandon OUTLINE BEFORE
abandon() {
    for _each in 4 6; do
        printf '%s\n\n%s\n' "$2" "$1" | awk -v family="$_each" -v ours="$(begun_suffix)" '
            !NF { now = 1; next }
            $1 != family || $2 != "chain" { next }
            !now { before[$3] = 1; next }
            { chain[++n] = $3; counter[n] = $4 == "counting" && !($3 in before) }
            match($3, /^UDPSEC-[0-9]+-/) {
                generation[n] = substr($3, 1, RLENGTH)
                if (substr($3, RLENGTH + 1) == ours) begun[generation[n]] = some = 1
            }
            END {
                for (i = 1; i <= n && some; i++) {
                    if (!counter[i] && !(generation[i] in begun)) continue
                    flush = flush "-F " chain[i] "\n"
                    drop = drop "-X " chain[i] "\n"
                }
                if (some) printf "*filter\n%s%sCOMMIT\n", flush, drop
            }' | load_rules "$_each"
    done
}

abandon_since() {
    _begun=$(iptables_look) && abandon "$_begun" "$1"
}

# Deletes what is stale, unless another pod, which does that itself, has become the owner. tidy FAMILY
tidy() {
    for _try_again in 1 2 3; do
        _seen=$(iptables_look)
        [ "$(printf '%s\n' "$_seen" | iptables_owner)" = "$SELF" ] || return 0
        printf '%s\n' "$_seen" | stale "$1" | load_rules "$1" && return 0
    done
    return 1
}

# Removes the files of the last swap: space for what has to be remembered.
discard_rules() {
    rm -f "$STATE/rules.4" "$STATE/rules.6" "$STATE/shape.new"
}

iptables_tend() {
    :
}

# --- Owning -----------------------------------------------------------------------------------------------------------------

# announce FAMILY
announce() {
    _chain="UDPSEC-S-$(printf %.19s "$SELF")"
    load_rules "$1" <<RULES
*filter
:$_chain - [0:0]
-A $_chain -m comment --comment "$SELF" -j RETURN
COMMIT
RULES
}

# Deletes a mark. Fails when it is not there. withdraw FAMILY UID [O]
withdraw() {
    _chain="UDPSEC-${3:-S}-$(printf %.19s "$2")"
    printf '*filter\n-F %s\n-X %s\nCOMMIT\n' "$_chain" "$_chain" | load_rules "$1"
}

iptables_standby() {
    announce 4
}

iptables_unstandby() {
    withdraw 4 "$1"
}

iptables_disown() {
    withdraw 4 "$1" O
}

# Removes all that is ours, if the owner is still $1. Fails while our rules are in force, whoever's they are by now.
iptables_remove() {
    # Without IPv4's rules, the other variant might look better for IPv6's.
    _variant=$(variant)
    [ -s "$STATE/variant" ] || echo "$_variant" 2>/dev/null >"$STATE/variant"
    for _family in 4 6; do
        iptables_look | awk -v family="$_family" -v owner="$1" '
            function leave(chain) { flush = flush "-F " chain "\n"; drop = drop "-X " chain "\n" }
            $1 != family { next }
            $2 == "hook" { for (i = 1; i <= $4; i++) flush = flush "-D " $3 " -p udp -j UDPSEC-" $3 "\n" }
            $2 == "chain" { leave($3) }
            $2 == "release" { leave("UDPSEC-RELEASE") }
            $2 == "standby" { leave("UDPSEC-S-" substr($3, 1, 19)) }
            $2 == "owner" { leave("UDPSEC-O-" substr($3, 1, 19)); if ($3 == owner) owned = 1 }
            END {
                # Fails where somebody else is the owner by now.
                if (family == 4 && owner != "" && !owned) leave("UDPSEC-O-" substr(owner, 1, 19))
                if (flush != "") printf "*filter\n%s%sCOMMIT\n", flush, drop
            }' | load_rules "$_family" || return 1
    done
    _left=$(iptables_look) && ! printf '%s\n' "$_left" | grep -q '^[46] hook '
}

# Whether iptables can speak to the kernel; it says why not itself.
iptables_reachable() {
    _said=$(xtables 4 save -t filter 2>&1) || { echo "$_said (this needs iptables and the capability NET_ADMIN)"; return 1; }
}

iptables_removal_by_hand() {
    printf 'on the node: delete the chains UDPSEC-... of table filter and the rules that lead to them, as docs/iptables.md says'
}
