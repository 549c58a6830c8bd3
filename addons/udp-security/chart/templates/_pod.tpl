{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT
*/ -}}

{{- /*
The metadata of an agent's pods. Where a user's label or annotation has the name of one of ours, ours stays.
In: dict "root" $ "os" "files" (the agent's).
*/ -}}
{{- define "udp-security.pod.metadata" -}}
{{- $values := get .root.Values .os -}}
labels:
  {{- merge (include "udp-security.labels" (list .root .os) | fromYaml) ($values.podLabels | default dict) | toYaml | nindent 2 }}
annotations:
  {{- $ours := dict "checksum/config" (toYaml .files | sha256sum) -}}
  {{- /* kubectl says which container it took, unless it is told. */ -}}
  {{- if .root.Values.metrics.enabled }}{{ $_ := set $ours "kubectl.kubernetes.io/default-container" "agent" }}{{ end -}}
  {{- merge $ours ($values.podAnnotations | default dict) | toYaml | nindent 2 }}
{{- end -}}

{{- /*
What the agents' pods have in common: the node's network, nothing for the API server, and where they run. In: dict "root" $ "os".
*/ -}}
{{- define "udp-security.pod.node" -}}
{{- $os := .os -}}
hostNetwork: true
dnsPolicy: Default
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with get .root.Values $os }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
nodeSelector:
  {{- merge (dict "kubernetes.io/os" $os) (.nodeSelector | default dict) | toYaml | nindent 2 }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* What an agent learns from its environment. In: dict "root" $ "os" "hash" (of its files). */ -}}
{{- define "udp-security.pod.env" -}}
- name: UDP_SECURITY_POLICY_SHA256
  value: {{ .hash | quote }}
- name: UDP_SECURITY_RELEASE
  value: {{ printf "%s/%s" .root.Release.Namespace .root.Release.Name }}
{{- with get .root.Values .os }}
- name: UDP_SECURITY_ON_STOP
  value: {{ .onStop }}
- name: UDP_SECURITY_POLL_SECONDS
  value: {{ .pollSeconds | quote }}
{{- end }}
- name: UDP_SECURITY_POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
- name: UDP_SECURITY_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: UDP_SECURITY_NODE_IP
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
{{- end -}}
