# Chores, one command each. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Hundreds of processes start in a test run: each module is compiled once, not by each of them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test thorough check bench chaos model guards fuzz guided screenshots format clean

help: ## List the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# The locked versions through uv; where uv cannot be had, plain pip within the ranges of pyproject.toml.
$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV) ...'
	@($(BIN)/python -m pip install --quiet uv && UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --frozen --quiet --inexact --compile-bytecode) \
	  || $(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: $(STAMP) ## Run the three scenarios on sample data (ONCE=1: print the letters and end)
	$(BIN)/kontaktpflege demo $(if $(ONCE),--once)

test: $(STAMP) ## The full test suite on real RabbitMQ, PostgreSQL and SQLite
	$(BIN)/python -m tests.run

# TESTS=tests/services/test_lead_days.py: only these.
thorough: $(STAMP) ## The same with more seeds, examples and records of what is random (TESTS)
	THOROUGH=1 $(BIN)/python -m tests.run $(TESTS)

check: $(STAMP) ## Lint, types, architecture and unit tests, in under a minute
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/unit tests/architecture

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## Measure beside smtp-source, hand-written SQL, raw pika, Celery and django-post-office (QUICK=1, FULL=1, OUT=FILE)
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(FULL),--full) $(if $(OUT),--out $(OUT))

# KILLS=1000 ORDERS=50000 SEED=7 OUT=FILE make chaos; FULL=1: every crash point and server fault, five times over.
chaos: $(STAMP) ## Kill services, broker and database while letters go out, and count the letters (KILLS, ORDERS, SEED, FULL=1, OUT=FILE)
	$(BIN)/python -m tests.chaos $(if $(KILLS),--kills $(KILLS)) $(if $(ORDERS),--orders $(ORDERS)) $(if $(SEED),--seed $(SEED)) $(if $(FULL),--full) $(if $(OUT),--out $(OUT))

# Resumable: EXAMPLES=50 SEED=1, then SEED=2, and so on.
model: $(STAMP) ## Many random histories of orders beside a model of their states, on both databases (EXAMPLES, STEPS, SEED)
	MODEL_EXAMPLES=$(or $(EXAMPLES),500) MODEL_STEPS=$(or $(STEPS),50) $(BIN)/python -m tests.run --dist=load --timeout=0 \
	  --hypothesis-seed=$(or $(SEED),1) tests/services/test_write_order_machine.py

guards: $(STAMP) ## Take out one guard at a time: the test aimed at it must turn red
	$(BIN)/python -m tests.failure.guards

# SECONDS=60 TARGETS="imports console" SEED=7 make fuzz
fuzz: $(STAMP) ## Import files, setup files, messages and requests that nobody thought of, ten minutes each (SECONDS, TARGETS, SEED)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED)) $(TARGETS)

# SECONDS=60 PARSERS="mail token" make guided
guided: $(STAMP) ## Bytes that reach new lines of the parsers, ten minutes each; Linux, Python 3.11 to 3.13 (SECONDS, PARSERS)
	@UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --frozen --quiet --inexact --group guided \
	  || $(BIN)/python -m pip install --quiet --group guided
	$(BIN)/python -m tests.fuzz.guided --seconds $(or $(SECONDS),600) $(PARSERS)

screenshots: $(STAMP) ## Pictures of the main pages of the console into docs/screenshots
	$(BIN)/python -m tests.browser.shots docs/screenshots

clean: ## Remove what the targets made
	rm -rf $(VENV) .state .mypy_cache .ruff_cache .pytest_cache
