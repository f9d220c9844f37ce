# The project's commands. Everything is made below this folder: .venv (development), .demo (the demo), .cache.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE := 1
# two workers: what CI has; `make test WORKERS=8` on a larger machine
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -p no:benchmark

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: .demo/venv/.ready ## create an environment from examples/, run it cold and warm, show what it is
	@.demo/venv/bin/python scripts/demo.py

.PHONY: test
test: .venv/.ready ## everything: format, lint, types, import rules, documentation, tests
	@scripts/test-tools $(ARGS)
	$(MAKE) --no-print-directory lint docs
	@$(BIN)/python -m compileall -q src tests  # thousands of tests start a Python that would compile it all again
	$(PYTEST) -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: test-all
test-all: .venv/.ready ## the same, with the tests that take longer than a minute
	@$(MAKE) --no-print-directory test ARGS="--slow $(ARGS)"

.PHONY: bench
bench: .venv/.ready ## measure the claims about speed against peers, and write docs/benchmarks.md
	@mkdir -p .cache
	@scripts/test-tools --bench
	status=0
	$(BIN)/python -m pytest bench --benchmark-json=.cache/bench.json -p no:xdist $(ARGS) || status=$$?
	$(BIN)/python bench/report.py .cache/bench.json docs/benchmarks.md
	exit $$status

.PHONY: coverage
coverage: .venv/.ready ## which lines and branches the tests reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -p no:benchmark $(ARGS)
	$(BIN)/coverage combine
	$(BIN)/coverage report --skip-covered --show-missing

.PHONY: lint
lint: .venv/.ready ## format, lint, types, import rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: .venv/.ready ## format the code, and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: docs
docs: .venv/.ready ## build the documentation into site/, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: clean
clean: ## remove everything that make made
	@chmod -R u+w .demo .cache 2>/dev/null || true
	rm -rf .venv .demo .cache site dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks .coverage*

.venv/.ready: pyproject.toml scripts/venv
	@scripts/venv .venv --group dev --editable '.[notebook]'

.demo/venv/.ready: pyproject.toml scripts/venv
	@scripts/venv .demo/venv --editable .
