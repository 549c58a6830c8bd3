{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT

Values become a policy: presets expanded, addresses read, every semantic check made. udp_security.policy is the same in Python.
*/ -}}

{{- /*
In: dict "root" $. Sets on the same dict:
  rules    list of rules (udp-security.policy.rule), presets first, each in the order of its file
  cluster  dict of podCIDRs, serviceCIDRs, nodeCIDRs, dnsServers, each as udp-security.address.list leaves it
  errors   see udp-security.error
  cache    see udp-security.cache; only where Linux nodes are governed
  directions  see udp-security.policy.directions; only where Linux nodes are governed
*/ -}}
{{- define "udp-security.policy" -}}
{{- $p := . -}}
{{- $values := $p.root.Values -}}
{{- $errors := dict "all" list "messages" ($p.root.Files.Get "files/policy/messages.yaml" | fromYaml) -}}
{{- $cache := dict -}}
{{- $_ := set $p "errors" $errors -}}
{{- $_ := set $p "cluster" dict -}}
{{- $_ := set $p "rules" list -}}
{{- range $key := list "podCIDRs" "serviceCIDRs" "nodeCIDRs" "dnsServers" -}}
  {{- $path := printf "cluster.%s" $key -}}
  {{- $l := dict "texts" (get $values.cluster $key) "path" $path "where" $path "errors" $errors "cache" $cache -}}
  {{- include "udp-security.address.list" $l -}}
  {{- $_ := set $p.cluster $key $l -}}
{{- end -}}

{{- /* A preset's addresses are constants or cluster lists, which are checked above. */ -}}
{{- $checked := dict "all" list "messages" $errors.messages -}}
{{- range $bundle := $p.root.Files.Get "files/policy/presets.yaml" | fromYamlArray -}}
  {{- range $given := ternary $bundle.rules list (get $values.presets $bundle.preset | default false) -}}
    {{- $rule := merge (dict "name" (printf "preset:%s:%s" $bundle.preset $given.name)) $given -}}
    {{- range $end := list "from" "to" -}}
      {{- if hasKey $given $end -}}
        {{- $_ := set $rule $end (include "udp-security.policy.resolve" (dict "texts" (get $given $end) "cluster" $values.cluster) | fromYamlArray) -}}
      {{- end -}}
    {{- end -}}
    {{- $r := dict "given" $rule "path" (printf "presets.%s" $bundle.preset) "errors" $checked "cache" $cache -}}
    {{- include "udp-security.policy.rule" $r -}}
    {{- $_ := set $p "rules" (append $p.rules $r) -}}
  {{- end -}}
{{- end -}}

{{- $names := dict -}}
{{- range $i, $given := $values.rules -}}
  {{- $_ := set $names $given.name (add1 (get $names $given.name | default 0)) -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $i, $given := $values.rules -}}
  {{- $r := dict "given" $given "path" (printf "rules[%d]" $i) "errors" $errors "cache" $cache -}}
  {{- if and (gt (get $names $given.name) 1) (hasKey $seen $given.name) -}}
    {{- include "udp-security.error" (list $errors (printf "%s.name" $r.path) "duplicateName" $given.name (get $names $given.name)) -}}
  {{- end -}}
  {{- $_ := set $seen $given.name true -}}
  {{- include "udp-security.policy.rule" $r -}}
  {{- include "udp-security.policy.rule.check" (dict "rule" $r "cluster" $p.cluster "linux" $values.linux.enabled) -}}
  {{- $_ := set $p "rules" (append $p.rules $r) -}}
{{- end -}}
{{- if $values.linux.enabled -}}
  {{- $path := "linux.untrackedReplyAddresses" -}}
  {{- include "udp-security.address.list" (dict "texts" ($values.linux.untrackedReplyAddresses | default list) "path" $path "where" $path "errors" $errors "cache" $cache) -}}
  {{- $_ := set $p "cache" (dict "mask" $values.linux.verdictCache.mask) -}}
  {{- include "udp-security.cache" $p.cache -}}
  {{- if not $p.cache.good -}}
    {{- include "udp-security.error" (list $errors "linux.verdictCache.mask" "cacheMask" (printf "0x%08x" (int64 $p.cache.mask))) -}}
  {{- end -}}
  {{- include "udp-security.policy.directions" $p -}}
{{- end -}}
{{- include "udp-security.policy.lifelines" $p -}}
{{- end -}}

{{- /* Replaces `cluster.<key>` by that list. In: dict "texts" "cluster". */ -}}
{{- define "udp-security.policy.resolve" -}}
{{- $texts := list -}}
{{- range .texts -}}
  {{- if hasPrefix "cluster." . -}}
    {{- $texts = concat $texts (get $.cluster (trimPrefix "cluster." .)) -}}
  {{- else -}}
    {{- $texts = append $texts . -}}
  {{- end -}}
{{- end -}}
{{- toYaml $texts -}}
{{- end -}}

{{- /*
Reads one rule. In: dict "given" (as in the values) "path" "errors" "cache". Sets on the same dict: name, direction, counter (the
name of its counter and, after `g0.`, of its chain), ports (list of low, high), from, to (udp-security.address.list), linux and
windows (whether it applies there).
*/ -}}
{{- define "udp-security.policy.rule" -}}
{{- $r := . -}}
{{- $given := $r.given -}}
{{- $_ := set $r "name" $given.name -}}
{{- $_ := set $r "direction" $given.direction -}}
{{- $_ := set $r "counter" (printf "r.%s" (replace ":" "." $given.name)) -}}
{{- $os := $given.os | default (list "linux" "windows") -}}
{{- $_ := set $r "linux" (has "linux" $os) -}}
{{- $_ := set $r "windows" (has "windows" $os) -}}
{{- $ports := list -}}
{{- range $i, $port := $given.ports -}}
  {{- $ends := splitList "-" (toString $port) -}}
  {{- $low := atoi (first $ends) -}}
  {{- $high := atoi (last $ends) -}}
  {{- if lt $high $low -}}
    {{- include "udp-security.error" (list $r.errors (printf "%s.ports[%d]" $r.path $i) "portRange" $r.name $port (printf "%d-%d" $high $low)) -}}
  {{- else -}}
    {{- $ports = append $ports (list $low $high) -}}
  {{- end -}}
{{- end -}}
{{- $_ := set $r "ports" $ports -}}
{{- range $end := list "from" "to" -}}
  {{- $l := dict "texts" (get $given $end | default nil) "path" (printf "%s.%s" $r.path $end) "where" (printf "rule %q: %s" $r.name $end) "errors" $r.errors "cache" $r.cache -}}
  {{- include "udp-security.address.list" $l -}}
  {{- $_ := set $r $end $l -}}
{{- end -}}
{{- end -}}

{{- /* What one user's rule is refused for beyond its own fields. In: dict "rule" "cluster" "linux" (whether it is governed). */ -}}
{{- define "udp-security.policy.rule.check" -}}
{{- $r := .rule -}}
{{- if and (eq $r.direction "forward") (not $r.linux) -}}
  {{- include "udp-security.error" (list $r.errors (printf "%s.direction" $r.path) "forwardWindows" $r.name) -}}
{{- end -}}
{{- $common4 := and (or $r.from.any4 $r.from.cidrs4) (or $r.to.any4 $r.to.cidrs4) -}}
{{- $common6 := and (or $r.from.any6 $r.from.cidrs6) (or $r.to.any6 $r.to.cidrs6) -}}
{{- if not (or $common4 $common6) -}}
  {{- include "udp-security.error" (list $r.errors (printf "%s.to" $r.path) "noCommonFamily" $r.name $r.from.families $r.to.families) -}}
{{- end -}}
{{- if and $.linux $r.linux -}}
  {{- range $i, $text := $r.to.texts -}}
    {{- $to := get $r.cache $text -}}
    {{- range $service := concat $.cluster.serviceCIDRs.cidrs4 $.cluster.serviceCIDRs.cidrs6 -}}
      {{- if eq (include "udp-security.address.contains" (list $service $to)) "true" -}}
        {{- include "udp-security.error" (list $r.errors (printf "%s.to[%d]" $r.path $i) "serviceDestination" $r.name $text $service.network) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
