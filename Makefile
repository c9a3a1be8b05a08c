# Everything here needs Python 3.11 or later with venv and pip, make and git; no Docker, no server, no root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo up test check format secrets lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED) ## Run the main job against a vendor that misbehaves, and check the result
	@$(BIN)/python -m service demo

up: $(INSTALLED) ## Run everything on this machine, until Ctrl-C
	@$(BIN)/python -m service up

test: $(INSTALLED) ## Run all checks and the whole test suite
	$(MAKE) check
	$(BIN)/python -m pytest

check: $(INSTALLED) ## Run the linters and type checkers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk --config .squawk.toml migrations/*.sql

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

secrets: ## Make the secret files of docker-compose.yml
	@sh deploy/make-secrets.sh

lock: ## Choose versions anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--extra embedded --extra dev --quiet --output-file requirements.lock

clean: ## Remove what make has made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
