{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT

What stands before the policy: packets that lie about where they come from, that are dressed so that no hook sees them, or that
no rule can allow. docs/ruleset.md says what each costs, and what none of them can see.
*/ -}}

{{- /*
Where forged packets end. Never rejected: the answer would go to whom they pretend to be. In audit mode they are judged as any
packet, but past the rules that would remember the flow's source as checked. What keeps a flow alive must not keep an old value of
the cache in its mark. In: the dict of udp-security.policy.
*/ -}}
{{- define "udp-security.guards.spoofed" }}
	# From a pod, with a source address that is not behind the pods' bridge.
	chain g0.spoofed {
{{- if .root.Values.linux.verdictCache.enabled }}
		ct mark and {{ .cache.mask }} != 0 ct mark set ct mark and {{ .cache.rest }}
{{- end }}
{{- if .root.Values.linux.logDenials }}
		limit rate 10/second burst 20 packets log prefix "udp-security denied spoofed: "
{{- end }}
		counter name denied.spoofed{{ if ne .root.Values.mode "audit" }} drop{{ end }}
	}
{{- range list "input" "forwarded" }}
	chain g0.{{ . }}.spoofed {
		jump g0.spoofed
		goto g0.{{ . }}
	}
{{- end }}
{{- end -}}

{{- /*
Stands before the cached verdicts that it guards: a forged packet may belong to an allowed flow. In: the name of a guarded chain.
*/ -}}
{{- define "udp-security.guards.spoofedHook" -}}
add rule inet udp_security {{ . }} iifname "cni0" meta l4proto udp fib saddr . iif oif missing goto {{ trimSuffix ".guarded" . }}.spoofed
{{- end -}}

{{- /*
The prefilter's sets and chains. No interval sets: looking a port up in one costs four times as much. In: the dict of
udp-security.policy.
*/ -}}
{{- define "udp-security.guards.prefilterObjects" }}
{{- $p := . -}}
{{- $known := dict -}}
{{- include "udp-security.guards.known" (dict "directions" $p.directions "into" $known) }}
	# Ports that NAT rules of this node may translate, by blocks of 64: the agent's.
	set prefilter.exempt { type inet_service; }

	# Every rule's ports, and where a range covers a whole block of 256 ports, the block.
{{- range $name := list "ports" "blocks" }}
	set g0.known.{{ $name }} {
		type inet_service
{{- with get $known $name }}
		elements = { {{ join ", " . }} }
{{- end }}
	}
{{- end }}

	chain prefilter { type filter hook prerouting priority raw; policy accept; }

	# Neither end's port is a rule's: unless NAT changes that, no rule can allow it.
	chain g0.prefilter {
{{- range $p.cluster.serviceCIDRs.cidrs4 }}
		ip daddr {{ .network }} accept
{{- end }}
{{- range $p.cluster.serviceCIDRs.cidrs6 }}
		ip6 daddr {{ .network }} accept
{{- end }}
{{- if eq $p.root.Values.linux.scope "cluster" }}
{{- range $family := list "4" "6" }}
{{- $key := printf "cidrs%s" $family }}
{{- if concat (get $p.cluster.podCIDRs $key) (get $p.cluster.serviceCIDRs $key) (get $p.cluster.nodeCIDRs $key) }}
		{{ ternary "ip" "ip6" (eq $family "4") }} saddr != @g0.cluster{{ $family }} accept
{{- else }}
		meta nfproto ipv{{ $family }} accept
{{- end }}
{{- end }}
{{- end }}
		counter name denied.prefiltered drop
	}
{{- end -}}

{{- /* In: the dict of udp-security.policy. */ -}}
{{- define "udp-security.guards.prefilterHook" -}}
{{- $known := dict -}}
{{- include "udp-security.guards.known" (dict "directions" .directions "into" $known) -}}
flush chain inet udp_security prefilter
add rule inet udp_security prefilter udp dport != @g0.known.ports udp sport != @g0.known.ports
{{- if $known.blocks }} udp dport and 0xff00 != @g0.known.blocks udp sport and 0xff00 != @g0.known.blocks{{ end }}
{{- /* The second range is NodePort's. */}} udp dport != 30000-32767 udp dport and 0xffc0 != @prefilter.exempt iif != "lo" goto g0.prefilter
{{- end -}}

{{- /*
The ports of all segments. In: dict "directions" "into"; sets on `into`
  ports   numbers
  blocks  the first ports of blocks of 256 that lie in one range
*/ -}}
{{- define "udp-security.guards.known" -}}
{{- $ports := dict -}}
{{- $blocks := dict -}}
{{- range $direction := .directions -}}
  {{- $low := -1 -}}
  {{- $high := -2 -}}
  {{- /* Segments that touch are one range here; the last round ends the last range. */ -}}
  {{- range $segment := append $direction.segments (dict "low" 65537 "high" 65537) -}}
    {{- if eq $segment.low (int (add1 $high)) -}}
      {{- $high = $segment.high -}}
    {{- else -}}
      {{- if ge $low 0 -}}
        {{- $begin := int (mul 256 (div (add $low 255) 256)) -}}
        {{- $end := int (mul 256 (div (add1 $high) 256)) -}}
        {{- if lt $begin $end -}}
          {{- range untilStep $begin $end 256 }}{{ $_ := set $blocks (printf "%05d" .) . }}{{ end -}}
        {{- else -}}
          {{- $begin = int (add1 $high) -}}
          {{- $end = $begin -}}
        {{- end -}}
        {{- range untilStep $low $begin 1 }}{{ $_ := set $ports (printf "%05d" .) . }}{{ end -}}
        {{- range untilStep $end (int (add1 $high)) 1 }}{{ $_ := set $ports (printf "%05d" .) . }}{{ end -}}
      {{- end -}}
      {{- $low = $segment.low -}}
      {{- $high = $segment.high -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $_ := set .into "ports" list -}}
{{- $_ := set .into "blocks" list -}}
{{- range keys $ports | sortAlpha }}{{ $_ := set $.into "ports" (append $.into.ports (get $ports .)) }}{{ end -}}
{{- range keys $blocks | sortAlpha }}{{ $_ := set $.into "blocks" (append $.into.blocks (get $blocks .)) }}{{ end -}}
{{- end -}}

{{- /*
The table for frames within a bridge. The hooks for IP never see a frame with a VLAN tag, but a receiver takes tags with id 0 off,
however many there are. (A frame with another id only reaches who has a device for it.) Only containers' own devices are looked
at: a bridge may carry others' priority tags. What is known not to be UDP passes; what lies below a second tag, or below IPv6
headers that cannot be followed, is not known. In: the dict of udp-security.policy.
*/ -}}
{{- define "udp-security.guards.bridge" -}}
table bridge udp_security {
	counter denied.tagged { }
	chain tagged { }
	chain forward { type filter hook forward priority -200; policy accept; }
}
flush chain bridge udp_security tagged
flush chain bridge udp_security forward
add rule bridge udp_security tagged iifname != "veth*" accept
add rule bridge udp_security tagged meta l4proto != udp accept
add rule bridge udp_security tagged meta protocol { ip, ip6, 8021q, 8021ad } counter name denied.tagged{{ if ne .root.Values.mode "audit" }} drop{{ end }}
add rule bridge udp_security forward ether type ip accept
add rule bridge udp_security forward ether type 8021q vlan id 0 goto tagged
add rule bridge udp_security forward ether type 8021ad vlan id 0 goto tagged
{{ end -}}
