#!/bin/sh
# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# The Linux agent: keeps one nftables table of the node equal to the policy mounted beside this script.
#
#   agent.sh run      apply the policy, then watch it; on SIGTERM release the node
#   agent.sh check    exit 0 only if the kernel holds exactly this pod's policy; one line says so, or why not
#   agent.sh status   one JSON object (files/status.schema.json in the chart)
#   agent.sh remove   remove all that is ours, unless another pod owns it
#
# It needs busybox ash with the applets of Alpine's image, nft and ip; no network, no API server, nothing to install.
#
# Ownership is an empty chain `owner-<pod uid>` in our table. Claiming is one transaction that deletes the old owner's chain and
# adds one's own: of two claimants the second gets ENOENT, and nothing changed. An agent that lost the node stands by with a
# chain `standby-<pod uid>`, so that an owner who leaves can hand the rules over instead of removing them (a rollback). A chain
# `release-<namespace>/<name>` tells a rollout from a second Helm release, which may not take the node over.

# TABLE is two words, lists of addresses and ranges are several, and none of them can hold a glob.
# shellcheck disable=SC2086,SC2248

set -u
STOPPING=
# Before all else: until it has a trap, a container's first process doesn't hear SIGTERM at all.
[ "${1:-}" != run ] || trap 'STOPPING=1; kill -9 "${!:-}" 2>/dev/null' TERM INT
umask 077
export LC_ALL=C PATH="${PATH:-}:/usr/sbin:/usr/bin:/sbin:/bin"

MOUNTED=/etc/udp-security
STATE=/run/udp-security
# A pod keeps to the agent it began with, as to its policy: what is mounted follows the ConfigMap, which may be a later pod's by now.
if [ -e "$STATE/agent.sh" ] && [ "$0" != "$STATE/agent.sh" ]; then exec /bin/sh "$STATE/agent.sh" "$@"; fi
TABLE='inet udp_security'
POD_BRIDGE=cni0
# The line of policy.nft behind which the base chains are pointed to the new generation.
HOOKS_MARK='# hooks: '
# The last line of each file that the agent writes for nft: busybox's sed does not tell when the disk is full.
WRITTEN='# written'

SELF=${UDP_SECURITY_POD_UID:-}
RELEASE=${UDP_SECURITY_RELEASE:-}
WANTED=${UDP_SECURITY_POLICY_SHA256:-}
POLL=${UDP_SECURITY_POLL_SECONDS:-30}
ON_STOP=${UDP_SECURITY_ON_STOP:-remove}
NODE_NAME=${UDP_SECURITY_NODE_NAME:-}
NODE_IP=${UDP_SECURITY_NODE_IP:-}

# --- Saying things ----------------------------------------------------------------------------------------------------------

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
    rm -f "$STATE/reason"
}

# The last complaint of nft, with what to do where the cause is known. nft_complaint FILE
nft_complaint() {
    _line=$(grep -m 1 -i error "$1" || head -n 1 "$1")
    case $_line in
    *'not permitted'*) _line="$_line (the container needs the capability NET_ADMIN in the node's network namespace)" ;;
    *'not found'*) _line="$_line (linux.image must be an image with nft, as Flannel's is)" ;;
    *'too long'*) _line="$_line (as root of a user namespace only, nft sends what fits into net.core.wmem_max)" ;;
    *'not supported'*) _line="$_line (this kernel lacks an nf_tables feature)" ;;
    *) ;;
    esac
    printf %s "$_line"
}

# --- What the kernel holds --------------------------------------------------------------------------------------------------

# Our table without set elements and counters' values: enough to see names, and cheap.
outline() {
    nft -s -t list table $TABLE 2>/dev/null
}

# The names of one kind of object in an outline on standard input. names KIND
names() {
    sed -n "s/^	$1 \([^ ]*\) {\$/\1/p"
}

# The rest of the names of empty chains that begin with $1, from an outline on standard input. A chain with anything in it, a hook
# for example, is no mark of ours. marks PREFIX
marks() {
    sed -n -E "/^	chain $1-/{N;s/^	chain $1-([^ ]+) \{\n	\}\$/\1/p;}"
}

# The pod uid that owns the node, or nothing, from an outline on standard input. What others add beside our own mark is no claim.
owner_of() {
    marks owner | awk -v self="$SELF" 'NR == 1 || $0 == self { uid = $0 } END { if (NR) print uid }'
}

owner() {
    outline | owner_of
}

# What distinguishes the rules in force, without counters' values and without who owns them or waits to.
digest() {
    nft -s list table $TABLE 2>/dev/null |
        sed -E -e '/^	chain (owner|standby)-/{N;/\n	\}$/d;}' -e '/^$/d' | sha256sum | cut -d ' ' -f 1
}

# --- The policy -------------------------------------------------------------------------------------------------------------

# fact KEY: its values, one line for each time the key occurs
fact() {
    sed -n -E "s#^$1( |\$)##p" "$STATE/policy.facts" 2>/dev/null
}

# The files that the pod template's hash covers, in its order.
BUNDLE='agent.sh policy.nft policy.facts'

# The hash of the bundle whose files begin with $1 and end with $2.
bundle_hash() {
    for _file in $BUNDLE; do cat "$1$_file$2" 2>/dev/null; done | sha256sum | cut -d ' ' -f 1
}

# Copies what is mounted, if it is this pod's, to where no later change of the ConfigMap reaches it.
adopt_policy() {
    [ -n "$WANTED" ] || fail bad-environment 'UDP_SECURITY_POLICY_SHA256 is not set (the chart sets it)' || return 1
    [ "$(bundle_hash "$STATE/" '')" = "$WANTED" ] && return 0
    _seen=$(bundle_hash "$MOUNTED/" '')
    if [ "$_seen" != "$WANTED" ]; then
        fail foreign-policy "$MOUNTED holds policy $(printf %.12s "$_seen"), not this pod's $(printf %.12s "$WANTED") \
(the ConfigMap was changed without a rollout: run helm upgrade, or delete this pod after the rollout)"
        return 1
    fi
    for _file in $BUNDLE; do cp "$MOUNTED/$_file" "$STATE/$_file.new" 2>/dev/null; done
    if [ "$(bundle_hash "$STATE/" .new)" != "$WANTED" ]; then
        for _file in $BUNDLE; do rm -f "$STATE/$_file.new"; done
        fail no-state "cannot copy the policy to $STATE (is its emptyDir full?)"
        return 1
    fi
    for _file in $BUNDLE; do mv "$STATE/$_file.new" "$STATE/$_file"; done
}

# The policy's text with generation number $1: the part before the hooks, or from them on. The number is
# replaced at the start of a name only: a rule may be called g0 itself. generation N before|hooks
generation() {
    if [ "$2" = before ]; then
        sed -e "/^$HOOKS_MARK/,\$d" -e "s/\([ @]\)g0\./\1g$1./g" "$STATE/policy.nft"
    else
        sed -n -e "s/\([ @]\)g0\./\1g$1./g" -e "/^$HOOKS_MARK/,\$p" "$STATE/policy.nft"
    fi
}

# --- Does this policy fit this node? ----------------------------------------------------------------------------------------

# contained ADDRESS CIDR...: whether one of the CIDRs contains the address; prints that CIDR
contained() {
    _address=$1
    shift
    printf '%s\n' "$@" | awk -v address="$_address" '
        function nibbles(hex,    i, bits) {
            for (i = 1; i <= length(hex); i++)
                bits = bits substr("0000000100100011010001010110011110001001101010111100110111101111",
                                   4 * (index("0123456789abcdef", substr(hex, i, 1)) - 1) + 1, 4)
            return bits
        }
        function bits(text,    part, n, i, half, left, right, out) {
            if (text !~ /:/) {
                split(text, part, ".")
                for (i = 1; i <= 4; i++) out = out nibbles(sprintf("%02x", part[i]))
                return out
            }
            n = split(tolower(text), half, "::")
            left = split(half[1], part, ":")
            for (i = 1; i <= left; i++) out = out nibbles(substr("000" part[i], length(part[i])))
            if (n < 2) return out
            right = split(half[2], part, ":")
            for (i = left + right; i < 8; i++) out = out "0000000000000000"
            for (i = 1; i <= right; i++) out = out nibbles(substr("000" part[i], length(part[i])))
            return out
        }
        {
            split($0, cidr, "/")
            outer = bits(cidr[1]); inner = bits(address)
            length_ = cidr[2] == "" ? length(outer) : cidr[2]
            if (length(outer) == length(inner) && substr(outer, 1, length_) == substr(inner, 1, length_)) { print; found = 1; exit }
        }
        END { exit !found }'
}

# iproute2's ip: a busybox that runs its applets before any program has an `ip` of its own, which knows no tunnels.
iproute2() {
    for _directory in $(printf %s "$PATH" | tr ':' ' '); do
        if "$_directory/ip" -V 2>/dev/null | grep -q iproute2; then
            "$_directory/ip" "$@"
            return
        fi
    done
    return 127
}

# The global addresses of a device, or of all. addresses [DEVICE]
addresses() {
    iproute2 -o address show ${1:+dev "$1"} scope global 2>/dev/null | awk '{ split($4, a, "/"); print a[1] }'
}

# first_contained ADDRESSES CIDRS: the first CIDR that contains one of the addresses
first_contained() {
    for _a in $1; do
        contained "$_a" $2 && return 0
    done
    return 1
}

# Whether a port lies in one of the ranges. in_ranges PORT LOW-HIGH...
in_ranges() {
    _port=$1
    shift
    for _range in "$@"; do
        [ "$_port" -ge "${_range%-*}" ] && [ "$_port" -le "${_range#*-}" ] && return 0
    done
    return 1
}

# The node's tunnel devices that carry packets in UDP: lines DEVICE KIND PORT [OWN-ADDRESS]. Only the wg tool can read a WireGuard
# device's port, and the image lacks it: Flannel's default stands in.
overlays() {
    iproute2 -o -d link show 2>/dev/null | awk '
        {
            kind = ""; port = 51820; own = ""; name = $2
            sub(/[:@].*/, "", name)
            for (i = 3; i <= NF; i++) {
                if ($i == "master" || $i == "dev") { i++; continue }
                if ($i == "vxlan" || $i == "geneve" || $i == "wireguard") kind = $i
                if ($i == "dstport") port = $(i + 1)
                if (kind != "" && $i == "local") own = $(i + 1)
            }
            if (kind != "") print name, kind, port, own
        }'
}

# Prints, one a line, why enforcing this policy would cut this node off.
misfits() {
    iproute2 -V >/dev/null || {
        echo "this image has no iproute2 to look at the node with (linux.image must be one that has, as Flannel's)"
        return
    }
    _node_addresses=${NODE_IP:-$(addresses)}
    _node_cidrs=$(fact nodeCIDRs)
    if ! _home=$(first_contained "$_node_addresses" "$_node_cidrs"); then
        echo "this node's address $(one_line "$_node_addresses") is not in cluster.nodeCIDRs $_node_cidrs" \
            "(set cluster.nodeCIDRs, podCIDRs and serviceCIDRs to this cluster's)"
        return
    fi
    _bridge_addresses=$(addresses "$POD_BRIDGE")
    if [ -n "$_bridge_addresses" ] && ! first_contained "$_bridge_addresses" "$(fact podCIDRs)" >/dev/null; then
        echo "the pod bridge $POD_BRIDGE has $(one_line "$_bridge_addresses"), which is not in cluster.podCIDRs $(fact podCIDRs)" \
            '(set cluster.podCIDRs to this cluster'"'"'s)'
    fi
    overlays | while read -r _device _kind _port _own; do
        # Dual stack has an overlay for each family, and rules for one say nothing about the other.
        _cidr=$_home
        if [ -n "$_own" ] && ! _cidr=$(first_contained "$_own" "$_node_cidrs"); then
            echo "the $_kind device $_device uses this node's address $_own, which is not in cluster.nodeCIDRs $_node_cidrs (add its network)"
            continue
        fi
        for _direction in egress ingress; do
            # shellcheck disable=SC2046
            in_ranges "$_port" $(fact "ports $_direction $_cidr") && continue
            echo "no rule allows $_direction on port $_port of the $_kind device $_device (allow it in both directions among $_cidr)"
            break
        done
    done
}

preflight() {
    _misfits=$(misfits | awk '{ printf "%s%s", separator, $0; separator = "; " }')
    [ -n "$_misfits" ] || return 0
    if [ "$(fact mode)" = enforce ]; then
        fail refused "refusing to enforce, this policy would cut the node off: $_misfits"
    else
        log warn misfit "enforce would be refused here: $_misfits"
    fi
}

# What this policy cannot govern on this node, one a line.
not_governed() {
    for _bridge in $(iproute2 -o link show type bridge 2>/dev/null | awk '{ sub(/:.*/, "", $2); print $2 }'); do
        for _call in iptables ip6tables; do
            _value=$(cat /proc/sys/net/bridge/bridge-nf-call-$_call 2>/dev/null || echo missing)
            [ "$_value" = 1 ] || echo "traffic within bridge $_bridge: bridge-nf-call-$_call is $_value (set it to 1)"
        done
    done
}

# --- Applying ---------------------------------------------------------------------------------------------------------------

# Loads a file as one transaction, complaining into $STATE/complaint.
load() {
    nft -f "$1" 2>"$STATE/complaint"
}

# Whether the kernel would take that transaction.
loadable() {
    nft -c -f "$1" 2>"$STATE/complaint"
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

# Statements that delete every object of the table that generation $1 does not use, or those of this generation only.
# cleanup GENERATION others|only
cleanup() {
    outline | awk -v table="$TABLE" -v mine="g$1." -v which="$2" -v self="owner-$SELF" -v release="release-$RELEASE" -v policy="$STATE/policy.nft" '
        BEGIN {
            while ((getline line <policy) > 0)
                if (line ~ /^\tcounter /) { split(line, words, " "); keep["counter " words[2]] = 1 }
            split("input output forward " self " " release, chains, " ")
            for (i in chains) keep["chain " chains[i]] = 1
        }
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
        }'
}

# Makes the kernel hold this pod's policy and this pod own it, where the owner was $2 and the last generation $3. Three
# transactions: add the new generation beside the old one, point the base chains to it, delete the old one. No packet meets half
# a policy, and only the second changes a packet's fate. One replacing transaction would lose packets: it is for a table that
# is missing, or damaged so that nothing can be added to it. Returns 1 when the kernel refuses the policy, 2 when the table is not as
# it was seen any more, 3 when there is no space to write to. swap TABLE_EXISTS OWNER GENERATION
swap() {
    {
        generation "$3" before
        # Fails when another pod builds the same generation at this moment.
        echo "create chain $TABLE g$3.reserved"
        echo "$WRITTEN"
    } 2>/dev/null >"$STATE/add.nft"
    { claim "$2"; generation "$3" hooks; echo "$WRITTEN"; } 2>/dev/null >"$STATE/point.nft"
    {
        if [ "$1" = yes ]; then
            [ -z "$2" ] || echo "delete chain $TABLE owner-$2"
            echo "delete table $TABLE"
        fi
        echo "create table $TABLE"
        generation "$3" before
        claim ''
        generation "$3" hooks
        echo "$WRITTEN"
    } 2>/dev/null >"$STATE/rebuild.nft"
    cat "$STATE/add.nft" "$STATE/point.nft" 2>/dev/null >"$STATE/both.nft"
    # Half a policy might load as well.
    for _file in add point rebuild both; do
        [ "$(tail -n 1 "$STATE/$_file.nft" 2>/dev/null)" = "$WRITTEN" ] || return 3
    done

    if [ "$1" = yes ] && loadable "$STATE/both.nft"; then
        load "$STATE/add.nft" || return 2
        if ! load "$STATE/point.nft"; then
            cleanup "$3" only | nft -f - 2>/dev/null
            return 2
        fi
        _stale=$(cleanup "$3" others)
        if [ -n "$_stale" ]; then
            printf '%s\n' "$(claim "$SELF")" "$_stale" | load - ||
                log warn leftovers "old rules stay beside those in force: $(nft_complaint "$STATE/complaint")"
        fi
    elif outline | names chain | grep -qx "g$3\.reserved"; then
        return 2
    else
        loadable "$STATE/rebuild.nft" || return 1
        load "$STATE/rebuild.nft" || return 2
    fi
}

# Removes the files of the last swap: space for what has to be remembered.
discard() {
    for _file in add point both rebuild; do rm -f "$STATE/$_file.nft"; done
}

# Applies this pod's policy. Only for the event `applied` it takes the node from another pod. apply EVENT [WHY]
apply() {
    for _try in 1 2 3 last; do
        _outline=$(outline)
        _before=$(printf '%s\n' "$_outline" | owner_of)
        _generation=$(printf '%s\n' "$_outline" | sed -n 's/^	chain g0*\([0-9]\{1,9\}\)\..*/\1/p' | sort -n | tail -n 1)
        _generation=$((${_generation:-0} + 1))
        # Seen here, the request came before the look above: what vanished since then makes the swap fail.
        [ ! -e "$STATE/released" ] || return 1
        case $1:$_before in
        applied:* | *: | *:"$SELF") ;;
        *) return 1 ;;
        esac
        _others=$(printf '%s\n' "$_outline" | marks release | grep -vFx "$RELEASE" | head -n 1)
        if [ -n "$_others" ] && [ "$_before" != "$SELF" ]; then
            fail other-release "Helm release $_others guards this node, pod ${_before:-unknown} owns its rules (uninstall one of the two; if \
that release is gone, run on the node: nft delete table $TABLE)"
            return 1
        fi
        swap "${_outline:+yes}" "$_before" "$_generation"
        case $? in
        0) break ;;
        1)
            # When the table is another one by now, not the policy was to blame.
            if [ "$(outline)" = "$_outline" ]; then
                fail bad-ruleset "the kernel refuses this policy and keeps the rules it has: $(nft_complaint "$STATE/complaint")"
                return 1
            fi
            ;;
        3)
            discard
            fail no-state "cannot write to $STATE, the kernel keeps the rules it has (is its emptyDir full?)"
            return 1
            ;;
        *) ;;
        esac
        if [ "$_try" = last ]; then
            fail not-applied "the policy could not be applied, the kernel keeps the rules it has: $(nft_complaint "$STATE/complaint")"
            return 1
        fi
        # Another pod was faster: look again at what it left.
        pause 0.3
    done
    discard
    boot_id >"$STATE/claimed"
    echo "$(digest) $(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$STATE/applied"
    rm -f "$STATE/superseded"
    recovered
    log info "$1" "mode $(fact mode), generation $_generation, owner before: ${_before:-none}${2:-}"
}

# --- Owning -----------------------------------------------------------------------------------------------------------------

boot_id() {
    cat /proc/sys/kernel/random/boot_id
}

# Whether this pod claimed the node since it booted.
claimed() {
    [ "$(cat "$STATE/claimed" 2>/dev/null)" = "$(boot_id)" ]
}

# Waits until the node needs this pod after all: its new owner handed the rules over, or they have been gone for so long that
# no owner can be left to heal them.
stand_by() {
    touch "$STATE/superseded"
    # No failure: in every rollout the older pod gets here.
    FAILED="superseded: pod ${1:-unknown} owns this node now"
    printf '%s\n' "$FAILED" >"$STATE/reason"
    log info superseded "$FAILED"
    _gone=0
    while [ -z "$STOPPING" ]; do
        pause 1
        _outline=$(outline)
        if [ -z "$_outline" ]; then
            _gone=$((_gone + 1))
            [ "$_gone" -le $((2 * ${POLL%.*})) ] || return 0
            continue
        fi
        _gone=0
        _other=$(printf '%s\n' "$_outline" | owner_of)
        [ -n "$_other" ] && [ "$_other" != "$SELF" ] || return 0
        printf '%s\n' "$_outline" | marks standby | grep -qFx "$SELF" || nft add chain $TABLE "standby-$SELF" 2>/dev/null
    done
}

# What SIGTERM asks for: leave the node as `onStop` says, unless it is another pod's.
release() {
    _outline=$(outline)
    _owner=$(printf '%s\n' "$_outline" | owner_of)
    nft delete chain $TABLE "standby-$SELF" 2>/dev/null
    if [ -n "$_owner" ] && [ "$_owner" != "$SELF" ]; then
        log info stopped "the rules stay: they belong to pod $_owner"
    elif [ -z "$_owner" ] && ! claimed; then
        log info stopped 'this pod never owned any rules'
    elif [ -z "$_outline" ]; then
        log info stopped 'no rules to remove'
    elif [ -n "$_owner" ] && hand_over; then
        log info stopped 'handed the rules over to the pod that stands by'
    elif [ "$ON_STOP" = keep ]; then
        log info stopped 'the rules stay in force (linux.onStop: keep)'
    elif remove_table "$_owner"; then
        log info removed 'all rules are removed: UDP is open again'
    else
        log info stopped "the rules stay: pod $(owner) took them over"
    fi
}

# Leaves the rules in force, without an owner, to a pod that stands by: after a rollback the pod of the older policy goes on.
hand_over() {
    _standbys=$(outline | marks standby)
    [ -n "$_standbys" ] || return 1
    for _standby in $_standbys; do nft delete chain $TABLE "standby-$_standby"; done 2>/dev/null
    # Whoever is alive announces itself again within a second.
    sleep 2.5
    outline | marks standby | grep -q . && nft delete chain $TABLE "owner-$SELF" 2>/dev/null
}

# Removes our table, if its owner is still $1.
remove_table() {
    {
        [ -z "$1" ] || echo "delete chain $TABLE owner-$1"
        echo "delete table $TABLE"
    } | nft -f - 2>/dev/null
}

# --- Commands ---------------------------------------------------------------------------------------------------------------

# Sleeps, but ends at once when told to stop. The trap kills the sleep as well, for a signal that comes just before `wait`; a
# weaker signal would be lost where the child is not `sleep` yet.
pause() {
    sleep "$1" &
    [ -n "$STOPPING" ] || wait $!
    [ -z "$STOPPING" ] || kill -9 $! 2>/dev/null
}

heals() {
    _heals=$(cat "$STATE/heals" 2>/dev/null)
    echo "${_heals:-0}"
}

# One step of the watch: bring the kernel to what it should hold.
reconcile() {
    if [ -e "$STATE/released" ]; then
        # The request may have come while rules were being loaded.
        _owner=$(owner)
        case $_owner in
        "" | "$SELF") remove_table "$_owner" ;;
        *) ;;
        esac
        return 0
    fi
    command -v nft >/dev/null || fail no-nft "this image has no nft (linux.image must be one that has, as Flannel's)" || return 1
    adopt_policy || return 1
    _owner=$(owner)
    if [ -e "$STATE/superseded" ] || { claimed && [ -n "$_owner" ] && [ "$_owner" != "$SELF" ]; }; then
        stand_by "$_owner"
        [ -z "$STOPPING" ] || return 0
        apply taken-over
    elif ! claimed; then
        preflight || return 1
        apply applied
    elif ! in_force; then
        apply healed ", undone: $_why" || return 1
        # In one step, for `status` may read it at any time.
        echo $(($(heals) + 1)) >"$STATE/heals.new"
        mv "$STATE/heals.new" "$STATE/heals"
    else
        recovered
    fi
}

run() {
    [ -n "$SELF" ] || { log error bad-environment 'UDP_SECURITY_POD_UID is not set (the chart sets it)'; return 2; }
    # Not `test -w`: busybox believes that root may write everywhere.
    touch "$STATE/heals" 2>/dev/null || { log error no-state "$STATE is not a writable directory (the chart mounts an emptyDir there)"; return 2; }
    # Takes the space that a reason will need when there is no other left.
    [ -e "$STATE/applied" ] || echo 'no policy was applied yet' >"$STATE/reason"
    log info started "version $(sed -n 's/^version //p' "$MOUNTED/policy.facts" 2>/dev/null), pod $SELF"
    while [ -z "$STOPPING" ]; do
        reconcile
        pause "$POLL"
    done
    release
}

# Whether the kernel holds exactly this pod's policy; says why not in $_why.
in_force() {
    _why=$(cat "$STATE/reason" 2>/dev/null)
    if [ -e "$STATE/released" ]; then
        _why='the rules were removed on request (delete this pod to have them back)'
    elif [ ! -e "$STATE/applied" ]; then
        _why=${_why:-no policy was applied yet}
    else
        _in_kernel=$(owner)
        if [ -z "$_in_kernel" ]; then
            _why="${_why:+$_why; }the rules are gone from the kernel"
        elif [ "$_in_kernel" != "$SELF" ]; then
            _why="superseded: pod $_in_kernel owns this node now"
        elif [ "$(digest)" != "$(cut -d ' ' -f 1 "$STATE/applied")" ]; then
            _why="${_why:+$_why; }the kernel's rules differ from this policy's"
        else
            return 0
        fi
    fi
    return 1
}

check() {
    # A swap in progress changes the rules between two looks.
    in_force || { sleep 0.5; in_force; } || { echo "not in force: $_why"; return 1; }
    printf 'in force: policy %.12s, mode %s\n' "$WANTED" "$(fact mode)"
    not_governed | sed 's/^/not governed: /'
}

# A JSON string of standard input; null when there is none.
json_string() {
    tr '\001-\037' ' ' | sed -e 's/[\\"]/\\&/g' -e 's/ *$//' | awk '{ print "\"" $0 "\""; some = 1 } END { if (!some) print "null" }'
}

# The counters as two JSON members, "rules" and "denied".
json_counters() {
    nft list counters table $TABLE 2>/dev/null | awk '
        $1 == "counter" { name = $2 }
        $1 == "packets" {
            if (name ~ /^denied\./) denied = denied ",\"" substr(name, 8) "\":{\"packets\":" $2 ",\"bytes\":" $4 "}"
            else if (name ~ /^r\./) {
                name = substr(name, 3)
                if (name ~ /^preset\./) gsub(/\./, ":", name)
                rules = rules ",{\"name\":\"" name "\",\"packets\":" $2 ",\"bytes\":" $4 "}"
            }
        }
        END { printf "\"counters\":{\"rules\":[%s],\"denied\":{%s}}", substr(rules, 2), substr(denied, 2) }'
}

status() {
    in_force && _healthy=true || _healthy=false
    _owner=$(owner)
    printf '{"schemaVersion":1,"os":"linux","backend":"nftables","node":%s,"version":%s,"generation":%s,' \
        "$(printf %s "$NODE_NAME" | json_string)" "$(fact version | json_string)" "$(printf %.12s "$WANTED" | json_string)"
    printf '"owner":%s,"self":%s,"mode":%s,"denyAction":%s,"scope":%s,' \
        "$(printf %s "$_owner" | json_string)" "$(printf %s "$SELF" | json_string)" "$(fact mode | json_string)" \
        "$(fact denyAction | json_string)" "$(fact scope | json_string)"
    printf '"healthy":%s,"reason":%s,"appliedAt":%s,"heals":%s,' "$_healthy" \
        "$({ [ $_healthy = true ] || printf %s "$_why"; } | json_string)" \
        "$(cut -d ' ' -f 2 "$STATE/applied" 2>/dev/null | json_string)" "$(heals)"
    printf '"notGoverned":[%s],' "$(not_governed | while read -r _line; do printf '%s' "$_line" | json_string; done | awk '{ printf "%s%s", sep, $0; sep = "," }')"
    json_counters
    printf '}\n'
}

remove() {
    _said=$(nft list tables 2>&1) || {
        echo "not removed: $(one_line "$_said") (this needs nft and the capability NET_ADMIN)" >&2
        return 1
    }
    if [ -z "$(outline)" ]; then
        echo 'nothing to remove'
        return 0
    fi
    _owner=$(owner)
    if [ -n "$SELF" ] && [ -n "$_owner" ] && [ "$_owner" != "$SELF" ]; then
        echo "not removed: pod $_owner owns the rules (run this in that pod, or on the node: nft delete table $TABLE)" >&2
        return 1
    fi
    # Tells the running agent not to heal what is about to happen.
    [ ! -d "$STATE" ] || touch "$STATE/released"
    remove_table "$_owner" || {
        rm -f "$STATE/released"
        echo "not removed: pod $(owner) took the rules over" >&2
        return 1
    }
    echo 'removed'
}

FAILED=
case ${1:-} in
run | check | status | remove) "$1" ;;
*)
    echo "usage: agent.sh run|check|status|remove" >&2
    exit 2
    ;;
esac
