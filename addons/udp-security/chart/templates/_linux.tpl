{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
What the Linux agent gets: `agent.sh`, and the policy in two files: `policy.nft` is the ruleset, `policy.facts` is what the agent
must know about it. In: dict "policy" (udp-security.policy) "files"; sets the texts on files.
*/ -}}
{{- define "udp-security.linux.files" -}}
{{- $_ := set .files "agent.sh" (.policy.root.Files.Get "files/linux/agent.sh") -}}
{{- $_ := set .files "policy.nft" (include "udp-security.ruleset" .policy) -}}
{{- $_ := set .files "policy.facts" (include "udp-security.linux.facts" .policy) -}}
{{- end -}}

{{- /* The hash that the files must have together. In: the files. */ -}}
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
