{{- define "promlstm.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "promlstm.fullname" -}}
{{- $name := include "promlstm.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "promlstm.selector" -}}
app.kubernetes.io/name: {{ include "promlstm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: exporter
{{- end }}

{{- define "promlstm.retrainingSelector" -}}
app.kubernetes.io/name: {{ include "promlstm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: retraining
{{- end }}

{{- define "promlstm.labels" -}}
app.kubernetes.io/name: {{ include "promlstm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .Values.commonLabels }}{{ toYaml . | nindent 0 }}{{ end }}
{{- end }}

{{- /* Beside a selector: no version of the chart, which would roll pods for nothing. */ -}}
{{- define "promlstm.podLabels" -}}
{{- with merge (dict) .Values.podLabels .Values.commonLabels }}{{ toYaml . }}{{ end }}
{{- end }}

{{- /* A parent chart's Secrets too. */ -}}
{{- define "promlstm.pullSecrets" -}}
{{- with concat .Values.image.pullSecrets (dig "imagePullSecrets" list (.Values.global | default dict)) }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Of {image, chart}. */ -}}
{{- define "promlstm.imageOf" -}}
{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .chart.AppVersion }}{{ end }}
{{- end }}

{{- define "promlstm.image" -}}
{{ include "promlstm.imageOf" (dict "image" .Values.image "chart" .Chart) }}
{{- end }}

{{- /* A CronJob's name has 52 characters; rules/retraining.yml finds it by `promlstm` and by its end. */ -}}
{{- define "promlstm.retraining" -}}
{{- $full := include "promlstm.fullname" . -}}
{{- if contains "promlstm" ($full | trunc 41) -}}
{{ $full | trunc 41 | trimSuffix "-" }}-retraining
{{- else -}}
{{ $full | trunc 32 | trimSuffix "-" }}-promlstm-retraining
{{- end -}}
{{- end }}

{{- define "promlstm.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "promlstm.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}
