module snapback.dev/testbed/flux-sources

go 1.26.0

// For the kinds in its config/crd/bases: nothing of it is built.
require github.com/fluxcd/source-controller v1.9.0
