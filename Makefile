# The front door. `make demo` and `make test` need only Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CUSTOMERS ?= 20000
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(VENV)/run  ## simulate a bank and take it from raw files to the next best action (CUSTOMERS=20000)
	$(BIN)/tilltal demo demo --customers $(CUSTOMERS)

test: $(VENV)/dev  ## the tests, a few minutes
	$(BIN)/python -m pytest

test-all: $(VENV)/dev  ## every test, the long statistical and scale suites too
	$(BIN)/python -m pytest -m ""

lint: $(VENV)/dev  ## format, lint, types, layers, dependencies, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/typos

bench: $(VENV)/dev  ## measured ratios as a table; long, and wants a quiet machine
	$(BIN)/python -m benchmarks

docs: $(VENV)/dev  ## write the generated reference pages and JSON Schemas anew
	$(BIN)/python -m tilltal.rules.reference > docs/reference/dialect.md
	$(BIN)/python -m tilltal.workspace.schemas docs/reference/schemas

pins: $(VENV)/dev  ## pin all dependencies anew, with hashes
	$(PIP) install uv
	$(BIN)/uv pip compile -q --upgrade pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements/dev.txt
	$(BIN)/uv pip compile -q --upgrade pyproject.toml --group build --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements/dev.txt -o requirements/run.txt

clean:  ## remove what the targets above made
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Tilltal needs Python 3.11 or newer; name one: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run: $(VENV)/python requirements/run.txt
	@echo "Installing Tilltal into $(VENV) ..."
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: $(VENV)/run requirements/dev.txt
	@echo "Installing the tools for tests ..."
	$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: help demo test test-all lint bench docs pins clean
