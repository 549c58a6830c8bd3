{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
What the agents get, as files of a ConfigMap for each operating system. The pod template carries the files' hash, so that a pod
never runs or loads another pod's.
In: dict "root" $. Sets on the same dict: data, a dict of linux, windows (where governed), each a dict of the files' texts. A
wrong policy is refused where nothing is governed, too, as `udp-security validate` does. Leaves udp-security.idle on the root.
*/ -}}
{{- define "udp-security.data" -}}
{{- $out := . -}}
{{- /* Compiling a large policy takes seconds, and several templates need the result: Helm hands all of them the same root. */ -}}
{{- if not (hasKey .root "udp-security.data") -}}
  {{- $p := dict "root" .root -}}
  {{- include "udp-security.policy" $p -}}
  {{- include "udp-security.errors.fail" $p.errors -}}
  {{- $_ := set .root "udp-security.idle" dict -}}
  {{- include "udp-security.policy.idle" (dict "policy" $p "idle" (get .root "udp-security.idle")) -}}
  {{- $limit := (.root.Files.Get "files/policy/limits.yaml" | fromYaml).configMapBytes | int -}}
  {{- $data := dict -}}
  {{- range $os := list "linux" "windows" -}}
    {{- if (get $p.root.Values $os).enabled -}}
      {{- $files := dict -}}
      {{- include (printf "udp-security.%s.files" $os) (dict "policy" $p "files" $files) -}}
      {{- $size := 0 -}}
      {{- range $name, $text := $files -}}
        {{- /* As the ConfigMap's YAML keeps it, also in a chart with Windows' line ends: the pod hashes what it sees. */ -}}
        {{- $text = printf "%s\n" (regexReplaceAll "\n+$" (replace "\r\n" "\n" $text) "") -}}
        {{- $_ := set $files $name $text -}}
        {{- $size = add $size (len $text) -}}
      {{- end -}}
      {{- /* One backend of two is better than none: the nodes that lack nftables say why they are not governed. */ -}}
      {{- if and (gt (int $size) $limit) (hasKey $files "policy.nft") (hasKey $files "policy.rules") -}}
        {{- range list "policy.rules" "iptables.awk" -}}
          {{- $size = sub $size (len (get $files .)) -}}
          {{- $_ := unset $files . -}}
        {{- end -}}
      {{- end -}}
      {{- if gt (int $size) $limit -}}
        {{- include "udp-security.error" (list $p.errors "rules" "size" (include "udp-security.os.names" $os) $size $limit) -}}
      {{- end -}}
      {{- $_ := set $data $os $files -}}
    {{- end -}}
  {{- end -}}
  {{- include "udp-security.errors.fail" $p.errors -}}
  {{- $_ := set .root "udp-security.data" $data -}}
{{- end -}}
{{- $_ := set $out "data" (get .root "udp-security.data") -}}
{{- end -}}
