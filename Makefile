# The everyday commands. `make run` and `make test` first install what is missing.

CARGO ?= cargo
NODES ?= 3
PORT ?= 8080

# RocksDB is the long part of a first build; with ccache it is compiled once for all profiles and clones.
ifneq ($(shell command -v ccache 2>/dev/null),)
export CXX := ccache c++
export CC := ccache cc
endif

.PHONY: help setup build run test sim differential interop console bench lint clean

help:
	@echo "make run    install what is missing, build, and start a cluster of $(NODES) nodes here"
	@echo "make test   install what is missing, build, and run all tests, the simulation too"
	@echo "make sim    the simulation alone: that it repeats itself, and 200 seeds"
	@echo "make differential  the MQTT codec beside another one"
	@echo "make interop  other people's clients at a cluster: what they need goes into the target folder"
	@echo "make console  build the console's page anew from its source, with npm; it is committed"
	@echo "make bench  build, and run the benchmark beside its rivals; ARGS='--quick --only idle' and the like"
	@echo "make lint   formatting and lints, as CI checks them"
	@echo "make clean  remove what was built; data stays"

setup:
	@scripts/setup

build: setup
	$(CARGO) build --release --locked --bin highwater

# Started by its path, not through cargo, so that Ctrl-C reaches it alone.
run: build
	@exec "$${CARGO_TARGET_DIR:-target}/release/highwater" dev --nodes $(NODES) --port $(PORT)

test: setup
	$(CARGO) test --workspace --locked
	@$(MAKE) --no-print-directory interop
	@$(MAKE) --no-print-directory differential
	@$(MAKE) --no-print-directory sim

# All of the workspace, so that nothing is built with other features than before.
interop: setup
	@scripts/setup interop
	$(CARGO) test --workspace --locked --test interop

# What comes out is committed, so that nothing else needs npm.
console:
	@scripts/console

# A workspace of its own: cargo finds its flags in its folder only, so they get a target folder of their own too.
SIM = cd e2e/sim && CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/sim" $(CARGO)

sim:
	$(SIM) test --release --locked

# A workspace of its own, too: the other codec's server brings many packages along.
differential:
	cd data-plane/mqtt/differential && \
		CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/differential" $(CARGO) test --locked

# All binaries at once, with the features they have in every other build of the workspace.
bench: setup
	@scripts/setup rivals
	$(CARGO) build --release --locked --workspace --bins
	@target="$${CARGO_TARGET_DIR:-target}/release"; HIGHWATER_BIN="$$target/highwater" exec "$$target/bench" $(ARGS)

# Workspaces of their own, too: they are built with the sanitizers' flags, which checking them does not take.
FUZZ = CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/fuzz" $(CARGO)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --test interop --locked -- -D warnings
	cd e2e/sim && $(CARGO) fmt --check
	$(SIM) clippy --all-targets --locked -- -D warnings
	cd data-plane/mqtt/fuzz && $(CARGO) fmt --check && $(FUZZ) clippy --locked -- -D warnings
	cd data-plane/websocket/fuzz && $(CARGO) fmt --check && $(FUZZ) clippy --locked -- -D warnings

clean:
	$(CARGO) clean
