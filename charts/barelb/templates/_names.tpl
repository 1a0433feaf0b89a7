{{/* Labels that select pods: these never change. Takes the component. */}}
{{- define "barelb.selector" -}}
app.kubernetes.io/name: barelb
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Labels of an object. Takes a list of the root and the component. */}}
{{- define "barelb.labels" -}}
{{- $root := index . 0 -}}
{{ include "barelb.selector" (index . 1) }}
{{ include "barelb.release" $root }}
{{- end }}

{{- define "barelb.release" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "barelb.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Flags that controller and agents have alike, as items of a list. */}}
{{- define "barelb.args" -}}
{{- if ne .Release.Namespace "metallb-system" }}
- --namespace={{ .Release.Namespace }}
{{- end }}
{{- with .Values.lbClass }}
- --lb-class={{ . }}
{{- end }}
{{- if ne .Values.configMap "config" }}
- --config-map={{ .Values.configMap }}
{{- end }}
{{- with .Values.log.level }}
- --log={{ . }}
{{- end }}
{{- with .Values.log.format }}
- --log-format={{ . }}
{{- end }}
{{- end }}

{{/* Where the kubelet looks for the agent's profile. */}}
{{- define "barelb.profile" -}}
{{ .kubeletDir }}/seccomp/{{ .localhostProfile }}
{{- end }}
