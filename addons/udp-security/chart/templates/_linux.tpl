{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
What the Linux agent gets: its scripts without their comments, and the policy. `policy.nft` is the ruleset, `policy.rules` what
the iptables backend compiles, `policy.bridge` what bridges check, `policy.facts` what the agent must know of them. In: dict "policy"
(udp-security.policy) "files"; sets the texts on files. The compiler and what it compiles are there together.
*/ -}}
{{- define "udp-security.linux.files" -}}
{{- $x := . -}}
{{- $linux := .policy.root.Values.linux -}}
{{- range $path, $_ := .policy.root.Files.Glob "files/linux/*" -}}
  {{- /* What stands before the first empty comment says whose it is; the comments behind that are a quarter of the text. */ -}}
  {{- $parts := regexSplit "\n#\n" ($x.policy.root.Files.Get $path | replace "\r\n" "\n") 2 -}}
  {{- $code := regexReplaceAll "(?m)^[ \t]*#( .*)?\n" (index $parts 1) "" -}}
  {{- $_ := set $x.files (base $path) (printf "%s\n%s" (first $parts) $code) -}}
{{- end -}}
{{- $_ := set .files "policy.facts" (include "udp-security.linux.facts" .policy) -}}
{{- if ne $linux.backend "iptables" -}}
  {{- $_ := set .files "policy.nft" (include "udp-security.ruleset" .policy) -}}
  {{- if $linux.antiSpoofing }}{{ $_ := set .files "policy.bridge" (include "udp-security.guards.bridge" .policy) }}{{ end -}}
{{- end -}}
{{- if ne $linux.backend "nftables" -}}
  {{- $_ := set .files "policy.rules" (include "udp-security.linux.rules" .policy) -}}
{{- else -}}
  {{- $_ := unset .files "iptables.awk" -}}
{{- end -}}
{{- end -}}

{{- /* The hash that the files must have together, in the order of their names. In: the files. */ -}}
{{- define "udp-security.linux.hash" -}}
{{- $all := list -}}
{{- range . }}{{ $all = append $all . }}{{ end -}}
{{- join "" $all | sha256sum -}}
{{- end -}}

{{- /*
`key value...` lines. `ports DIRECTION CIDR LOW-HIGH...` are the ports that may be used among all addresses of a node CIDR: the
agent compares them with the node's own overlay devices. In: the dict of udp-security.policy.
*/ -}}
{{- define "udp-security.linux.facts" -}}
{{- $p := . -}}
{{- $values := $p.root.Values -}}
version {{ $p.root.Chart.Version }}
mode {{ $values.mode }}
denyAction {{ $values.denyAction }}
scope {{ $values.linux.scope }}
backend {{ $values.linux.backend }}
cache {{ $p.cache.shift }} {{ $p.cache.slots }} {{ $p.cache.name }} {{ ternary "on" "off" $values.linux.verdictCache.enabled }}
{{- if $values.linux.antiSpoofing }}
antiSpoofing yes
{{- end }}
{{- if eq (include "udp-security.ruleset.prefilter" $values) "true" }}
prefilter yes
{{- end }}
{{- range $key := list "nodeCIDRs" "podCIDRs" }}
{{- $l := get $p.cluster $key }}
{{ $key }}{{ range concat $l.cidrs4 $l.cidrs6 }} {{ .network }}{{ end }}
{{- end }}
{{- range $direction := list "egress" "ingress" }}
{{- range $cidr := concat $p.cluster.nodeCIDRs.cidrs4 $p.cluster.nodeCIDRs.cidrs6 }}
ports {{ $direction }} {{ $cidr.network }}
{{- range $r := (get $p.directions $direction).rules }}
{{- if and (eq (include "udp-security.address.covers" (list $r.from $cidr)) "true") (eq (include "udp-security.address.covers" (list $r.to $cidr)) "true") }}
{{- range $r.ports }} {{ index . 0 }}-{{ index . 1 }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{ end -}}

{{- /*
The policy for the iptables backend: `key value` lines, then a line for each rule,
  DIRECTION COUNTER LOW-HIGH,... FROM4 FROM6 TO4 TO6
where each of the last four is `any`, `none`, or addresses and CIDRs with commas between them. In: the dict of
udp-security.policy.
*/ -}}
{{- define "udp-security.linux.rules" -}}
{{- $p := . -}}
{{- $c := $p.cluster -}}
{{- $values := $p.root.Values -}}
{{- $replies := include "udp-security.ruleset.families" $values.linux.untrackedReplyAddresses | fromYaml -}}
mode {{ $values.mode }}
denyAction {{ $values.denyAction }}
scope {{ $values.linux.scope }}
logDenials {{ ternary "yes" "no" $values.linux.logDenials }}
{{- range $family := list "4" "6" }}
{{- $key := printf "cidrs%s" $family }}
cluster{{ $family }} {{ include "udp-security.linux.rules.networks" (concat (get $c.podCIDRs $key) (get $c.serviceCIDRs $key) (get $c.nodeCIDRs $key)) }}
untrackedReply{{ $family }} {{ get $replies (ternary "ip" "ip6" (eq $family "4")) | default list | uniq | join "," | default "none" }}
{{- end }}
{{- range $direction := list "ingress" "egress" "forward" }}
{{- range $r := (get $p.directions $direction).rules }}
{{- $ports := list }}
{{- range $r.ports }}{{ $ports = append $ports (printf "%d-%d" (index . 0) (index . 1)) }}{{ end }}
{{ $direction }} {{ $r.counter }} {{ join "," $ports }}
{{- range $end := list $r.from $r.to }}
{{- range $family := list "4" "6" }}
{{- $cidrs := include "udp-security.linux.rules.networks" (get $end (printf "cidrs%s" $family)) }} {{ ternary "any" $cidrs (get $end (printf "any%s" $family)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{ end -}}

{{- /* In: networks as udp-security.address.list leaves them. */ -}}
{{- define "udp-security.linux.rules.networks" -}}
{{- $texts := list -}}
{{- range . }}{{ $texts = append $texts .network }}{{ end -}}
{{- $texts | uniq | join "," | default "none" -}}
{{- end -}}
