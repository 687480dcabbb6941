{{- /*
The alerts, by the metrics of crates/controller/src/telemetry/metrics.rs. Counters count on the replica that leads, so they
are summed up; a monitor gives all series the operator's namespace.
*/ -}}
{{- define "snapback.alerts" -}}
{{- $here := printf "namespace=%q" .Release.Namespace }}
{{- $limits := .Values.config.limits }}
- alert: SnapbackAbsent
  expr: absent(snapback_leader{ {{- $here -}} })
  for: 10m
  labels: {severity: critical}
  annotations:
    summary: No replica of Snapback can be scraped
    description: Nothing was heard of Snapback in {{ .Release.Namespace }} for 10 minutes. Bad releases may stay.
- alert: SnapbackWithoutLeader
  expr: max(snapback_leader{ {{- $here -}} }) == 0
  for: 2m
  labels: {severity: critical}
  annotations:
    summary: No replica of Snapback does the work
    description: All replicas of Snapback in {{ .Release.Namespace }} stand by, though one takes over within 20 seconds. Bad releases stay.
- alert: SnapbackTwoLeaders
  expr: sum(snapback_leader{ {{- $here -}} }) > 1
  for: 5m
  labels: {severity: warning}
  annotations:
    summary: More than one replica of Snapback leads
    description: There are {{ "{{ $value }}" }} replicas of Snapback in {{ .Release.Namespace }} that lead. It does no harm, and should not be.
- alert: SnapbackFailing
  expr: |-
    sum by (controller) (rate(snapback_reconciles_total{ {{- $here }}, outcome!~"Ok|Conflict"}[10m]))
      / sum by (controller) (rate(snapback_reconciles_total{ {{- $here -}} }[10m])) > 0.1
  for: 15m
  labels: {severity: warning}
  annotations:
    summary: Snapback cannot do its work
    description: By its metrics {{ "{{ $value | humanizePercentage }} of what the {{ $labels.controller }} controller" }} of Snapback in {{ .Release.Namespace }} does fails. Its log says why.
- alert: SnapbackEscalated
  expr: sum(increase(snapback_rollbacks_total{ {{- $here }}, outcome="Escalated"}[15m])) > 0
  labels: {severity: critical}
  annotations:
    summary: An undo did not cure the fault
    description: A rollback was escalated in the last 15 minutes. `kubectl get rollbacks -A` names it; a person is needed.
- alert: SnapbackRollbackFailed
  expr: sum(increase(snapback_rollbacks_total{ {{- $here }}, outcome="Failed"}[15m])) > 0
  labels: {severity: critical}
  annotations:
    summary: A rollback could not be carried out
    description: A rollback failed in the last 15 minutes, so the bad release may still run. `kubectl get rollbacks -A` names it.
- alert: SnapbackAwaitsApproval
  expr: sum(snapback_targets{ {{- $here }}, phase="AwaitingApproval"}) > 0
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: A rollback waits for a person
    description: Of {{ "{{ $value }}" }} targets a bad release serves, and nobody has approved or rejected its rollback for 5 minutes. `kubectl get rollbacks -A` has the command.
- alert: SnapbackHeld
  expr: sum(snapback_targets{ {{- $here }}, phase="Held"}) > 0
  for: 15m
  labels: {severity: warning}
  annotations:
    summary: A bad release is not undone
    description: Of {{ "{{ $value }}" }} targets a bad release is live and is not undone before somebody does something. `kubectl get rbp -A -o wide` says why.
- alert: SnapbackTargetEscalated
  expr: sum(snapback_targets{ {{- $here }}, phase="Escalated"}) > 0
  for: 5m
  labels: {severity: critical}
  annotations:
    summary: Snapback has done what it may, and it was not enough
    description: There are {{ "{{ $value }}" }} targets that are Escalated; the bad release may still run. `kubectl get rbp -A -o wide` names them; a person is needed.
- alert: SnapbackRolledBack
  expr: sum(increase(snapback_rollbacks_total{ {{- $here }}, outcome="Succeeded"}[15m])) > 0
  labels: {severity: info}
  annotations:
    summary: A bad release was rolled back
    description: A rollback succeeded in the last 15 minutes. `kubectl get rollbacks -A` names it; its release needs a fix.
- alert: SnapbackComesBack
  expr: sum(increase(snapback_returns_total{ {{- $here -}} }[{{ $limits.window }}])) > 0
  labels: {severity: warning}
  annotations:
    summary: Somebody applies a release again that was rolled back
    description: A revision that was undone came back within {{ $limits.window }} and was undone again. A pipeline or a GitOps tool applies it.
- alert: SnapbackAtItsLimit
  expr: sum(increase(snapback_rollbacks_decided_total{ {{- $here -}} }[{{ $limits.window }}])) >= {{ $limits.perCluster }}
  labels: {severity: warning}
  annotations:
    summary: Snapback does nothing more alone
    description: {{ $limits.perCluster }} rollbacks were decided within {{ $limits.window }}, as many as config.limits.perCluster allows. Of the next ones a person is asked.
{{- end }}
