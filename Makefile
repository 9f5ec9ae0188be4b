# Everything that people and CI run. `make` alone lists it.

SHELL := /bin/bash
.DELETE_ON_ERROR:

LOCAL := $(if $(HOLDFAST_LOCAL_DIR),$(HOLDFAST_LOCAL_DIR),.local)
TOOLS := $(LOCAL)/bin

# The servers that tests and the demo run (the Temporal CLI, stripe-mock) have their versions in
# internal/localstack/tool.go.
GOLANGCI_LINT_VERSION := v2.15.0
WORKFLOWCHECK_VERSION := v0.6.0
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
WORKFLOWCHECK := $(TOOLS)/workflowcheck-$(WORKFLOWCHECK_VERSION)

# Packages that start servers of their own share the machine with few others, so that none starves.
TEST_PACKAGES := 2
# Of one package's tests so many run at once: those with servers mostly wait, for retries and for clocks.
TEST_PARALLEL := 6
# They begin first, so that no long one is left alone at the end.
LONGEST_TESTS := ./internal/fleet ./worker
# For one package, with every server that it starts.
TEST_TIMEOUT := 20m

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## show the main job on a whole Holdfast; ARGS=--once ends by itself
	@bin/starter demo $(ARGS)

.PHONY: test
test: build tools workflowcheck verify ## everything that CI runs but lint
	go test -race -p $(TEST_PACKAGES) -parallel $(TEST_PARALLEL) -timeout $(TEST_TIMEOUT) $(ARGS) $(LONGEST_TESTS) ./...

# The tests run a shorter one, of 120 payouts.
CHAOS_PAYOUTS := 1000

.PHONY: chaos
chaos: tools ## make a day of payouts while everything fails; CHAOS_PAYOUTS=1000
	go test -count=1 -timeout 60m -v ./internal/fleet -run TestPayoutsInChaos -chaos-payouts $(CHAOS_PAYOUTS)

.PHONY: bench
bench: build ## measure a whole Holdfast and print the figures beside their aims
	@bin/starter bench $(ARGS)

.PHONY: build
build: ## build bin/starter and bin/worker
	CGO_ENABLED=0 go build -trimpath -o bin/ ./starter ./worker

.PHONY: tools
tools: ## build or fetch what tests and the demo run; minutes the first time, with progress
	@go run ./internal/localstack/tools

.PHONY: lint
lint: $(GOLANGCI_LINT) ## run every linter
	$(GOLANGCI_LINT) run

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format the code
	$(GOLANGCI_LINT) fmt

.PHONY: workflowcheck
workflowcheck: $(WORKFLOWCHECK) ## look for what is not deterministic in workflows
	$(WORKFLOWCHECK) -config workflowcheck.config.yaml ./workflows/...

.PHONY: generate
generate: build ## write what is made from the code: docs/openapi.json, docs/payout-examples.md
	bin/starter openapi > bin/openapi.json
	mv bin/openapi.json docs/openapi.json
	go run ./internal/payout/examples > bin/payout-examples.md
	mv bin/payout-examples.md docs/payout-examples.md

.PHONY: verify
verify: build ## check that what is made from the code is up to date
	@bin/starter openapi > bin/openapi.json
	@diff -u docs/openapi.json bin/openapi.json || { echo "docs/openapi.json is not up to date: run make generate" >&2; exit 1; }
	@go run ./internal/payout/examples > bin/payout-examples.md
	@diff -u docs/payout-examples.md bin/payout-examples.md || { echo "docs/payout-examples.md is not up to date: run make generate" >&2; exit 1; }

.PHONY: histories
histories: tools ## play the scenarios on real servers and record their histories for the replay test
	go test -count=1 ./worker -run "TestScenarios|TestAChange" -record $(CURDIR)/workflows/testdata/histories

# A provider's documents are not ours to publish, so they are given and not kept here.
.PHONY: specs
specs: ## hold requests and simulated answers against PayPal's OpenAPI files; SPECS=<folder>
	@[ -n "$(SPECS)" ] || { echo "name the folder with PayPal's OpenAPI files (paypal_*.json): make specs SPECS=<folder>" >&2; exit 1; }
	SPECS="$(abspath $(SPECS))" go test -count=1 $(ARGS) ./internal/specs

.PHONY: clean
clean: ## remove what was built, and local data; built tools stay
	rm -rf bin $(LOCAL)/demo $(LOCAL)/bench

# A tool's file carries its version, so a new version is built and an old one is left alone. It is
# moved into place when it is whole.
define install
@echo "building $(1) $(2), once; the first time takes minutes"
@mkdir -p $(TOOLS)
@set -e; staging=$$(mktemp -d $(abspath $(TOOLS))/building-XXXXXX); \
	trap 'kill $$build 2>/dev/null || true; rm -rf "$$staging"' EXIT; \
	GOBIN=$$staging GOFLAGS= GOWORK=off go install $(3)@$(2) & build=$$!; \
	while sleep 1; kill -0 $$build 2>/dev/null; do \
		[ $$((SECONDS % 10)) -ne 0 ] || echo "building $(1): $${SECONDS}s"; \
	done; \
	wait $$build; mv $$staging/$(1) $@; echo "built $(1) in $${SECONDS}s"
endef

$(GOLANGCI_LINT):
	$(call install,golangci-lint,$(GOLANGCI_LINT_VERSION),github.com/golangci/golangci-lint/v2/cmd/golangci-lint)

$(WORKFLOWCHECK):
	$(call install,workflowcheck,$(WORKFLOWCHECK_VERSION),go.temporal.io/sdk/contrib/tools/workflowcheck)
