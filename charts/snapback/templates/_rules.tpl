{{- define "snapback.rules" -}}
# The policies are read; only their status is written.
- apiGroups: [snapback.dev]
  resources: [rollbackpolicies]
  verbs: [get, list, watch]
- apiGroups: [snapback.dev]
  resources: [rollbackpolicies/status]
  verbs: [update]
# A decision creates a Rollback; acting writes its status; old records are deleted.
- apiGroups: [snapback.dev]
  resources: [rollbacks]
  verbs: [get, list, watch, create, delete]
- apiGroups: [snapback.dev]
  resources: [rollbacks/status]
  verbs: [update]
{{- if or .Values.config.gitops.argocd.enabled .Values.config.gitops.flux.enabled }}
# A record does not go before its hold: a finalizer of ours.
- apiGroups: [snapback.dev]
  resources: [rollbacks]
  verbs: [patch]
{{- end }}
# Workloads are watched as metadata and read when they roll out; patch is the undo.
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, list, watch, patch]
# The revisions to go back to, and the pods that run them; pods are watched only while their target is judged.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# A StatefulSet waits for ever for a pod of the bad revision that never becomes ready, even when its template is back:
# such pods are deleted after an undo, and with OnDelete those that are not ready. No other pod is.
- apiGroups: [""]
  resources: [pods]
  verbs: [delete]
# The revisions of StatefulSets and DaemonSets; and a copy of the known good template, for when its own object is gone.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, create, delete]
# Does what the known good revision refers to still exist? Only metadata is asked for, but of ConfigMaps, whose content
# is fingerprinted.
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, persistentvolumeclaims{{ if .Values.preflight.secrets }}, secrets{{ end }}]
  verbs: [get]
{{- if .Values.restore.configMaps }}
# Copies of the known good revision's ConfigMaps.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, create, delete]
{{- end }}
{{- if .Values.restore.secrets }}
# What the known good revision's Secrets hold, and copies of them.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, create, delete]
{{- end }}
{{- if .Values.jobs.enabled }}
# Jobs around an undo, made of templates that allow it.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create]
{{- end }}
# Repeated Events are patched.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
