{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /* Not empty where agents have metrics. In: $. */ -}}
{{- define "udp-security.metrics" -}}
{{- $agents := or .Values.linux.enabled .Values.windows.enabled -}}
{{- if and .Values.metrics.enabled $agents }}true{{ end -}}
{{- end -}}

{{- /* Not empty where there are objects for the Prometheus Operator, too. In: $. */ -}}
{{- define "udp-security.metrics.operator" -}}
{{- if .Values.metrics.prometheusOperator }}{{ include "udp-security.metrics" . }}{{ end -}}
{{- end -}}

{{- /* The name of these objects, and so the job of all their metrics. In: $. */ -}}
{{- define "udp-security.metrics.name" -}}
{{- include "udp-security.name" . }}-metrics
{{- end -}}

{{- /*
The metadata of one of these objects. Where a user's label has the name of one of ours, ours stays.
In: list $ LABELS (further ones, or nil).
*/ -}}
{{- define "udp-security.metrics.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "udp-security.metrics.name" $root }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- merge (include "udp-security.labels" (list $root "metrics") | fromYaml) (index . 1 | default dict) | toYaml | nindent 2 }}
{{- end -}}
