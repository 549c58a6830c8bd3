{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
Reports each lifeline that the rules leave out on some governed nodes and dangerouslyCutOff does not name. In: the dict of
udp-security.policy.
*/ -}}
{{- define "udp-security.policy.lifelines" -}}
{{- $p := . -}}
{{- $values := $p.root.Values -}}
{{- $lifelines := $p.root.Files.Get "files/policy/lifelines.yaml" | fromYaml -}}
{{- range $name := list "dns" "dhcp" "flannelVxlan" -}}
  {{- if not (has $name $values.dangerouslyCutOff) -}}
    {{- $cuts := dict -}}
    {{- range $os := list "linux" "windows" -}}
      {{- if (get $values $os).enabled -}}
        {{- $cut := dict -}}
        {{- range $box := get $lifelines $name -}}
          {{- if and (not $cut) (has $os ($box.os | default (list "linux" "windows"))) -}}
            {{- include "udp-security.policy.box" (dict "box" $box "policy" $p "os" $os "cut" $cut) -}}
          {{- end -}}
        {{- end -}}
        {{- if $cut }}{{ $_ := set $cuts $os $cut }}{{ end -}}
      {{- end -}}
    {{- end -}}
    {{- if and $cuts.linux $cuts.windows (deepEqual $cuts.linux $cuts.windows) -}}
      {{- $cuts = dict "linux and windows" $cuts.linux -}}
    {{- end -}}
    {{- range $nodes, $cut := $cuts -}}
      {{- include "udp-security.error" (list $p.errors (printf "presets.%s" $name) "lifeline" $name (include "udp-security.os.names" $nodes) $cut.direction $cut.from $cut.to (int $cut.port) $name $name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* Sets on dict "cut" the first pair of CIDRs of "box" that no rule of "policy" for the nodes of "os" covers. */ -}}
{{- define "udp-security.policy.box" -}}
{{- $os := .os -}}
{{- $box := .box -}}
{{- $cut := .cut -}}
{{- $ends := dict -}}
{{- range $end := list "from" "to" -}}
  {{- $texts := include "udp-security.policy.resolve" (dict "texts" (get $box $end | default (list "0.0.0.0/0" "::/0")) "cluster" $.policy.root.Values.cluster) | fromYamlArray -}}
  {{- $addresses := list -}}
  {{- range $text := $texts -}}
    {{- $a := dict "text" $text -}}
    {{- include "udp-security.address.parse" $a -}}
    {{- $addresses = append $addresses $a -}}
  {{- end -}}
  {{- $_ := set $ends $end $addresses -}}
{{- end -}}
{{- $candidates := list -}}
{{- range $r := .policy.rules -}}
  {{- if and (get $r $os) (eq $r.direction $box.direction) (eq (include "udp-security.policy.rule.names" (list $r (int $box.port))) "true") -}}
    {{- $candidates = append $candidates $r -}}
  {{- end -}}
{{- end -}}
{{- range $from := $ends.from -}}
  {{- range $to := $ends.to -}}
    {{- if and (eq $from.family $to.family) (not $cut) -}}
      {{- $covered := false -}}
      {{- range $r := $candidates -}}
        {{- if not $covered -}}
          {{- $covered = and (eq (include "udp-security.address.covers" (list $r.from $from)) "true") (eq (include "udp-security.address.covers" (list $r.to $to)) "true") -}}
        {{- end -}}
      {{- end -}}
      {{- if not $covered -}}
        {{- range $key, $value := dict "direction" $box.direction "from" $from.network "to" $to.network "port" $box.port }}{{ $_ := set $cut $key $value }}{{ end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* Whether a rule names a port. In: list RULE PORT. */ -}}
{{- define "udp-security.policy.rule.names" -}}
{{- $port := index . 1 -}}
{{- $named := false -}}
{{- range (index . 0).ports -}}
  {{- if and (le (index . 0) $port) (ge (index . 1) $port) }}{{ $named = true }}{{ end -}}
{{- end -}}
{{- $named -}}
{{- end -}}
