# Everything a person types. Each target brings up what it needs: a fresh clone and Python 3.11 are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Most tests wait for processes of their own: several files at a time, as many as there are cores, four at the most.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup run demo test check fmt generate bench chaos env clean

help:  ## Show this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with everything in it; .venv/bin/tapeline from then on.

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tapeline needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another with make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: setup  ## Record live exchanges: NATS, ClickHouse and every service on this machine. Ctrl-C ends it.
	$(BIN)/tapeline up

demo: setup  ## The same with simulated exchanges: no network needed.
	$(BIN)/tapeline up --simulate

test: setup  ## Everything the tests need, then all of them.
	$(PYTEST)

check: setup  ## Format, lint, types, layers, unit tests, generated files: finds, never edits.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q tests/unit

fmt: setup  ## Format the code and sort its imports.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: setup  ## Write the generated files (JSON Schemas, the tables in README.md, dashboards) anew.
	$(BIN)/python -m tests.generated
	$(BIN)/python -m tests.dashboards

bench: setup  ## The figures that the README quotes.
	$(BIN)/python -m benchmarks

chaos: setup  ## Kills, pauses, full disks under load, then every event accounted for: SEED=1 EVENTS=500000.
	$(BIN)/python -m benchmarks.chaos $(if $(SEED),--seed $(SEED)) $(if $(EVENTS),--events $(EVENTS)) $(CHAOS)

env:  ## Write .env with random secrets for docker compose; what it holds already is kept.
	@$(PYTHON) -m services.command_line.dotenv

clean:  ## Remove .venv and caches; the data directory stays.
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './data/*' -exec rm -rf {} +
