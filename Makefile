# Every target works from a clean clone: the virtual environment is made on first use.
# The first supported Python that really runs; version managers leave stubs of versions that are not chosen.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test lint format lock bench screenshots icons

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: python runtime development
python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and none was found: install one, or add PYTHON=/path/to/it" >&2; exit 1; }

runtime: python
	@$(PYTHON) bootstrap.py $(VENV) requirements.txt

development: python
	@$(PYTHON) bootstrap.py $(VENV) requirements-dev.txt

run: runtime ## The whole back office on this machine, with demo data; Ctrl-C stops it
	@exec $(BIN)/python -m demo.run

# A baseline runs on an empty database, where no lock and no rewrite hurts.
NEW_PAIRS = $(filter-out %/0001_baseline.up.sql,$(wildcard */sql/migrations/*.up.sql */*/sql/migrations/*.up.sql))

lint: development ## Linters, formatters and type checker in check mode
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/sqlfluff lint --disable-progress-bar $(foreach kind,tables indexes views functions triggers,$(wildcard */sql/$(kind) */*/sql/$(kind)))
	$(if $(NEW_PAIRS),$(BIN)/squawk $(NEW_PAIRS))
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check

format: development ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: python ## The whole test suite
	@$(PYTHON) bootstrap.py $(VENV) requirements-dev.txt --browser
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 30

bench: development ## The benchmarks, side by side, as a table and as JSON
	@missed=; for part in keys limits seals forecast usage ingest views pages webhooks backfill; do \
		$(BIN)/python -m benchmarks.$$part || missed="$$missed $$part"; \
	done; test -z "$$missed" || { echo "a promise was missed in:$$missed" >&2; exit 1; }

screenshots: development ## Draw the pictures of README and docs anew, in docs/screenshots
	$(BIN)/python -m pytest tests/e2e/screenshots.py

icons: development ## Write the font of icons anew, with those that pages use
	$(BIN)/python -m tests.support.icon_font

lock: development ## Pin the requirements anew from the .in files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate requirements-dev.in -o requirements-dev.txt
