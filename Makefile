# Two commands on a bare machine with Python >= 3.11: `make run` and `make test`.

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 5 # of two cores: many tests wait for a process or a lease
N ?= 3000
SEEDS ?= 1000000
SOURCES := campaign workers tests benchmarks celeryconfig.py

export VENV

.DEFAULT_GOAL := help
.PHONY: help run test together alone check format bench soak chaos pins clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Dial examples/recall.csv against the built-in sandbox: no account, no server
	$(BIN)/campaign run examples/recall.csv --line sandbox --region US --plan examples/plan.toml --yes

test: check together alone ## Everything that CI checks: format, lint, types, tests

together: $(VENV)/.dev
	$(BIN)/python -m compileall -q $(wildcard $(SOURCES)) # once here, not in each of the hundreds of processes of the tests
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not alone"

alone: check together # what measures time, or takes all cores
	$(BIN)/python -m pytest -q -m alone || test $$? -eq 5

check: $(VENV)/.dev ## Format, lint and types only
	$(BIN)/ruff format --check --quiet $(wildcard $(SOURCES))
	$(BIN)/ruff check --quiet $(wildcard $(SOURCES))
	$(BIN)/mypy

format: $(VENV)/.dev ## Format the code and mend what lint can mend
	$(BIN)/ruff check --fix --quiet $(wildcard $(SOURCES))
	$(BIN)/ruff format --quiet $(wildcard $(SOURCES))

bench: $(VENV)/.bench ## Measure calls per second against the usual designs (minutes)
	$(BIN)/python -m benchmarks

soak: $(VENV)/.dev ## Simulate SEEDS=1000000 histories of crashes and lost messages
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

chaos: $(VENV)/.dev ## Dial N=3000 numbers while killing things; nobody is rung twice, nobody is lost
	$(BIN)/python -m tests.chaos --numbers $(N)

pins: $(VENV)/.dev ## Pin the newest versions that pyproject.toml allows, with hashes
	$(PIN) requirements/build.in -o requirements/build.txt
	$(PIN) pyproject.toml -o requirements/run.txt
	$(PIN) pyproject.toml --extra dev -o requirements/dev.txt
	$(PIN) pyproject.toml --extra dev --extra bench -o requirements/bench.txt

clean: ## Remove what make made
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache

# Names, versions and hashes only: the file says nothing of where packages come from or who compiled it.
PIN = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade

$(VENV)/.run: requirements/build.txt requirements/run.txt pyproject.toml .ci/install
	@.ci/install run
	@touch $@

$(VENV)/.dev: requirements/build.txt requirements/dev.txt pyproject.toml .ci/install
	@.ci/install dev
	@touch $@ $(VENV)/.run

$(VENV)/.bench: requirements/build.txt requirements/bench.txt pyproject.toml .ci/install
	@.ci/install bench
	@touch $@ $(VENV)/.run $(VENV)/.dev
