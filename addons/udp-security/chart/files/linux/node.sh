# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# Whether a policy fits this node, and what no policy can govern on it.

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
        # shellcheck disable=SC2086
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

# The UDP ports that NAT rules of this node may translate: the first port of each block of 64 that has one, all of them where that
# cannot be told.
nat_ports() {
    {
        _chains=$(run_nft list chains 2>/dev/null) || echo unreadable
        # A table at a time: nft 1.0.6 does not find the first of two.
        printf '%s\n' "$_chains" | awk '
            /^table / { table = $2 " " $3 }
            /type nat hook prerouting/ && !seen[table]++ { print table }' |
            while read -r _family _name; do run_nft list table "$_family" "$_name" 2>/dev/null || echo unreadable; done
        # Asked for a table that is missing, the legacy tool would make it.
        ! grep -qx nat /proc/net/ip_tables_names 2>/dev/null || iptables-legacy-save -t nat 2>/dev/null || echo unreadable
        ! grep -qx nat /proc/net/ip6_tables_names 2>/dev/null || ip6tables-legacy-save -t nat 2>/dev/null || echo unreadable
    } | awk -f "$STATE/policy/nat.awk"
}

# The kernel's list of IPVS services.
IPVS=/proc/net/ip_vs

# A setting of br_netfilter. bridge_setting NAME
bridge_setting() {
    cat "/proc/sys/net/bridge/bridge-nf-$1" 2>/dev/null || echo missing
}

# Why no table of ours looks at tagged frames; nothing where one does.
no_bridge_table() {
    if [ "$BACKEND" != nftables ]; then
        echo "backend $BACKEND cannot see them"
    elif [ ! -e "$STATE/policy/policy.bridge" ]; then
        echo 'linux.antiSpoofing is off'
    else
        cat "$STATE/no-bridge" 2>/dev/null
    fi
}

# The ports of a bridge that lead into namespaces, as pods' do. inner_ports BRIDGE
inner_ports() {
    iproute2 -o link show master "$1" type veth 2>/dev/null | sed 's/^[0-9]*: \([^:@]*\).*/\1/'
}

# Where linux.antiSpoofing does not look, for it knows pods by the names of their bridge and of its ports. not_guarded BRIDGE
not_guarded() {
    [ "$BACKEND" = nftables ] && [ -n "$(fact antiSpoofing)" ] || return 0
    _ports=$(inner_ports "$1")
    if [ "$1" != "$POD_BRIDGE" ]; then
        [ -z "$_ports" ] || echo "source addresses that are forged behind bridge $1: linux.antiSpoofing looks at $POD_BRIDGE alone"
        return 0
    fi
    _ports=$(printf '%s\n' "$_ports" | sed '/^veth/d')
    [ -z "$_ports" ] || [ "$(bridge_setting filter-vlan-tagged)" = 1 ] ||
        echo "VLAN-tagged frames from $(one_line "$_ports") of bridge $1: linux.antiSpoofing looks at ports called veth* alone (set" \
            "bridge-nf-filter-vlan-tagged to 1)"
}

# What this policy cannot govern on this node, and what would help, one a line.
not_governed() {
    _untold=$(no_bridge_table)
    iproute2 -o -d link show type bridge 2>/dev/null |
        sed -e 's/^[0-9]*: \([^:@]*\).* vlan_filtering 1 .*/\1 vlans/' -e 's/^[0-9]*: \([^:@]*\).*/\1/' |
        while read -r _bridge _vlans; do
            for _call in iptables ip6tables; do
                _value=$(bridge_setting "call-$_call")
                [ "$_value" = 1 ] || echo "traffic within bridge $_bridge: bridge-nf-call-$_call is $_value (set it to 1)"
            done
            not_guarded "$_bridge"
            if [ "$(bridge_setting filter-vlan-tagged)" = 1 ]; then
                [ -z "$_untold" ] || echo "frames with two VLAN tags within bridge $_bridge: $_untold"
                continue
            fi
            if [ -n "$_vlans" ]; then
                echo "VLAN-tagged frames within bridge $_bridge: its vlan_filtering is on (set bridge-nf-filter-vlan-tagged to 1)"
            elif [ -n "$_untold" ]; then
                echo "VLAN-tagged frames within bridge $_bridge: $_untold (setting bridge-nf-filter-vlan-tagged to 1 governs those" \
                    "with one tag)"
            fi
        done
    [ "$BACKEND" != iptables ] || iptables_not_governed
    if [ "$BACKEND" != nftables ] && [ -n "$(fact antiSpoofing)" ]; then
        echo "source addresses that pods forge: backend $BACKEND cannot tell (linux.backend nftables can)"
    elif [ -e "$STATE/no-source" ]; then
        echo "source addresses that pods forge: $(cat "$STATE/no-source") (Linux 5.19 can)"
    fi
    awk '
        $1 == "UDP" { n++ }
        END {
            if (n) print "destinations behind " n " UDP services of IPVS: a flow is judged as ingress to the service itself",
                "(let kube-proxy use iptables or nftables, or allow ingress to the services)"
        }' "$IPVS" 2>/dev/null
    run_nft list flowtables 2>/dev/null | awk '
        /^table / { table = $2 " " $3 }
        $1 == "flowtable" {
            print "flows taken over by flowtable " $2 " of table " table ": they pass by all hooks (keep UDP out of it)"
        }'
    iproute2 -o -d link show 2>/dev/null | sed -n 's#^[0-9]*: \([^:@]*\).* prog/xdp id \([0-9]*\).*#\1 \2#p' |
        while read -r _device _program; do
            echo "packets that XDP program $_program of device $_device handles: it comes before all hooks (detach it, unless it" \
                "passes UDP on)"
        done
}
