local reason = actionParams["reason"]
if reason == nil or reason == "" then
  error("the parameter reason must say what was wrong with the revision, and why it is not any more", 0)
end
-- Admission takes no name but that of whoever asks the API server: Argo CD. Who asked Argo CD, its own log knows.
obj.spec.released = {by = "system:serviceaccount:argocd:argocd-server", reason = reason}
return obj
