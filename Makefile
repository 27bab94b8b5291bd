# `make` lists the targets. `make build` makes .venv and installs into it; every other target needs only that.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build serve test test-quick check bench bench-smoke bench-peers load tools nightly chaos sanitize fmt clean

VENV := .venv
BIN := $(VENV)/bin
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := $(wildcard engine/*.pyx engine/*.pxd engine/core/*.h server/front/*.pyx server/front/*.pxd server/front/*.h server/shared/*.pyx server/shared/*.pxd server/shared/*.h)
PACKAGES := engine rules_compiler server

# The first Python that is new enough, can make an environment and can build an extension; `make build PYTHON=…` chooses.
USABLE := import ensurepip, os, sys, sysconfig, venv; \
	sys.exit(not (sys.version_info >= (3, 11) and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(VENV)/.built ## make .venv and install Burgee into it (quick the second time)

$(VENV)/.made:
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	  for candidate in python3.13 python3.12 python3.11 python3; do \
	    if command -v $$candidate >/dev/null && $$candidate -c '$(USABLE)' 2>/dev/null; then python=$$candidate; break; fi; \
	  done; \
	elif ! "$$python" -c '$(USABLE)'; then python=""; fi; \
	if [ -z "$$python" ] || ! command -v cc >/dev/null; then \
	  echo "burgee needs Python 3.11 or newer with its headers and the venv module, and a C compiler" >&2; \
	  echo "(hint: on Debian and Ubuntu: apt install python3-venv python3-dev gcc; or name one: make build PYTHON=/path/to/python3)" >&2; \
	  exit 1; \
	fi; \
	"$$python" -m venv $(VENV)
	$(PIP) --upgrade pip 'cython>=3.1' 'setuptools>=77'
	@touch $@

$(VENV)/.built: $(VENV)/.made pyproject.toml setup.py $(SOURCES)
	$(PIP) --no-build-isolation --editable '.[test,dev]'
	@touch $@

serve: build ## start everything with the sample tenants on 127.0.0.1:8080 (management: 8081, admin API: 8082)
	@$(BIN)/burgee serve --import examples/tenants --state build/server --log-format text --print-examples

# In two processes, a file at a time: many tests wait for servers to begin and to end.
test: build ## run all tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-quick: build ## run the tests without the slow ones
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

check: build ## all that CI runs: format, lint, types, layers, stubs, benchmark smoke, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m mypy.stubtest engine.snapshot server.front.admission server.front.protocol server.shared.page --mypy-config-file pyproject.toml
	$(MAKE) --no-print-directory bench-smoke
	$(MAKE) --no-print-directory test

bench: build ## measure, each figure beside a control of the same run
	$(BIN)/python -m pytest -q benchmarks

bench-smoke: build ## run every benchmark once, untimed
	$(BIN)/python -m pytest -q --benchmark-disable benchmarks

bench-peers: build ## measure with other flag engines from PyPI beside Burgee
	$(PIP) --no-build-isolation --editable '.[peers]'
	$(BIN)/python -m pytest -q benchmarks

# Of each scenario; small tenants; processes that answer.
SECONDS ?= 20
TENANTS ?= 200
WORKERS ?= 1
load: $(VENV)/.load ## run the load scenarios (make load SECONDS=20 TENANTS=200 WORKERS=1), report in build/load
	$(BIN)/python -m loadtests.run --seconds $(SECONDS) --tenants $(TENANTS) --workers $(WORKERS) --out build/load

$(VENV)/.load: $(VENV)/.built
	$(PIP) --no-build-isolation --editable '.[load]'
	@touch $@

tools: ## install what load and HTTP tests use from Debian: wrk, nginx, HAProxy
	@export PATH="$$PATH:/usr/sbin"; missing=""; \
	for tool in wrk:wrk nginx:nginx-light haproxy:haproxy; do \
	  command -v "$${tool%%:*}" >/dev/null || missing="$$missing $${tool##*:}"; \
	done; \
	if [ -z "$$missing" ]; then \
	  echo "wrk, nginx and haproxy are there"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q --yes --no-install-recommends $$missing; \
	else \
	  echo "not there:$$missing" >&2; \
	  echo "(hint: as root, on Debian and Ubuntu: apt-get update && apt-get install --no-install-recommends$$missing)" >&2; \
	  exit 1; \
	fi

nightly: build ## all tests, with 100 times as many generated cases
	$(BIN)/python -m pytest -q --hypothesis-profile nightly

chaos: build ## all faults, long: 1,000 publishes, 10,000 poisoned snapshots, outages of a minute
	BURGEE_PROFILE=nightly $(BIN)/python -m pytest -q -s tests/chaos

# The debug build lives in build/debug, beside a copy of the tests, so that no module of the checkout shadows it.
SANITIZED := build/debug/tree
sanitize: build ## run the engine's tests on a build with sanitizers and bounds checks
	rm -rf $(SANITIZED)
	BURGEE_DEBUG=1 $(BIN)/python setup.py --quiet build --build-lib $(SANITIZED)
	cp -r tests docs pyproject.toml $(SANITIZED)
	cp -r engine/core $(SANITIZED)/engine/
	cd $(SANITIZED) && LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc $(CURDIR)/$(BIN)/python -m pytest -q -m "not slow" tests/engine

fmt: build ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what was built, .venv included
	rm -rf $(VENV) build dist *.egg-info engine/*.so server/front/*.so server/shared/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
