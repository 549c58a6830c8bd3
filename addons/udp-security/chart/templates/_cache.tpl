{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT

The verdict cache in the conntrack mark. docs/ruleset.md says how it works, why it is safe and what it costs.
*/ -}}

{{- /*
The bits of linux.verdictCache.mask. In: dict "mask" (a number). Sets on the same dict:
  good   whether they are at least 4, without gaps; only then the others are there
  shift  how many bits are below them
  slots  how many generations can be told apart, by three values each
  name, rest   the mask as 8 hexadecimal digits, and the other bits as nftables takes them
  mask         likewise, and of its bits:
  values       those that hold a value, all but the highest two
  original, reply   those two: what comes from pods this way through the flow has a pod's source
  valuesOriginal, valuesReply   values with one of those
  ingress, egress, forward   the values of slot 0
*/ -}}
{{- define "udp-security.cache" -}}
{{- $c := . -}}
{{- $mask := int64 $c.mask -}}
{{- $shift := 0 -}}
{{- $unit := 1 -}}
{{- $run := $mask -}}
{{- range until 32 -}}
  {{- if eq (mod $run 2) 0 }}{{ $run = div $run 2 }}{{ $shift = add1 $shift }}{{ $unit = mul $unit 2 }}{{ end -}}
{{- end -}}
{{- $bits := 0 -}}
{{- $left := $run -}}
{{- range until 32 -}}
  {{- if eq (mod $left 2) 1 }}{{ $left = div $left 2 }}{{ $bits = add1 $bits }}{{ end -}}
{{- end -}}
{{- $_ := set $c "good" (and (eq (int $left) 0) (ge (int $bits) 4)) -}}
{{- if $c.good -}}
  {{- $flag := div (add1 $run) 4 -}}
  {{- $_ := set $c "shift" $shift -}}
  {{- $_ := set $c "slots" (min 85 (div (sub $flag 1) 3)) -}}
  {{- $_ := set $c "name" (printf "%08x" $mask) -}}
  {{- $words := dict
    "mask" $mask
    "rest" (sub 4294967295 $mask)
    "values" (mul (sub $flag 1) $unit)
    "original" (mul $flag $unit)
    "reply" (mul $flag $unit 2)
    "valuesOriginal" (mul (sub (mul $flag 2) 1) $unit)
    "valuesReply" (mul (sub (mul $flag 3) 1) $unit)
    "ingress" $unit
    "egress" (mul $unit 2)
    "forward" (mul $unit 3)
  -}}
  {{- range $name, $number := $words }}{{ $_ := set $c $name (printf "0x%08x" $number) }}{{ end -}}
{{- end -}}
{{- end -}}

{{- /*
Where each allowed flow ends. Not remembered: a flow with a conntrack helper (0x2000), whose mark the flows it expects would
inherit. The last rule is for these, and for untracked packets, which have no mark: reading it ends the rule.
In: dict "policy" "direction".
*/ -}}
{{- define "udp-security.cache.allow" -}}
{{- $cache := .policy.cache }}
	chain g0.allow.{{ .direction }} {
{{- if .policy.root.Values.linux.verdictCache.enabled }}
		ct status and 0x2000 == 0 ct mark set ct mark and {{ $cache.rest }} or {{ get $cache .direction }} accept
{{- end }}
		accept
	}
{{- end -}}

{{- /*
The rules of a hook: first those by which it accepts what this generation has accepted. The agent leaves the lines with `trusted`
out as long as an older generation may have used the same values.

What comes from pods passes g0.<hook>.guarded, where its source is checked. Once that is done, the entry says so for this
direction, and the next packet needs no check. In: dict "policy" "hook".
*/ -}}
{{- define "udp-security.cache.hook" -}}
{{- $hook := .hook -}}
{{- $c := .policy.cache -}}
{{- $linux := .policy.root.Values.linux -}}
{{- $chain := ternary "forwarded" $hook (eq $hook "forward") -}}
{{- $guarded := and $linux.antiSpoofing (ne $hook "output") -}}
{{- $ours := printf "ct mark and %s ==" $c.values -}}
{{- $add := printf "add rule inet udp_security %s" $hook -}}
{{- $addGuarded := printf "add rule inet udp_security g0.%s.guarded" $chain -}}
flush chain inet udp_security {{ $hook }}
{{- if $linux.verdictCache.enabled }}
{{- $unlessPod := ternary " iifname != \"cni0\"" "" $guarded }}
{{- if $guarded }}
{{- $first := ternary $c.ingress $c.forward (eq $hook "input") }}
{{ $add }} ct mark and {{ $c.valuesOriginal }} == {{ $first }} | {{ $c.original }} ct direction original accept # trusted
{{- end }}
{{- if eq $hook "input" }}
{{ $add }} {{ $ours }} {{ $c.ingress }} ct direction original{{ $unlessPod }} accept # trusted
{{ $add }} {{ $ours }} {{ $c.egress }} ct direction reply{{ $unlessPod }} accept # trusted
{{- else if eq $hook "output" }}
{{ $add }} {{ $ours }} {{ $c.egress }} ct direction original accept # trusted
{{ $add }} {{ $ours }} {{ $c.ingress }} ct direction reply accept # trusted
{{- else }}
{{- if $guarded }}
{{ $add }} ct mark and {{ $c.valuesReply }} == {{ $c.forward }} | {{ $c.reply }} ct direction reply accept # trusted
{{- end }}
{{ $add }} {{ $ours }} {{ $c.forward }}{{ $unlessPod }} accept # trusted
{{- end }}
{{- end }}
{{ $add }} meta l4proto udp jump g0.{{ $chain }}{{ if $guarded }}.guarded{{ end }}
{{- if $guarded }}
flush chain inet udp_security g0.{{ $chain }}.guarded
{{ include "udp-security.guards.spoofedHook" (printf "g0.%s.guarded" $chain) }}
{{- if $linux.verdictCache.enabled }}
{{- if eq $hook "input" }}
{{ $addGuarded }} {{ $ours }} {{ $c.ingress }} ct direction original ct mark set ct mark or {{ $c.original }} accept # trusted
{{ $addGuarded }} {{ $ours }} {{ $c.egress }} ct direction reply accept # trusted
{{- else }}
{{- range $way := list "original" "reply" }}
{{ $addGuarded }} {{ $ours }} {{ $c.forward }} ct direction {{ $way }} ct mark set ct mark or {{ get $c $way }} accept # trusted
{{- end }}
{{- end }}
{{- end }}
{{ $addGuarded }} goto g0.{{ $chain }}
{{- end }}
{{- end -}}

{{- /*
Packets that die between conntrack and the hooks, for example of old age, keep their flow alive without being judged: right behind
conntrack, values of older generations leave the mark, or all values as long as this generation's cannot be trusted. The agent takes
`untrusted` away or leaves `trusted` out, and deletes both chains when no older value can be left. In: the dict of udp-security.policy.
*/ -}}
{{- define "udp-security.cache.purge" -}}
{{- $c := .cache -}}
{{- range $hook := list "prerouting" "output" }}
add chain inet udp_security purge.{{ $hook }} { type filter hook {{ $hook }} priority -199; policy accept; }
flush chain inet udp_security purge.{{ $hook }}
# untrusted: add rule inet udp_security purge.{{ $hook }} meta l4proto udp ct mark and {{ $c.mask }} != 0 ct mark set ct mark and {{ $c.rest }}
add rule inet udp_security purge.{{ $hook }} meta l4proto udp ct mark and {{ $c.values }} != { 0x00000000, {{ $c.ingress }}, {{ $c.egress }}, {{ $c.forward }} } ct mark set ct mark and {{ $c.rest }} # trusted
{{- end }}
{{- end -}}
