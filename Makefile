# Everything a developer types; `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
SECONDS := 900
CLIENTS := .venv-clients
CLIENTS_READY := $(CLIENTS)/.installed
JAVASCRIPT := spaces/tests/clients/javascript
JAVASCRIPT_READY := $(JAVASCRIPT)/node_modules/.installed

.PHONY: help run test lint types check bench test-services test-faults soak test-browser screenshots test-clients servers ci clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: $(READY) ## start botadmin on http://127.0.0.1:8000
	@exec $(BIN)/python manage.py up

# Four at a time also on two cores: many tests wait for processes that they started.
test: $(READY) ## the suite, without any server
	$(BIN)/python -m pytest -n 4

lint: $(READY) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## static types
	$(BIN)/mypy

check: $(READY) ## what Django and botadmin think of this install, and missing migrations
	$(BIN)/python manage.py check
	$(BIN)/python manage.py makemigrations --check --dry-run

bench: $(READY) servers ## measure, into benchmarks/results.json
	$(BIN)/python -m benchmarks

test-services: $(READY) servers ## what needs a database, on a PostgreSQL and a Redis of its own, then test-faults
	$(BIN)/python -m botadmin.testing.services -- $(BIN)/python -m pytest -n 4 --only-database -m "not browser and not clients and not faults"
	@$(MAKE) --no-print-directory test-faults

# Three at a time: each starts an install of seven processes, and waits much.
test-faults: $(READY) servers ## all that can break, broken on purpose, each alone; `make soak` mixes them
	$(BIN)/python -m pytest -n 3 -m faults botadmin/tests

soak: $(READY) servers ## everything that can break, at random, for SECONDS=900, from a SEED that is printed
	$(BIN)/python -m botadmin.tests.soak $(SECONDS) $(SEED)

test-browser: $(READY) ## the admin in Chromium
	$(BIN)/python -m pytest -n 3 -m browser botadmin/tests

screenshots: $(READY) ## the pictures of the README, into docs/images
	$(BIN)/python -m botadmin.tests.screenshots

test-clients: $(READY) $(CLIENTS_READY) $(JAVASCRIPT_READY) ## clients of others on simulated servers
	$(BIN)/python -m pytest -n 4 -m clients spaces/tests/clients

servers:
	@.ci/install postgresql redis-server faketime

ci: ## all of it, as in .ci/run
	.ci/run

clean: ## remove what make made (not var/, which holds your data)
	rm -rf $(VENV) $(CLIENTS) $(JAVASCRIPT)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "botadmin needs Python 3.11 or newer; PYTHON=/path/to/python3 names one."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "Python cannot make virtual environments here: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what requirements.txt names, once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(CLIENTS_READY): requirements-clients.txt
	@test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	@echo "Installing what requirements-clients.txt names, once."
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-clients.txt
	@touch $@

$(JAVASCRIPT_READY): $(JAVASCRIPT)/package.json $(JAVASCRIPT)/package-lock.json
	@if command -v npm >/dev/null; then \
	  echo "Installing the JavaScript client, once."; \
	  npm ci --silent --prefix $(JAVASCRIPT) && touch $@; \
	else \
	  echo "npm is not installed: without it the JavaScript client is left out."; \
	fi
