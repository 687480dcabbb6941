# Thin targets; what they do is in tests/ (the test bed) and in the crates.
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto
TESTBED = $(CARGO) run --quiet --locked -p snapback-tests --bin testbed --
RECORD = $(CARGO) run --locked -p snapback-tests --example record --

.DEFAULT_GOAL := help
.PHONY: help demo test unit suites test-gitops e2e cluster faults model soak soak-sim fuzz fuzz-keep mutants bench-undo bench-detect record-rollouts record-lag tools image sbom reproducible crds manifests fmt lint deny gc

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Watch a bad release being undone on a real cluster (DEMO_KEEP=1 leaves it running)
	@echo "demo: building the demo (about 3 min the first time)"
	@$(CARGO) build --locked -p snapback-tests --bin testbed
	@$(TESTBED) demo

test: unit suites test-gitops e2e ## Run every test: units, then the suites on a real control plane, then real pods
	@echo "test: all suites passed"

unit: ## Unit, property and golden tests; needs nothing but Rust
	@echo "test: unit tests (about 4 min to build the first time)"
	$(CARGO) test --locked --workspace --exclude snapback-tests

suites: ## Schemas, admission and manifests on a real API server; metrics, lint and a backtest with a real Prometheus
	$(CARGO) test --locked -p snapback-tests --lib --example record --test apiserver --test kills --test hardship --test soak --test sources --test lint --test backtest

test-gitops: ## The real Flux and Argo CD on a real API server (builds them once, about 8 min; ONLY=TEXT, RUNS=N of the main story)
	$(CARGO) test --locked -p snapback-tests --test conventions --test gitops -- $(ONLY)

e2e: ## The scenarios, with real pods and a real Prometheus (root)
	$(CARGO) test --locked -p snapback-tests --test e2e

cluster: ## Keep a cluster running for hands-on work; prints its KUBECONFIG
	@$(CARGO) build --locked -p snapback-tests --bin testbed
	@$(TESTBED) cluster

faults: ## Every kind of fault at every request of a rollback, and every pair of crashes (docs/faults.md; ONLY=TEXT)
	$(CARGO) test --profile image --locked -p snapback-controller --test faults -- $(ONLY)

soak: ## Two months of the operator in 30 min on a real control plane: does anything grow? (MINUTES=N DAYS=N SEED=N LANES=N)
	MINUTES=$(or $(MINUTES),30) DAYS=$(or $(DAYS),60) SHIPPED=1 $(CARGO) test --locked -p snapback-tests --test soak

soak-sim: ## 100,000 stories by chance: releases, faults, deaths (about 1 h; STORIES=N, SEED=N)
	STORIES=$(or $(STORIES),100000) $(CARGO) test --profile image --locked -p snapback-controller --test simulation

fuzz: ## Fuzz what is read from outside (five targets, 1 h each; SECONDS=N, ONLY=TARGET; needs g++)
	sh tests/fuzz/fuzz.sh run $(or $(SECONDS),3600) $(ONLY)

fuzz-keep: ## Keep what `make fuzz` found that reaches more code, in tests/fuzz/corpus (ONLY=TARGET)
	sh tests/fuzz/fuzz.sh keep $(ONLY)

mutants: ## Change the core in each way that a test should notice (hours; SHARD=k/n takes every nth change)
	@command -v cargo-mutants >/dev/null || $(CARGO) install --locked cargo-mutants
	PROPTEST_CASES=32 $(CARGO) mutants -p snapback-core --output target --sharding round-robin $(if $(SHARD),--shard $(SHARD))

bench-undo: ## Time undos on real pods against kubectl rollout undo (about 15 min)
	@$(CARGO) build --locked -p snapback-tests --bin testbed
	@$(TESTBED) bench-undo

bench-detect: ## Measure what is caught and what is rolled back wrongly (about 3 min; ROLLOUTS=DIR replays a data set)
	$(CARGO) run --release --locked -p snapback-bench-detect -- $(if $(ROLLOUTS),--rollouts $(ROLLOUTS))

record-rollouts: ## Record bench/detect/rollouts/plan.yaml on real pods (root, about 25 min; MISSING=1 goes on, ONLY=ID,ID)
	$(RECORD) rollouts bench/detect/rollouts $(if $(MISSING),--missing) $(if $(ONLY),--only $(ONLY))

record-lag: ## Record how long a running operator takes to decide (root, about 15 min; MISSING=1 goes on)
	$(RECORD) lag bench/detect/rollouts/lag --interval 1 --lanes 5 $(if $(MISSING),--missing)
	$(RECORD) lag bench/detect/rollouts/lag --interval 15 --lanes 10 $(if $(MISSING),--missing)

model: ## Go through all states of a model of the undo, and hunt seeded bugs in it (about 2 min, with building)
	$(CARGO) run --profile image --locked -p snapback-model

tools: ## Find or build the programs of the test bed
	@$(TESTBED) tools

image: ## Build the operator's image as a file, and say its digests (about 6 min the first time; IMAGE=NAME:TAG)
	@$(TESTBED) image $(if $(IMAGE),--name $(IMAGE))

sbom: ## Write what is in the image, as CycloneDX
	@command -v cargo-cyclonedx >/dev/null || $(CARGO) install --locked cargo-cyclonedx@0.5.9
	@$(TESTBED) sbom

reproducible: ## Build the image twice, in two places, and compare (about 10 min)
	@command -v cargo-cyclonedx >/dev/null || $(CARGO) install --locked cargo-cyclonedx@0.5.9
	@$(TESTBED) reproducible

crds: ## Generate crds/, its copy in the chart and docs/api.md from the Rust types
	$(CARGO) run --locked -q -p snapback-api --example crds -- crds
	$(CARGO) run --locked -q -p snapback-api --example crds -- charts/snapback/files/crds
	@$(TESTBED) reference

manifests: ## Generate from the chart: deploy/base, overlays, its README, what its tests expect
	@$(TESTBED) manifests

fmt: ## Format
	$(CARGO) fmt --all

lint: ## Formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

deny: ## Licences, advisories and duplicate packages
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check bans licenses sources

gc: ## Remove what killed runs of the test bed left behind
	@$(TESTBED) gc
