{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- define "udp-security.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{- /* What selects a component's pods; it can never change. Quoted: a name may look like a number. In: list $ COMPONENT. */ -}}
{{- define "udp-security.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "udp-security.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
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

{{- /*
An image's reference. K2s searches templates too for images to export, and would take a line `image: {{ X }}:{{ Y }}` literally.
In: dict "repository" "tag".
*/ -}}
{{- define "udp-security.image" -}}
{{ .repository }}:{{ .tag }}
{{- end -}}

{{- /* Operating systems as people write them: "linux and windows" is "Linux and Windows". */ -}}
{{- define "udp-security.os.names" -}}
{{- . | replace "linux" "Linux" | replace "windows" "Windows" -}}
{{- end -}}
