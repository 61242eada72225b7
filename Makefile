# `make help` lists what can be done here.
.DEFAULT_GOAL := help
.PHONY: help check deb lint setup test

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

lint: ## formatting, lints as errors, generated code
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

check: lint ## lints and every test that needs no root: quick
	cargo test --workspace --exclude roadstead-tests
	cargo test -p roadstead-tests --lib --test house

setup: ## install what the lab needs, make its disk image (Debian 12, as root)
	tests/lab/setup

test: check setup ## everything, real systemd hosts included (as root)
	cargo test -p roadstead-tests

deb: ## build the Debian packages into target/deb
	packaging/build-debs
