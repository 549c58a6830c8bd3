{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- define "udp-security.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{- /* What selects a component's pods; it can never change. In: list $ COMPONENT. */ -}}
{{- define "udp-security.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "udp-security.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* In: list $ COMPONENT. */ -}}
{{- define "udp-security.labels" -}}
{{- $root := index . 0 -}}
{{ include "udp-security.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}
