{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
What the Windows agent gets: its scripts, and `policy.json`, which the agent itself turns into rules of the host's firewall.
In: dict "policy" (udp-security.policy) "files"; sets the texts on files.
*/ -}}
{{- define "udp-security.windows.files" -}}
{{- $files := .files -}}
{{- range $path, $content := .policy.root.Files.Glob "files/windows/*" -}}
  {{- $_ := set $files (base $path) (toString $content) -}}
{{- end -}}
{{- $_ := set $files "policy.json" (include "udp-security.windows.policy" .policy) -}}
{{- end -}}

{{- /* The hash that the files must have together, in the order of their names' bytes, as `range` has it. In: the files. */ -}}
{{- define "udp-security.windows.hash" -}}
{{- $all := "" -}}
{{- range . }}{{ $all = print $all . }}{{ end -}}
{{- $all | sha256sum -}}
{{- end -}}

{{- /* What the agent learns from its environment. In: dict "root" $ "files". */ -}}
{{- define "udp-security.windows.env" -}}
{{- $hash := include "udp-security.windows.hash" .files -}}
{{- include "udp-security.pod.env" (dict "root" .root "os" "windows" "hash" $hash) }}
{{- if include "udp-security.metrics" .root }}
- name: UDP_SECURITY_METRICS_PORT
  value: {{ .root.Values.metrics.port | quote }}
{{- end }}
{{- end -}}

{{- /* How the agent is called, as a YAML list of words. In: list COMMAND ARGUMENT... */ -}}
{{- define "udp-security.windows.command" -}}
{{- $script := `%CONTAINER_SANDBOX_MOUNT_POINT%\udp-security\config\Agent.ps1` -}}
{{- $powershell := list "powershell.exe" "-NoProfile" "-NonInteractive" "-ExecutionPolicy" "Bypass" -}}
{{- concat $powershell (list "-File" $script "-Command") . | toYaml -}}
{{- end -}}

{{- /*
The policy as JSON, one rule a line. CIDRs are canonical; from and to are null for any address. Rules of direction forward are
left out: they never apply to a Windows host. In: the dict of udp-security.policy.
*/ -}}
{{- define "udp-security.windows.policy" -}}
{{- $p := . -}}
{{- $values := $p.root.Values -}}
{{- $cluster := list -}}
{{- range $key := list "podCIDRs" "serviceCIDRs" "nodeCIDRs" -}}
  {{- $cluster = concat $cluster (include "udp-security.windows.cidrs" (get $p.cluster $key) | fromJsonArray) -}}
{{- end -}}
{{- $nodes := include "udp-security.windows.cidrs" $p.cluster.nodeCIDRs | fromJsonArray -}}
{{- $rules := list -}}
{{- range $r := $p.rules -}}
  {{- if and $r.windows (ne $r.direction "forward") -}}
    {{- $ports := list -}}
    {{- range $r.ports }}{{ $ports = append $ports (printf "%d-%d" (index . 0) (index . 1)) }}{{ end -}}
    {{- $rule := dict "name" $r.name "direction" $r.direction "ports" $ports "from" nil "to" nil -}}
    {{- range $end := list "from" "to" -}}
      {{- $l := get $r $end -}}
      {{- if not (kindIs "invalid" $l.texts) -}}
        {{- $_ := set $rule $end (include "udp-security.windows.cidrs" $l | fromJsonArray) -}}
      {{- end -}}
    {{- end -}}
    {{- $rules = append $rules (toJson $rule) -}}
  {{- end -}}
{{- end -}}
{
  "version": {{ $p.root.Chart.Version | toJson }},
  "mode": {{ $values.mode | toJson }},
  "denyAction": {{ $values.denyAction | toJson }},
  "scope": {{ $values.windows.scope | toJson }},
  "clusterCIDRs": {{ $cluster | toJson }},
  "nodeCIDRs": {{ $nodes | toJson }},
  {{- /* Prometheus runs in a pod; what a pod sends to another node may carry its own node's address. */}}
  {{- if $values.metrics.enabled }}
  {{- $pods := include "udp-security.windows.cidrs" $p.cluster.podCIDRs | fromJsonArray }}
  "metrics": {"port": {{ $values.metrics.port }}, "from": {{ concat $pods $nodes | toJson }}},
  {{- end }}
  "rules": [
    {{- range $i, $rule := $rules }}{{ if $i }},{{ end }}
    {{ $rule }}
    {{- end }}
  ]
}
{{ end -}}

{{- /* A JSON array of canonical CIDRs, in the order of the values. In: a list as udp-security.address.list leaves it. */ -}}
{{- define "udp-security.windows.cidrs" -}}
{{- $networks := list -}}
{{- range .texts }}{{ $networks = append $networks (get $.cache .).network }}{{ end -}}
{{- $networks | toJson -}}
{{- end -}}
