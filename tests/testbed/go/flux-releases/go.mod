module snapback.dev/testbed/flux-releases

go 1.26.0

// For the kind in its config/crd/bases: nothing of it is built.
require github.com/fluxcd/helm-controller v1.6.0
