# The menu. Every recipe is what CI runs too.

# Cycles of `make soak` and of the soak in `make test`: 20 is every kind of fault once. What it
# relies on against a second writer: MEANS=--agents (21 kinds) or --async.
CYCLES = 20

# Tenants that are placed at once, one lab for each number.
TENANTS = 100,1000

# Databases on the server that fails, one lab for each number.
DATABASES = 2,100,1000

# Tests that need no server.
OFFLINE = --test house --test generated --test schema --test chart --test faults --test uri

.PHONY: menu install demo test check soak bench bench-failover lab update sim model mutants-score faults fuzz

menu:
	@echo "make demo    the whole story on real servers, with times (Linux, root)"
	@echo "make test    everything, as CI does (Linux, root)"
	@echo "make soak    faults one after another while tenants write; CYCLES=300 for a night"
	@echo "make bench   what tenants cost: placed at once, one by one, and left alone"
	@echo "make bench-failover  how a failover grows with the databases of a server"
	@echo "make check   what needs no server; also: make sim, make model, make fuzz, make lab, make update"
	@echo "make faults  docs/faults.md: each fault, its tests, and what they said when they last ran"

install:
	@.ci/install

demo: install
	cargo build --locked --workspace --bins
	target/debug/domicile-lab demo

test: install check
	cargo build --locked --workspace --bins
	.ci/test
	.ci/record soak-few target/debug/domicile-lab soak --cycles 20

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked -p domicile-core -p domicile-api -p domicile-cli -p domicile-tests --lib $(OFFLINE)

soak: install
	cargo build --locked --workspace --bins
	.ci/record soak target/debug/domicile-lab soak --cycles $(CYCLES) $(MEANS)

# Optimised programs: what users run. WORKLOADS=1 gives each tenant a Deployment.
bench: install
	cargo build --locked --release --workspace --bins
	target/release/domicile-lab bench --tenants $(TENANTS) $(if $(WORKLOADS),--workloads)

bench-failover: install
	cargo build --locked --release --workspace --bins
	target/release/domicile-lab bench-failover --databases $(DATABASES)

# SEED=n SECONDS=n REPLAY=file MUTANTS=n; without them what CI does.
sim:
	.ci/record sim cargo test --locked -p domicile-sim --test sim -- $(foreach v,SEED SECONDS MUTANTS,$(if $($v),$v=$($v))) $(if $(REPLAY),REPLAY=$(abspath $(REPLAY)))

# Every order of what can happen in a small world; DEEP=1 for a larger one, which takes minutes.
model:
	cargo test --locked -p domicile-sim --test model -- $(if $(DEEP),DEEP)

# A million specs, each with the statements that are built from it, by PostgreSQL's own parser: half an
# hour. SEED=n begins elsewhere.
SPECS = 1000000
fuzz:
	SPECS=$(SPECS) cargo test --locked -p domicile-providers --lib fuzz -- --nocapture

# How many small changes of core its own tests notice: each 32nd of all. Needs cargo-mutants 27.
SHARD = 0/32
mutants-score:
	cargo mutants -p domicile-core --shard $(SHARD) --sharding round-robin -j1 --timeout 180 --baseline skip -o target -- --lib

lab: install
	cargo build --locked --workspace --bins
	target/debug/domicile-lab up

update:
	UPDATE=1 cargo test -p domicile-tests --test generated --test chart --test faults

faults:
	UPDATE=1 cargo test --locked -p domicile-tests --test faults
