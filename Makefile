# `make help` lists what there is. Everything runs from .venv, which is made from requirements.lock.

VENV := .venv
INSTALLED := $(VENV)/.installed
PY := $(VENV)/bin/python
# The first of these that is new enough builds the environment; `make PYTHON=/path/to/python3.13 …` overrides.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,\
	$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up test test-upgrade lint bench load chaos docs-settings docs-cli lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(INSTALLED) ## the whole story on this machine: services, channel, 1 000 payments, settlement
	@$(VENV)/bin/sluice demo

up: $(INSTALLED) ## everything on this machine, until Ctrl-C
	@$(VENV)/bin/sluice up

test: $(INSTALLED) ## the whole test suite, but for fault tests that take long (ARGS="-k name" selects, -n0: one process)
	@$(PY) -m pytest -m "not (chaos and slow)" -n auto --dist worksteal $(ARGS)

chaos: $(INSTALLED) ## all fault tests: kill, freeze and cut off running processes (releases side by side: test-upgrade)
	@$(PY) -m pytest -m chaos --ignore=tests/chaos/upgrade $(ARGS)

test-upgrade: $(INSTALLED) ## the previous release (infra/previous-release) on this one's schema, and both side by side
	@$(PY) -m pytest tests/chaos/upgrade $(ARGS)

bench: $(INSTALLED) ## the benchmark table, against its floors and targets (QUICK=1: in under two minutes)
	@$(PY) -m load_tests.bench run $(if $(QUICK),--quick) $(ARGS)

load: $(INSTALLED) ## payers with real channels, by locust (PROFILE=steady, burst, many or few; docs/load_testing.md)
	@$(PY) -m load_tests.crowd $(PROFILE) $(ARGS)

lint: $(INSTALLED) ## style, types, the arrows between packages, generated pages
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy infra/compose/roll
	$(VENV)/bin/lint-imports
	$(PY) -m shared.settings_docs --check
	$(PY) -m sluice.cli.docs --check

docs-settings: $(INSTALLED) ## write docs/settings.md from shared/settings.py
	$(PY) -m shared.settings_docs

docs-cli: $(INSTALLED) ## write docs/cli.md from the commands
	$(PY) -m sluice.cli.docs

lock: $(INSTALLED) ## write requirements.lock from pyproject.toml, from releases older than a week
	$(VENV)/bin/pip install --quiet "uv>=0.9,<1"
	$(VENV)/bin/uv pip compile pyproject.toml --quiet --no-config --upgrade \
	  --universal --python-version 3.11 --extra embedded --extra dev --exclude-newer "7 days" \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file requirements.lock
	@$(MAKE) --no-print-directory lock-image

LOCK_IMAGE := $(VENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --no-annotate --constraint requirements.lock

lock-image: $(INSTALLED) ## write the locks of the container image: of requirements.lock, what runs in production
	$(VENV)/bin/pip install --quiet "uv>=0.9,<1"
	$(LOCK_IMAGE) pyproject.toml --output-file infra/docker/requirements.lock
	echo hatchling | $(LOCK_IMAGE) - --output-file infra/docker/build.lock

clean: ## remove the environment and caches; keeps .sluice, the data of embedded runs
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Packages come by the hash in the lock; the project itself is built with the locked builder, offline.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Sluice needs Python 3.11 or newer; none found (set PYTHON=/path/to/python)" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (the first time takes a minute or two)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
