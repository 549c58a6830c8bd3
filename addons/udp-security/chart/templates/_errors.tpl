{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
Notes one error. In: list ERRORS PATH KEY ARGUMENT...; ERRORS is dict "messages" (files/policy/messages.yaml) "all" (list).
*/ -}}
{{- define "udp-security.error" -}}
{{- $errors := index . 0 -}}
{{- $text := regexSplit "%[sd]" (get $errors.messages (index . 2)) -1 -}}
{{- $line := printf "%s: %s" (index . 1) (first $text) -}}
{{- range $i, $argument := slice . 3 -}}
  {{- $line = printf "%s%v%s" $line $argument (index $text (add1 $i)) -}}
{{- end -}}
{{- $_ := set $errors "all" (append $errors.all $line) -}}
{{- end -}}

{{- /* Fails with all errors at once, where there are any. In: ERRORS. */ -}}
{{- define "udp-security.errors.fail" -}}
{{- if .all -}}
  {{- fail (printf "the policy is refused:\n  %s\n" (join "\n  " .all)) -}}
{{- end -}}
{{- end -}}
