{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
What the Linux agent gets: `agent.sh`, and the policy in two files: `policy.nft` is the ruleset, `policy.facts` is what the agent must
know about it. The pod template carries the hash of all three, so that a pod never runs or loads another pod's.
In: dict "root" $. Sets on the same dict: data, a dict of the files' texts; empty where Linux nodes are not governed, though a wrong
policy is refused there too, as `udp-security validate` does.
*/ -}}
{{- define "udp-security.linux.data" -}}
{{- $out := . -}}
{{- /* Compiling a large policy takes seconds, and several templates need the result: Helm hands all of them the same root. */ -}}
{{- if not (hasKey .root "udp-security.linux.data") -}}
  {{- $p := dict "root" .root -}}
  {{- include "udp-security.policy" $p -}}
  {{- include "udp-security.errors.fail" $p.errors -}}
  {{- $data := dict -}}
  {{- if .root.Values.linux.enabled -}}
    {{- $ruleset := include "udp-security.ruleset" $p -}}
    {{- $facts := include "udp-security.linux.facts" $p -}}
    {{- $data = dict "agent.sh" (.root.Files.Get "files/linux/agent.sh") "policy.nft" $ruleset "policy.facts" $facts -}}
    {{- $size := 0 -}}
    {{- range $data }}{{ $size = add $size (len .) }}{{ end -}}
    {{- $limit := (.root.Files.Get "files/policy/limits.yaml" | fromYaml).configMapBytes | int -}}
    {{- if gt (int $size) $limit -}}
      {{- include "udp-security.error" (list $p.errors "rules" "size" $size $limit) -}}
    {{- end -}}
    {{- include "udp-security.errors.fail" $p.errors -}}
  {{- end -}}
  {{- $_ := set .root "udp-security.linux.data" $data -}}
{{- end -}}
{{- $_ := set $out "data" (get .root "udp-security.linux.data") -}}
{{- end -}}

{{- /* The hash that the files must have together. In: the data of udp-security.linux.data. */ -}}
{{- define "udp-security.linux.hash" -}}
{{- printf "%s%s%s" (get . "agent.sh") (get . "policy.nft") (get . "policy.facts") | sha256sum -}}
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
