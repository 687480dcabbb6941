{{- define "snapback.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}{{ else if contains "snapback" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-snapback" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- define "snapback.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "snapback.name" .) }}
{{- end }}
{{- define "snapback.selector" -}}
app.kubernetes.io/name: snapback
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "snapback.labels" -}}
{{ include "snapback.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- define "snapback.image" -}}
{{- with .Values.image }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}{{ end }}
{{- end }}
{{- define "snapback.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if not $config.defaultSource }}{{ $config = omit $config "defaultSource" }}{{ end }}
{{- toYaml (set $config "features" (dict "secretsInConfigRestore" .Values.restore.secrets)) }}
{{- end }}
