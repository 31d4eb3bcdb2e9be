# Everything a person or CI does. Each target sets up its own environment first (tools/setup.sh).
# Settings: PYTHON=python3.12, TORCH_INDEX=<a package index with the torch build you want>.
SHELL := /bin/bash
export PYTHON ?= python3
export TORCH_INDEX ?=
RUN := .venv/bin
READY := .venv/.complete
.DEFAULT_GOAL := help

.PHONY: help setup demo test check bench measure lock proto hooks clean

help: $(READY) ## what there is (and sets up, the first time)
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml tools/setup.sh docs/examples/node/package.json
	@tools/setup.sh

setup: $(READY) ## the environment in .venv: Debian packages, torch, the lock file, voices

demo: $(READY) ## the whole cycle on real input, in about 16 minutes
	@$(RUN)/dengar demo

test: $(READY) ## the test suite, in parallel, with coverage
	$(RUN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

check: $(READY) ## lint, format, types, and whether the generated code is current
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy
	$(RUN)/python -m services.generate --check

bench: $(READY) ## what recognition costs, against the torch float model in the same run
	$(RUN)/dengar bench

measure: $(READY) ## a shipped bundle's numbers, card and report anew, from the corpora in DENGAR_DATA (BUNDLE=default)
	@tools/measure.sh

lock: $(READY) ## write requirements.lock anew (ARGS=--upgrade for the newest versions)
	tools/lock.sh $(ARGS)

proto: $(READY) ## generate the gRPC code from proto/
	$(RUN)/python -m services.generate

hooks: $(READY) ## run ruff and mypy before each commit
	$(RUN)/pre-commit install

clean: ## remove everything generated: .venv, work and caches
	rm -rf .venv work .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov build dist *.egg-info
	find asr services tests -name __pycache__ -type d -prune -exec rm -rf {} +
