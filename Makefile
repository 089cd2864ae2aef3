# The menu. Every recipe is what CI runs too.

# Cycles of `make soak`: every kind of fault once. `make test` runs the first few.
CYCLES = 20
FEW = 6

# Tests that need no server.
OFFLINE = --test house --test generated --test schema --test chart

.PHONY: menu install demo test check soak lab update sim model mutants-score

menu:
	@echo "make demo    the whole story on real servers, with times (Linux, root)"
	@echo "make test    everything, as CI does (Linux, root)"
	@echo "make soak    faults one after another while tenants write; CYCLES=300 for a night"
	@echo "make check   what needs no server; also: make sim, make model, make lab, make update"

install:
	@.ci/install

demo: install
	cargo build --locked --workspace --bins
	target/debug/domicile-lab demo

test: install check
	cargo build --locked --workspace --bins
	cargo test --locked --workspace --no-fail-fast
	target/debug/domicile-lab soak --cycles $(FEW)

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked -p domicile-core -p domicile-api -p domicile-cli -p domicile-tests --lib $(OFFLINE)

soak: install
	cargo build --locked --workspace --bins
	target/debug/domicile-lab soak --cycles $(CYCLES)

# SEED=n SECONDS=n REPLAY=file MUTANTS=n; without them what CI does.
sim:
	cargo test --locked -p domicile-sim --test sim -- $(foreach v,SEED SECONDS MUTANTS,$(if $($v),$v=$($v))) $(if $(REPLAY),REPLAY=$(abspath $(REPLAY)))

# Every order of what can happen in a small world; DEEP=1 for a larger one, which takes minutes.
model:
	cargo test --locked -p domicile-sim --test model -- $(if $(DEEP),DEEP)

# How many small changes of core its own tests notice: each 32nd of all. Needs cargo-mutants 27.
SHARD = 0/32
mutants-score:
	cargo mutants -p domicile-core --shard $(SHARD) --sharding round-robin -j1 --timeout 180 --baseline skip -o target -- --lib

lab: install
	cargo build --locked --workspace --bins
	target/debug/domicile-lab up

update:
	UPDATE=1 cargo test -p domicile-tests --test generated --test chart
