# `make help` lists what can be done here.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: bench check crash-image crash-images deb demo deny docs fuzz help image kill-matrix lab-down lab-status lab-up lint mutants
.PHONY: large-backup machine returns setup sim test

lab := cargo run --quiet --bin roadstead-lab --
# what tests write beside hosts lies where hosts write
scratch = scratch=$$(tests/lab/setup --scratch) && TMPDIR=$$scratch ROADSTEAD_CACHE_DIR=$$scratch/cache
N ?= 3
SEEDS ?= 2000
FROM ?= 0
KEEP ?=
SECONDS ?= 60
TARGET ?=
IMAGES ?= 200
BOOTS ?= $(IMAGES)
SEED ?=
KILLS ?= all
OUT ?= crash-image
OUTAGE ?= 300
MB ?= 1000

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

lint: ## formatting and lints as errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

demo: setup ## the main job end to end on real hosts (as root; KEEP=1 leaves them running)
	KEEP=$(KEEP) cargo run --quiet --profile ship --bin roadstead-demo

check: lint ## lints and every test that needs no root: quick
	cargo test --workspace --lib --bins --test bundles --test corpora --test generated --test house

deny: ## licences, bans and sources of dependencies (builds cargo-deny once where it is missing)
	tests/deny

setup: ## install what the lab needs, make its disk image once (Debian 12, as root)
	tests/lab/setup

machine:
	tests/lab/setup --machine

image: ## make the disk image of lab hosts anew (as root)
	tests/lab/setup --fresh

test: machine check deny setup ## everything, real systemd hosts included (as root)
	$(scratch) cargo test --workspace --test openbao --test s3 --test programs --test seeds --test lab --test load
	$(scratch) cargo test --workspace --test stories -- --test-threads=4

sim: ## simulate SEEDS fleets in trouble from seed FROM on; of a single one the whole story
	cargo run --quiet --bin roadstead-sim -- $(SEEDS) $(FROM)

fuzz: ## look SECONDS long for bytes that break each reader of outside bytes, or TARGET alone
	tests/fuzz/run $(SECONDS) $(TARGET)

crash-images: setup ## cut a real host's power at IMAGES moments (default 200) of a recorded disk, boot from what is left (as root)
	cargo run --quiet --bin roadstead-crash -- run $(IMAGES) $(BOOTS) $(SEED)

crash-image: ## the disk of one of those power cuts again: RECORDING, POSITION and SEED as it was told, to the file OUT
	cargo run --quiet --bin roadstead-crash -- image $(RECORDING) $(POSITION) $(SEED) $(OUT)

large-backup: setup ## back up, look at and restore a database of MB megabytes (default 1000; as root)
	ROADSTEAD_DATABASE_MB=$(MB) cargo test --workspace --test stories backups_on_demand -- --nocapture

kill-matrix: setup ## kill and cut off everybody around each step and in each state (as root; an hour or more; KILLS=revert,draining,statements: a part)
	ROADSTEAD_KILLS="$(KILLS)" cargo test --workspace --test stories -- kill_matrix::every every_statement --nocapture

mutants: ## show that the simulator finds bugs: plant known mistakes, one after the other (minutes)
	cargo run --quiet --bin roadstead-mutants

returns: setup ## a thousand agents return after OUTAGE seconds without a controller (default 300; as root)
	ROADSTEAD_OUTAGE=$(OUTAGE) cargo test --workspace --test stories everybody_returns -- --nocapture

docs: ## write docs/cli.md anew from the command
	ROADSTEAD_WRITE_DOCS=1 cargo test -q -p roadstead the_reference

bench: setup ## measure what Roadstead promises, beside the floors, and print the table (as root)
	cargo run --quiet --bin roadstead-bench

deb: ## build the Debian packages into target/deb
	packaging/build-debs

lab-up: setup ## boot N hosts to look around in (default 3; as root)
	$(lab) up $(N)

lab-status: ## list the lab's hosts
	$(lab) status

lab-down: ## take the lab down, and what dead test runs left behind
	$(lab) down
