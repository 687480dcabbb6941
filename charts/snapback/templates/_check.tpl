{{- /* What the schema of the values cannot say. The operator would say most of it too, in the log of a pod that does not start. */ -}}
{{- define "snapback.check" -}}
{{- $names := list }}
{{- range .Values.config.sources }}
{{- if has .name $names }}{{ fail (printf "config.sources: the name %q is used twice" .name) }}{{ end }}
{{- $names = append $names .name }}
{{- end }}
{{- with .Values.config.defaultSource }}
{{- if not (has . $names) }}{{ fail (printf "config.defaultSource: there is no source %q; there are: %s" . (join ", " $names | default "none")) }}{{ end }}
{{- end }}
{{- with .Values.monitoring }}
{{- if and .serviceMonitor.enabled .podMonitor.enabled }}{{ fail "monitoring: serviceMonitor and podMonitor would scrape each replica twice; enable one of them" }}{{ end }}
{{- if and .prometheusRule.enabled (not .serviceMonitor.enabled) (not .podMonitor.enabled) }}{{ fail "monitoring.prometheusRule: its alerts need the series of a monitor; enable monitoring.serviceMonitor or monitoring.podMonitor" }}{{ end }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}{{ fail "serviceAccount.name: must name the ServiceAccount, since serviceAccount.create is false" }}{{ end }}
{{- end }}
