# The commands of this project; `make help` lists them. Needs Python 3.11 or later, make and a network, no more.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.vigie-setup

# What the maker of the environment may choose: PYTHON=python3.12 make setup
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
# Passed on: ARGS to the tool that a target runs, FOR (seconds) to the demonstration.
ARGS ?=
FOR ?=

.PHONY: servers help setup web demo test lint format bench accuracy fuzz fuzz-endpoints crash crash-service crash-workers soak lock wheel clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) web ## Create .venv from the lock file (again only if the lock or pyproject changed)

# Hashes make the lock binding: what is installed is what was tested. The project itself goes in without its
# dependencies (they are there) and without an isolated build (hatchling is in the lock too).
$(STAMP): requirements-dev.lock pyproject.toml
	@python=''; \
	for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'setup: Python 3.11 or later is needed and none was found (tried: $(CANDIDATES)).' >&2; \
	  echo 'setup: on Debian, apt install python3 python3-venv; or name one: make setup PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ]; then \
	  echo "setup: $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv $(VENV) || { \
	    rm -rf $(VENV); \
	    echo 'setup: this Python cannot make a virtual environment; on Debian, apt install python3-venv' >&2; \
	    exit 1; }; \
	fi
	@echo 'setup: dependencies from requirements-dev.lock (the first time, a minute or two)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python triage/web/build.py --tests
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
	@echo 'setup: done'

# A few milliseconds where all is there. Where the machine has no Node.js, its npm is the one in .venv.
web: $(STAMP) ## Bring in what the browser runs (htmx, uPlot) from the npm registry
	@$(BIN)/python triage/web/build.py --tests

demo: setup ## A live cell of simulated patients, the queue filling in the terminal (FOR=seconds to stop by itself)
	@$(BIN)/vigie warmup
	@$(BIN)/vigie demo $(if $(FOR),--for $(FOR)) $(ARGS)

# The kernels are compiled once, before each worker would begin to. Files in the order of tests/conftest.py: those that
# take longest first, so that none waits for another at the end. With three workers on two cores (546 s, with two 588)
# browser tests meet their time limits. Benchmarks are not tests.
test: setup servers ## All tests, the built wheel among them (ARGS='-k words' for some)
	$(BIN)/vigie warmup
	$(BIN)/pytest -p no:benchmark --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# What is tested on real servers and in a real browser: program, package, what is tested without it.
SERVERS = initdb:postgresql:the-queue-is-tested-on-SQLite-alone \
  redis-server:redis-server:the-log-on-Redis-is-not-tested \
  mosquitto:mosquitto:the-bridge-from-MQTT-is-not-tested \
  chromium:chromium:the-pages-are-not-tested-in-a-browser
servers: ## Install the servers and the browser that the tests use, where that is possible; else say what is missing
	@for each in $(SERVERS); do \
	  program=$${each%%:*}; rest=$${each#*:}; package=$${rest%%:*}; without=$$(echo "$${rest#*:}" | tr - ' '); \
	  if command -v "$$program" >/dev/null || [ -x /usr/sbin/"$$program" ] || ls /usr/lib/postgresql/*/bin/"$$program" >/dev/null 2>&1; then continue; fi; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "servers: installing $$package"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$package"; } >/dev/null 2>&1 \
	      || echo "servers: $$package could not be installed; $$without" >&2; \
	  else echo "servers: $$program is missing (package $$package); $$without" >&2; fi; \
	done

lint: setup ## Style, format, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup ## Put the code in the common form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One file pattern more than in tests/, and no time limit: a benchmark takes what it takes.
bench: setup ## What is measured: speed beside what one would otherwise use
	$(BIN)/pytest bench -o python_files='bench_*.py test_*.py' -o timeout=0 --benchmark-only \
	  --benchmark-columns=min,median,iqr,rounds --benchmark-sort=name $(ARGS)

fuzz: setup ## Mutated bodies against the decoder (ARGS for how many and which engine)
	$(BIN)/python tests/fuzz/run.py $(ARGS)

fuzz-endpoints: setup ## Every intake endpoint of a real service under mutated requests (ARGS='--requests 100000')
	$(BIN)/python tests/fuzz/endpoints.py $(ARGS)

accuracy: setup ## Beats, classes and rhythms against annotated ECG (VIGIE_ECG); each figure has a floor
	@for work in qrs beats af ventricular alarms strips2017; do \
	  echo "== $$work"; $(BIN)/python -m bench.accuracy.$$work $(ARGS) || exit 1; \
	done

crash: setup ## kill -9 at random points, then compare the alerts (ARGS for how many)
	$(BIN)/python tests/crash/run.py $(ARGS)

crash-service: setup ## kill -9 of the whole service under load (ARGS for how many)
	$(BIN)/python tests/crash/service.py $(ARGS)

crash-workers: setup ## kill -9 of workers on one log, and of the log's server (ARGS for how many)
	$(BIN)/python tests/crash/workers.py $(ARGS)

soak: setup ## Ten minutes of steady load on a service, then kill -9 and the time to ready (ARGS='--minutes 60')
	$(BIN)/python -m bench.soak $(ARGS)

# One resolution for every Python and platform. The runtime lock takes its versions from the development lock,
# so that what is tested is what is deployed. Versions move only with UPGRADE=1; those of the browser's libraries are
# exact in triage/web/package.json.
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header $(if $(UPGRADE),--upgrade)
lock: setup ## Resolve the lock files again (UPGRADE=1 to take newer versions)
	$(COMPILE) --group dev --extra ecg --output-file requirements-dev.lock
	$(COMPILE) --constraint requirements-dev.lock --output-file requirements.lock
	$(BIN)/python triage/web/build.py --lock --tests

wheel: setup ## Build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean: ## Remove caches and build outputs
	rm -rf build dist out .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## Remove .venv and the browser's libraries as well
	rm -rf $(VENV) triage/web/static/vendor
