# `make help` lists what can be done here.
.DEFAULT_GOAL := help
.PHONY: help check lint test deb

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

lint: ## formatting, lints as errors, generated code
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

check: lint ## lints and every test that needs no root: quick
	cargo test --workspace

test: check ## everything

deb: ## build the Debian packages into target/deb
	packaging/build-debs
