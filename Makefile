# Everything here needs Python 3.11 or later with venv and pip, make and git; no Docker, no server, no root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CHAOS := $(BIN)/python -m pytest -s tests/chaos/test_chaos.py
# Most tests wait for something, so more of them than cores run at once; each process has servers of its own.
PARALLEL := --numprocesses=4 --dist=worksteal
INSTALLED := $(VENV)/.installed
# For tests of what is shipped for Prometheus; where it cannot be had they are skipped, and say why.
# Each peer has an environment of its own: they do not agree about the version of redis.
PEERS := taskiq saq
LOAD := --rounds $(or $(ROUNDS),3) --requests $(or $(REQUESTS),5000)

.DEFAULT_GOAL := help
.PHONY: help demo up test browser promtool screenshots docs reference chaos soak baseline bench bench-peers bench-profile check format secrets lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

test: $(INSTALLED) ## Run all checks and the test suite
	$(MAKE) check
	@$(MAKE) --no-print-directory browser || echo "Tests that need a browser will be skipped."
	@$(MAKE) --no-print-directory promtool || echo "Tests that need Prometheus will be skipped."
	$(BIN)/python -m pytest $(PARALLEL)

# libatomic1 is for Playwright's driver.
browser: $(INSTALLED) ## Fetch Chromium and Chinese glyphs for the tests, into .venv-tools
	@$(BIN)/python tests/tools/debian_packages.py chromium fonts-wqy-microhei libatomic1

promtool: $(INSTALLED) ## Fetch Prometheus and promtool for the tests, into .venv-tools
	@$(BIN)/python tests/tools/debian_packages.py prometheus

screenshots: $(INSTALLED) ## Take pictures of the pages of the console; ONLY="overview dark-en-1280"
	-@$(MAKE) --no-print-directory browser
	@$(BIN)/python -m tests.console.screenshots $(ONLY)

docs: $(INSTALLED) ## Build the docs as a site, into site/
	$(BIN)/zensical build --clean --strict

reference: $(INSTALLED) ## Write what the docs take from the code: settings, options, parameters, events, states
	$(BIN)/python -m tests.docs.reference

chaos: $(INSTALLED) ## Everything fails at once, SEEDS="1 2 3", two minutes each; more seeds for the fault tests; all guards
	for seed in $(or $(SEEDS),1 2 3); do \
		RELEASE_CHAOS_SEED=$$seed RELEASE_CHAOS_SECONDS=120 $(CHAOS) || exit 1; \
	done
	RELEASE_CHAOS_SEEDS=20 RELEASE_CHAOS_EXAMPLES=200 $(BIN)/python -m pytest --timeout=1800 \
		tests/faults tests/flow/test_stateful.py
	RELEASE_ALL_GUARDS=yes $(BIN)/python -m pytest tests/guards

soak: $(INSTALLED) ## The same for SECONDS=3600, with SEED=... or a new one
	RELEASE_CHAOS_SEED=$(or $(SEED),$(shell date +%s)) RELEASE_CHAOS_SECONDS=$(or $(SECONDS),3600) $(CHAOS)

baseline: $(INSTALLED) ## Put four faults to a plain arq worker and to this service, and count
	@$(BIN)/python -m bench.baseline

bench: $(INSTALLED) ## Measure beside yardsticks; ROUNDS=3 REQUESTS=5000 SCENARIOS="edge burst gentle cap flaky"
	@$(BIN)/python -m bench.load $(LOAD) $(SCENARIOS:%=--scenario %)

bench-peers: $(INSTALLED) ## Measure beside other job queues, which are fetched from PyPI
	for peer in $(PEERS); do \
		$(BIN)/python -m venv .venv-peers/$$peer && \
		.venv-peers/$$peer/bin/pip install --quiet --disable-pip-version-check -r bench/peers/$$peer.txt || exit 1; \
	done
	@$(BIN)/python -m bench.load --peers $(LOAD) $(patsubst %,--scenario %,$(or $(SCENARIOS),edge burst gentle))

bench-profile: $(INSTALLED) ## Sample a process under load: OPTIONS="--scenario burst --process worker"; py-spy is fetched
	$(BIN)/python -m venv .venv-tools
	.venv-tools/bin/pip install --quiet --disable-pip-version-check py-spy
	@$(BIN)/python -m bench.load.profile --py-spy .venv-tools/bin/py-spy $(OPTIONS)

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
		--extra embedded --extra docs --extra otel --extra dev --quiet --output-file requirements.lock

clean: ## Remove what make has made
	rm -rf $(VENV) .venv-peers .venv-tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .cache dist site
