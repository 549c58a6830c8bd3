{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT

The nftables ruleset of a policy. docs/ruleset.md walks through it.
*/ -}}

{{- /* In: the dict of udp-security.policy, without errors. */ -}}
{{- define "udp-security.ruleset" -}}
{{- $p := . -}}
{{- $values := $p.root.Values -}}
{{- $clusterScope := eq $values.linux.scope "cluster" -}}
{{- $mirror := $values.linux.untrackedReplyAddresses -}}
{{- $prefilter := eq (include "udp-security.ruleset.prefilter" $values) "true" -}}
# udp-security {{ $p.root.Chart.Version }}: mode {{ $values.mode }}, scope {{ $values.linux.scope }}
#
# Names that begin with "g0." belong to one generation of the policy: the agent replaces the 0 by a number of its own, so that
# the old and the new policy stand side by side until the hooks below are pointed from one to the other.

table inet udp_security {
	counter denied.ingress { }
	counter denied.egress { }
	counter denied.forward { }
{{- if $values.linux.antiSpoofing }}
	counter denied.spoofed { }
{{- end }}
{{- if $prefilter }}
	counter denied.prefiltered { }
{{- end }}
{{- range $p.rules }}{{ if .linux }}
	counter {{ .counter }} { }
{{- end }}{{ end }}

	# What was denied, and by port. Never asked about a packet's fate.
{{- range $direction := list "ingress" "egress" "forward" }}
{{- include "udp-security.denied.sets" $direction }}
{{- end }}

	# Slots of the verdict cache whose values may still stand in marks that an older generation set: the agent's.
	set cache.{{ $p.cache.name }} { type mark; flags timeout; }

	chain input { type filter hook input priority filter - 10; policy accept; }
	chain output { type filter hook output priority filter - 10; policy accept; }
	chain forward { type filter hook forward priority filter - 10; policy accept; }
{{- if $prefilter }}
{{ include "udp-security.guards.prefilterObjects" $p }}
{{- end }}
{{- if $values.linux.antiSpoofing }}
{{ include "udp-security.guards.spoofed" $p }}
{{- end }}

	# Where a judged flow ends: allowed, or denied.
{{- range $direction := list "ingress" "egress" "forward" }}
{{- include "udp-security.cache.allow" (dict "policy" $p "direction" $direction) }}
{{- include "udp-security.denied.chains" (dict "policy" $p "direction" $direction) }}
{{- end }}

	# The policy's directions. A flow is judged by its conntrack entry: the original source, and the destination and its port as
	# the reply's source, which is behind kube-proxy's DNAT and before masquerading.
{{- if $clusterScope }}
{{- include "udp-security.ruleset.scope" $p }}
{{- end }}
{{- range $direction := list "ingress" "egress" "forward" }}
{{- $d := get $p.directions $direction }}
{{- range $d.rules }}
{{ include "udp-security.ruleset.rule" (dict "rule" . "chain" "g0") }}
{{- end }}
{{- if $d.rules }}
{{ include "udp-security.ruleset.ports" (dict "direction" $d "chain" "g0" "map" (printf "g0.%s" $direction)) }}
{{- end }}

	chain g0.{{ $direction }} {
{{- if $clusterScope }}{{ include "udp-security.ruleset.outOfScope" (dict "policy" $p "direction" $direction "tracked" true) }}{{ end }}
{{- if $d.rules }}
		meta l4proto udp ct reply proto-src vmap @g0.{{ $direction }}.ports
{{- end }}
		goto g0.deny.{{ $direction }}
	}

	chain g0.{{ $direction }}.untracked {
{{- if $clusterScope }}{{ include "udp-security.ruleset.outOfScope" (dict "policy" $p "direction" $direction "tracked" false) }}{{ end }}
{{- if and $mirror (eq $direction "egress") (get $p.directions "ingress").rules }}
{{- range $family, $addresses := include "udp-security.ruleset.families" $mirror | fromYaml }}
		{{ $family }} saddr { {{ join ", " $addresses }} } udp sport vmap @g0.mirror.ports
{{- end }}
{{- end }}
{{- if $d.rules }}
		udp dport vmap @g0.{{ $direction }}.ports
{{- end }}
		goto g0.deny.{{ $direction }}.untracked
	}
{{- if and $mirror (eq $direction "ingress") $d.rules }}

	# Replies of an untracked ingress flow, as linux.untrackedReplyAddresses admits them: source and destination change places.
{{- range $d.rules }}
{{ include "udp-security.ruleset.mirror" . }}
{{- end }}
{{ include "udp-security.ruleset.ports" (dict "direction" $d "chain" "g0.mirror" "map" "g0.mirror") }}
{{- end }}
{{- end }}

	# On the way out to lo the destination must be local as well: a packet to the node's own NodePort still has lo as its device
	# here when kube-proxy has already sent it to a pod elsewhere.
	chain g0.input {
		iifname "lo" accept
		ct state untracked goto g0.ingress.untracked
		ct direction reply goto g0.egress
		goto g0.ingress
	}

	chain g0.output {
		oifname "lo" fib daddr type local accept
		ct state untracked goto g0.egress.untracked
		ct direction reply goto g0.ingress
		goto g0.egress
	}

	chain g0.forwarded {
		ct state untracked goto g0.forward.untracked
		goto g0.forward
	}
{{- if $values.linux.antiSpoofing }}

	# What is not accepted by its mark. In the part below, as they change with it.
	chain g0.input.guarded { }
	chain g0.forwarded.guarded { }
{{- end }}
}

{{ include "udp-security.ruleset.hooksMark" . }}
{{- if $prefilter }}
{{ include "udp-security.guards.prefilterHook" $p }}
{{- end }}
{{- if $values.linux.verdictCache.enabled }}{{ include "udp-security.cache.purge" $p }}{{ end }}
{{- range $hook := list "input" "output" "forward" }}
{{ include "udp-security.cache.hook" (dict "policy" $p "hook" $hook) }}
{{- end }}
{{ end -}}

{{- /* Whether packets are dropped before conntrack sees them: audit drops none. In: the values. */ -}}
{{- define "udp-security.ruleset.prefilter" -}}
{{- and .linux.prefilter (eq .mode "enforce") -}}
{{- end -}}

{{- /* The agent loads what precedes this line first, and what follows as a transaction of its own. */ -}}
{{- define "udp-security.ruleset.hooksMark" -}}
# hooks: point the base chains to this generation
{{- end -}}

{{- /*
A rule's sets and its chain, one line for each family and way of judging. In: dict "rule" "chain" (the generation's prefix).
*/ -}}
{{- define "udp-security.ruleset.rule" -}}
{{- $r := .rule -}}
{{- $name := printf "%s.%s" .chain $r.counter -}}
{{- $allow := printf "%s.allow.%s" .chain $r.direction -}}
{{- $ports := list -}}
{{- range $r.given.ports }}{{ $ports = append $ports (toString .) }}{{ end }}
	# {{ $r.name }}: {{ join " " $ports }}
{{- range $end := list "from" "to" }}
{{- range $family := list "4" "6" }}
{{- $cidrs := get (get $r $end) (printf "cidrs%s" $family) }}
{{- if and (gt (len $cidrs) 1) (not (get (get $r $end) (printf "any%s" $family))) }}
{{- include "udp-security.ruleset.set" (list (printf "%s.%s%s" $name $end $family) $family $cidrs) }}
{{- end }}
{{- end }}
{{- end }}
	chain {{ $name }} {
{{- if and $r.from.any4 $r.from.any6 $r.to.any4 $r.to.any6 }}
		counter name {{ $r.counter }} goto {{ $allow }}
{{- else }}
{{- range $family := list "4" "6" }}
{{- $from := include "udp-security.ruleset.end" (list $r.from $family (printf "%s.from%s" $name $family)) }}
{{- $to := include "udp-security.ruleset.end" (list $r.to $family (printf "%s.to%s" $name $family)) }}
{{- $ip := ternary "ip" "ip6" (eq $family "4") }}
{{- if not (or (eq $from "none") (eq $to "none")) }}
{{- if and (eq $from "any") (eq $to "any") }}
		meta nfproto ipv{{ $family }} counter name {{ $r.counter }} goto {{ $allow }}
{{- else }}
		{{ if ne $from "any" }}ct original {{ $ip }} saddr {{ $from }} {{ end }}{{ if ne $to "any" }}ct reply {{ $ip }} saddr {{ $to }} {{ end }}counter name {{ $r.counter }} goto {{ $allow }}
		ct state untracked {{ if ne $from "any" }}{{ $ip }} saddr {{ $from }} {{ end }}{{ if ne $to "any" }}{{ $ip }} daddr {{ $to }} {{ end }}counter name {{ $r.counter }} accept
{{- end }}
{{- end }}
{{- end }}
{{- end }}
	}
{{- end -}}

{{- /* A set of networks, which may overlap: one line each, few bytes around them. In: list NAME FAMILY NETWORKS. */ -}}
{{- define "udp-security.ruleset.set" }}
	set {{ index . 0 }} { type ipv{{ index . 1 }}_addr; flags interval; auto-merge; elements = {
{{- range index . 2 }}
	{{ .network }},
{{- end }}
	} }
{{- end -}}

{{- /* One end of a rule in one family: "none", "any", an address, or "@set". In: list LIST FAMILY SET. */ -}}
{{- define "udp-security.ruleset.end" -}}
{{- $l := index . 0 -}}
{{- $cidrs := get $l (printf "cidrs%s" (index . 1)) -}}
{{- if get $l (printf "any%s" (index . 1)) -}}
any
{{- else if not $cidrs -}}
none
{{- else if eq (len $cidrs) 1 -}}
{{ (first $cidrs).network }}
{{- else -}}
@{{ index . 2 }}
{{- end -}}
{{- end -}}

{{- /* The untracked replies of an ingress rule; the rule's own chain has its sets. In: a rule. */ -}}
{{- define "udp-security.ruleset.mirror" -}}
{{- $r := . -}}
{{- $name := printf "g0.%s" $r.counter }}
	chain g0.mirror.{{ $r.counter }} {
{{- range $family := list "4" "6" }}
{{- $from := include "udp-security.ruleset.end" (list $r.from $family (printf "%s.from%s" $name $family)) }}
{{- $to := include "udp-security.ruleset.end" (list $r.to $family (printf "%s.to%s" $name $family)) }}
{{- $ip := ternary "ip" "ip6" (eq $family "4") }}
{{- if not (or (eq $from "none") (eq $to "none")) }}
		meta nfproto ipv{{ $family }} {{ if ne $from "any" }}{{ $ip }} daddr {{ $from }} {{ end }}{{ if ne $to "any" }}{{ $ip }} saddr {{ $to }} {{ end }}counter name {{ $r.counter }} accept
{{- end }}
{{- end }}
	}
{{- end -}}

{{- /*
From a port to the chains that may allow it: straight to the rule's chain where one rule names the port, else through a chain of
the segment. In: dict "direction" (rules, segments) "chain" (prefix of the rules' chains) "map" (prefix of the map's and segments' names).
*/ -}}
{{- define "udp-security.ruleset.ports" -}}
{{- $x := . -}}
{{- range .direction.segments }}
{{- if gt (len .rules) 1 }}
	chain {{ $x.map }}.{{ include "udp-security.segment.text" . }} {
{{- range .rules }}
		jump {{ $x.chain }}.{{ .counter }}
{{- end }}
	}

{{- end }}
{{- end }}
	map {{ .map }}.ports { type inet_service : verdict; flags interval; elements = {
{{- range .direction.segments }}
{{- $text := include "udp-security.segment.text" . }}
		{{ $text }} : {{ if gt (len .rules) 1 }}jump {{ $x.map }}.{{ $text }}{{ else }}jump {{ $x.chain }}.{{ (first .rules).counter }}{{ end }},
{{- end }}
	} }
{{- end -}}

{{- /* The cluster's CIDRs, for linux.scope cluster. In: the dict of udp-security.policy. */ -}}
{{- define "udp-security.ruleset.scope" -}}
{{- $c := .cluster -}}
{{- range $family := list "4" "6" }}
{{- $key := printf "cidrs%s" $family }}
{{- $cidrs := concat (get $c.podCIDRs $key) (get $c.serviceCIDRs $key) (get $c.nodeCIDRs $key) }}
{{- if $cidrs }}
{{- include "udp-security.ruleset.set" (list (printf "g0.cluster%s" $family) $family $cidrs) }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Lets pass what linux.scope cluster does not judge. In: dict "policy" "direction" "tracked". */ -}}
{{- define "udp-security.ruleset.outOfScope" -}}
{{- $x := . -}}
{{- $c := .policy.cluster -}}
{{- $accept := ternary (printf "goto g0.allow.%s" .direction) "accept" .tracked -}}
{{- range $family := list "4" "6" }}
{{- $key := printf "cidrs%s" $family }}
{{- if concat (get $c.podCIDRs $key) (get $c.serviceCIDRs $key) (get $c.nodeCIDRs $key) }}
{{- $ip := ternary "ip" "ip6" (eq $family "4") }}
{{- $from := printf "%s%s saddr != @g0.cluster%s " (ternary "ct original " "" $x.tracked) $ip $family }}
{{- $to := printf "%s%s %s != @g0.cluster%s " (ternary "ct reply " "" $x.tracked) $ip (ternary "saddr" "daddr" $x.tracked) $family }}
		{{ if ne $x.direction "egress" }}{{ $from }}{{ end }}{{ if ne $x.direction "ingress" }}{{ $to }}{{ end }}{{ $accept }}
{{- else }}
		meta nfproto ipv{{ $family }} {{ $accept }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Addresses by nftables' name of their family, as YAML. In: list of addresses. */ -}}
{{- define "udp-security.ruleset.families" -}}
{{- $four := list -}}
{{- $six := list -}}
{{- range . -}}
  {{- $a := dict "text" . -}}
  {{- include "udp-security.address.parse" $a -}}
  {{- if eq $a.family 4 }}{{ $four = append $four $a.host }}{{ else }}{{ $six = append $six $a.host }}{{ end -}}
{{- end -}}
{{- $families := dict -}}
{{- if $four }}{{ $_ := set $families "ip" $four }}{{ end -}}
{{- if $six }}{{ $_ := set $families "ip6" $six }}{{ end -}}
{{- toYaml $families -}}
{{- end -}}
