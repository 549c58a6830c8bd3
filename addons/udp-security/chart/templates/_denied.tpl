{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT

What becomes of a flow that no rule allows, and what is remembered of it.
*/ -}}

{{- /* The sets of denied flows and ports. They belong to no generation, and their elements to the kernel. In: a direction. */ -}}
{{- define "udp-security.denied.sets" }}
	set denied.{{ . }}.ports { type inet_service; size 4096; flags dynamic,timeout; timeout 1h; }
	set denied.{{ . }}.ip { type ipv4_addr . ipv4_addr . inet_service; size 1024; flags dynamic,timeout; timeout 1h; }
	set denied.{{ . }}.ip6 { type ipv6_addr . ipv6_addr . inet_service; size 1024; flags dynamic,timeout; timeout 1h; }
{{- end -}}

{{- /*
The chains that a denied packet goes through, tracked or not. A rule that adds to a full set ends there, so the verdict stands in
a rule of its own. In: dict "policy" "direction".
*/ -}}
{{- define "udp-security.denied.chains" -}}
{{- $values := .policy.root.Values -}}
{{- $direction := .direction }}
	chain g0.deny.{{ $direction }} {
{{- if $values.linux.verdictCache.enabled }}
		ct mark and {{ .policy.cache.mask }} != 0 ct mark set ct mark and {{ .policy.cache.rest }}
{{- end }}
		meta l4proto udp update @denied.{{ $direction }}.ports { ct reply proto-src counter }
{{- range $ip := list "ip" "ip6" }}
{{- $flow := printf "ct original %s saddr . ct reply %s saddr . ct reply proto-src" $ip $ip }}
		meta l4proto udp update @denied.{{ $direction }}.{{ $ip }} { {{ $flow }} counter }
{{- end }}
		goto g0.denied.{{ $direction }}
	}
	chain g0.deny.{{ $direction }}.untracked {
		update @denied.{{ $direction }}.ports { udp dport counter }
{{- range $ip := list "ip" "ip6" }}
		update @denied.{{ $direction }}.{{ $ip }} { {{ $ip }} saddr . {{ $ip }} daddr . udp dport counter }
{{- end }}
		goto g0.denied.{{ $direction }}
	}
	chain g0.denied.{{ $direction }} {
{{- if $values.linux.logDenials }}
		limit rate 10/second burst 20 packets log prefix "udp-security denied {{ $direction }}: "
{{- end }}
		counter name denied.{{ $direction }} {{ include "udp-security.denied.verdict" $values }}
	}
{{- end -}}

{{- /* In: the values. */ -}}
{{- define "udp-security.denied.verdict" -}}
{{ if eq .mode "audit" }}accept{{ else if eq .denyAction "reject" }}reject with icmpx type port-unreachable{{ else }}drop{{ end }}
{{- end -}}
