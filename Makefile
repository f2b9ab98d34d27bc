# Everything a developer or CI runs; `make help` lists it. `make check` and `make test` are exactly what CI runs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export PATH := $(PATH):/usr/sbin:/sbin:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)
SERVICES := $(TARGET)/debug/wafleet-services
PAGE := worker/browser/page
LARAVEL := tests/laravel
REFERENCE := protocol/reference

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install missing Debian packages and Rust; does nothing when all is there
	@.ci/setup

.PHONY: build
build: setup ## Build the worker, the imitation of WhatsApp Web and the test tools
	cargo build --locked --workspace --bins

.PHONY: demo
demo: build ## Watch the main job happen: link, send, receive, on private services
	@$(SERVICES) run -- $(TARGET)/debug/wafleet-demo

.PHONY: run
run: build ## Keep private services and a worker up until Ctrl-C
	@$(SERVICES) run -- $(TARGET)/debug/wafleet-local

.PHONY: test
test: build $(PAGE)/node_modules/.package-lock.json $(LARAVEL)/node_modules/.package-lock.json ## Run all tests, in parallel, on private services
	npm --prefix $(PAGE) test
	cargo test --locked --workspace --doc
	@if cargo nextest --version >/dev/null 2>&1; then \
		set -x; $(SERVICES) run -- cargo nextest run --locked --workspace $(if $(CI),--profile ci); \
	else \
		set -x; $(SERVICES) run -- cargo test --locked --workspace --lib --bins --tests --no-fail-fast; \
	fi
	$(SERVICES) run -- $(LARAVEL)/run

.PHONY: laravel
laravel: build $(LARAVEL)/node_modules/.package-lock.json ## Run the tests of the Laravel package only
	$(SERVICES) run -- $(LARAVEL)/run

.PHONY: check
check: setup $(PAGE)/node_modules/.package-lock.json $(REFERENCE)/node_modules/.package-lock.json ## Format, lints, types, test vectors, documentation, dependencies
	cargo fmt --all --check
	npm --prefix $(PAGE) run check
	python3 protocol/vectors/check.py
	node protocol/vectors/check.mjs
	php protocol/vectors/check.php
	npm --prefix $(REFERENCE) run check
	composer --no-interaction validate --no-check-publish --quiet protocol/laravel/composer.json
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps
	cargo test --locked --quiet -p wafleet-tests --test supply_chain

.PHONY: bench
bench: setup $(LARAVEL)/node_modules/.package-lock.json ## Measure what the documentation states, in a release build, alone on the machine
	cargo build --locked --release --workspace --bins --example verify_rate --example throughput
	$(TARGET)/release/examples/verify_rate
	$(TARGET)/release/examples/throughput
	$(TARGET)/release/wafleet-services run -- $(TARGET)/release/wafleet-bench
	$(TARGET)/release/wafleet-services run -- $(LARAVEL)/bench.mjs

SECONDS_OF_FAULTS := $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),1800)
.PHONY: soak
soak: build ## Break one thing after the other under a running fleet; SECONDS=1800 SEED=…
	$(TARGET)/debug/wafleet-soak --seconds $(SECONDS_OF_FAULTS) $(if $(SEED),--seed $(SEED))

.PHONY: fmt
fmt: ## Format the Rust code
	cargo fmt --all

.PHONY: clean
clean: ## Remove everything that was built, and the logs of test runs
	cargo clean
	rm -rf $(PAGE)/node_modules $(PAGE)/dist $(LARAVEL)/node_modules $(REFERENCE)/node_modules

# npm writes this file last.
$(PAGE)/node_modules/.package-lock.json $(LARAVEL)/node_modules/.package-lock.json $(REFERENCE)/node_modules/.package-lock.json: %/node_modules/.package-lock.json: %/package-lock.json
	npm --prefix $* ci --no-audit --no-fund
	@touch $@
