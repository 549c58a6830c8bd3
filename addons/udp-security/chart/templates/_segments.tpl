{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT

Port segments: all ports cut at every end of a range, so that within a segment the same rules apply. Ranges may overlap in any
way, and the segments never do, which is what an nftables interval map needs.
*/ -}}

{{- /*
In: dict "rules" (of one direction). Sets on the same dict, from low to high port,
  segments  list of dict "low" "high" "rules" (those that name the segment's ports, in their order; never empty)
*/ -}}
{{- define "udp-security.segments" -}}
{{- $s := . -}}
{{- /* Keys are zero-padded because sorting is by text. */ -}}
{{- $begin := dict -}}
{{- $end := dict -}}
{{- range $i, $r := $s.rules -}}
  {{- $id := printf "%06d" $i -}}
  {{- range $r.ports -}}
    {{- $low := printf "%05d" (index . 0) -}}
    {{- $after := printf "%05d" (add1 (index . 1)) -}}
    {{- $_ := set $begin $low (append (get $begin $low | default list) $id) -}}
    {{- $_ := set $end $after (append (get $end $after | default list) $id) -}}
  {{- end -}}
{{- end -}}
{{- $bounds := concat (keys $begin) (keys $end) | uniq | sortAlpha -}}
{{- $segments := list -}}
{{- /* How many open ranges each rule has at the sweep's position: one rule's own ranges may overlap too. */ -}}
{{- $open := dict -}}
{{- range $i, $bound := $bounds -}}
  {{- range get $end $bound | default list -}}
    {{- if eq (int (get $open .)) 1 }}{{ $_ := unset $open . }}{{ else }}{{ $_ := set $open . (sub (get $open .) 1) }}{{ end -}}
  {{- end -}}
  {{- range get $begin $bound | default list }}{{ $_ := set $open . (add1 (get $open . | default 0)) }}{{ end -}}
  {{- if $open -}}
    {{- $rules := list -}}
    {{- range keys $open | sortAlpha }}{{ $rules = append $rules (index $s.rules (atoi .)) }}{{ end -}}
    {{- $segments = append $segments (dict "low" (atoi $bound) "high" (int (sub (atoi (index $bounds (add1 $i))) 1)) "rules" $rules) -}}
  {{- end -}}
{{- end -}}
{{- $_ := set $s "segments" $segments -}}
{{- end -}}

{{- /* A segment as nftables writes it. In: a segment. */ -}}
{{- define "udp-security.segment.text" -}}
{{- if eq .low .high }}{{ .low }}{{ else }}{{ .low }}-{{ .high }}{{ end -}}
{{- end -}}

{{- /*
Cuts the ports of a policy's Linux rules, and reports a policy whose shared segments would make the ruleset explode.
In: the dict of udp-security.policy. Sets on it: directions, a dict of ingress, egress, forward, each a dict "rules" "segments".
*/ -}}
{{- define "udp-security.policy.directions" -}}
{{- $p := . -}}
{{- $limit := ($p.root.Files.Get "files/policy/limits.yaml" | fromYaml).overlapJumps | int -}}
{{- $_ := set $p "directions" dict -}}
{{- $jumps := 0 -}}
{{- $deep := dict "rules" list -}}
{{- range $direction := list "ingress" "egress" "forward" -}}
  {{- $rules := list -}}
  {{- range $p.rules }}{{ if and .linux (eq .direction $direction) }}{{ $rules = append $rules . }}{{ end }}{{ end -}}
  {{- $d := dict "direction" $direction "rules" $rules -}}
  {{- include "udp-security.segments" $d -}}
  {{- range $d.segments -}}
    {{- if gt (len .rules) 1 }}{{ $jumps = add $jumps (len .rules) }}{{ end -}}
    {{- if gt (len .rules) (len $deep.rules) }}{{ $deep = merge (dict "direction" $direction) . }}{{ end -}}
  {{- end -}}
  {{- $_ := set $p.directions $direction $d -}}
{{- end -}}
{{- if gt (int $jumps) $limit -}}
  {{- include "udp-security.error" (list $p.errors "rules" "overlap" (len $deep.rules) $deep.direction $deep.low (int $jumps) $limit) -}}
{{- end -}}
{{- end -}}
