# `make` lists the targets. Every target sets up the virtual environment if needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d%d" % sys.version_info[:2])')
CONSTRAINTS := $(wildcard requirements/constraints-py$(VERSION).txt)
READY := $(VENV)/.ready-py$(VERSION)
OVERRIDES ?=

.DEFAULT_GOAL := help
.PHONY: help train test test-slow test-cluster format lint type bench gpu notebooks lock clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11, 3.12 or 3.13 is required, but this is %d.%d: run make PYTHON=python3.11 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev]'
	@touch $@

train: $(READY)  ## train on the digits, sample and evaluate (minutes); OVERRIDES="key=value ..." changes the config
	$(BIN)/mezzotint train $(OVERRIDES)

test: $(READY)  ## run the tests (minutes)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(READY)  ## run all tests, including the slow ones
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-cluster: $(READY)  ## test multi-process sweeps, SLURM, two hosts, a full disk (minutes; skips what is unavailable)
	$(BIN)/python -m pytest -rs -m slow tests/cluster --ignore tests/cluster/test_launchers.py

format: $(READY)  ## sort imports and lay out the code
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

lint: $(READY)  ## check style and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(READY)  ## check types
	$(BIN)/pyright

bench: $(READY)  ## compare training speed with diffusers, on an idle machine
	$(BIN)/python benchmarks/train.py

gpu: $(READY)  ## test and measure all that only a GPU can show (8 minutes; says so where there is none)
	$(BIN)/python benchmarks/gpu.py

notebooks: $(READY)  ## execute the notebooks
	$(BIN)/python -m pytest tests/notebooks -m ""

lock: $(READY)  ## write the constraints for this Python from the installed packages
	$(BIN)/python scripts/lock.py > requirements/constraints-py$(VERSION).txt

clean:  ## remove the environment and all generated files; keeps runs/
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
