{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
How many of the user's rules do nothing on the nodes of linux and windows, since their scope is cluster and the rules name no
address of the cluster. In: dict "policy" (udp-security.policy) "idle"; sets the numbers on idle.
*/ -}}
{{- define "udp-security.policy.idle" -}}
{{- $p := .policy -}}
{{- $idle := .idle -}}
{{- $cluster := list -}}
{{- range $key := list "podCIDRs" "serviceCIDRs" "nodeCIDRs" -}}
  {{- $l := get $p.cluster $key -}}
  {{- $cluster = concat $cluster $l.cidrs4 $l.cidrs6 -}}
{{- end -}}
{{- range $os := list "linux" "windows" -}}
  {{- $count := 0 -}}
  {{- if eq (get $p.root.Values $os).scope "cluster" -}}
    {{- range $r := $p.rules -}}
      {{- if and (get $r $os) (hasPrefix "rules[" $r.path) (or (eq $os "linux") (ne $r.direction "forward")) -}}
        {{- $ends := list $r.from $r.to -}}
        {{- if eq $r.direction "ingress" }}{{ $ends = list $r.from }}{{ else if eq $r.direction "egress" }}{{ $ends = list $r.to }}{{ end -}}
        {{- $judged := false -}}
        {{- range $end := $ends -}}
          {{- if kindIs "invalid" $end.texts }}{{ $judged = true }}{{ end -}}
          {{- range $a := concat $end.cidrs4 $end.cidrs6 -}}
            {{- range $c := $cluster -}}
              {{- if and (not $judged) (eq $a.family $c.family) -}}
                {{- $judged = or (hasPrefix (trunc $c.prefix $c.bits) $a.bits) (hasPrefix (trunc $a.prefix $a.bits) $c.bits) -}}
              {{- end -}}
            {{- end -}}
          {{- end -}}
        {{- end -}}
        {{- if not $judged }}{{ $count = add1 $count }}{{ end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set $idle $os $count -}}
{{- end -}}
{{- end -}}
