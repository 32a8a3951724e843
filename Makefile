# Everything that is done to this project is a target here; CI runs `make test` and nothing else.
#
#   make test PYTHON=python3.13 VENV=.venv-3.13     another Python, in an environment of its own

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The machine's own python3 where it is new enough, else a newer one beside it. Each is run, not
# only looked for: a version manager leaves commands that refuse to start.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for it in python3 python3.13 python3.12 python3.11; do \
	"$$it" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$it"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Extras stay in the lock. An older pip (23.2, which comes with Python 3.11) takes `x==1` for another
# thing than `x[extra]`, and looks for a newer one that has no hash here.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml

# A `node` that is found may be too old. `process.exit` takes a number: Node 20 throws at a boolean.
NODE_IS_NEW_ENOUGH = node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' >/dev/null 2>&1
# What is not tested is said aloud, and fails the run in CI.
lacking = { echo "!!! missing: $(1); $(2)" >&2; [ -z "$$CI" ]; }

.PHONY: help install run check lint test test-client lock reference openapi clean system

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.installed ## everything for development, into .venv

run: $(VENV)/.runtime ## serve on 127.0.0.1:8000 (installs what that needs, and no more)
	@exec $(BIN)/python -m streamapi serve

check: lint ## lint, format, types, and the promises that the program must keep
	$(BIN)/pytest tests/test_promises.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A third of the tests' time is waiting, so three processes keep two cores busy.
TEST_PROCESSES ?= 3
test: system $(VENV)/.installed ## everything that CI does: check, and every test
	@$(MAKE) lint
	@$(MAKE) test-client
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist worksteal

test-client: ## the JavaScript client's own tests, with Node 20 or newer
	@if $(NODE_IS_NEW_ENOUGH); then \
		node --test tests/static/*.test.mjs; \
	else \
		$(call lacking,Node 20 or newer,the JavaScript client is NOT tested); \
	fi

lock: $(VENV)/.installed ## pin the dependencies of pyproject.toml again, with hashes
	$(COMPILE) --upgrade --output-file requirements.lock
	$(COMPILE) --group dev --constraint requirements.lock --upgrade --output-file requirements-dev.lock
	$(COMPILE:pyproject.toml=tests/conformance/requirements.in) --upgrade \
		--output-file tests/conformance/requirements.txt

reference: $(VENV)/.installed ## write docs/reference/ again, from the code
	@$(BIN)/python -m docs.generate

openapi: $(VENV)/.runtime ## print the OpenAPI document
	@$(BIN)/python -m streamapi openapi

clean: ## remove everything that these targets made
	rm -rf .venv .venv-* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { \
		echo 'make: Python 3.11 or newer is needed; say where it is: make PYTHON=/path/to/python' >&2; \
		exit 1; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo 'make: $(PYTHON) is older than 3.11' >&2; exit 1; }
	@# Debian's python3 has no ensurepip; its pip can then install one into the environment.
	@$(PYTHON) -m venv $(VENV) >/dev/null || { $(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $@ install --quiet pip; } || { rm -f $@; exit 1; }
	@echo '*' >$(VENV)/.gitignore

$(VENV)/.runtime: requirements.lock | $(BIN)/python
	@echo 'installing what it takes to serve into $(VENV); half a minute or so'
	$(PIP) --require-hashes -r requirements.lock
	@# The command `streamapi`. pip would need a build back end to install it from here.
	@echo '$(CURDIR)' >"$$($(BIN)/python -c 'import sysconfig as s; print(s.get_path("purelib"))')/streamapi.pth"
	@printf '#!/bin/sh\nexec "%s/python" -P -m streamapi "$$@"\n' "$$(cd $(BIN) && pwd)" >$(BIN)/streamapi
	@chmod +x $(BIN)/streamapi
	@touch $@

# The development lock holds the runtime lock's versions too (a promise test compares them).
$(VENV)/.installed: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo 'installing everything for development into $(VENV); a minute or so'
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.runtime $@

# What some tests need besides Python. Only root may install it; others are told what is missing.
system:
	@missing() { \
		command -v chromium >/dev/null || echo chromium; \
		command -v redis-server >/dev/null || echo redis-server; \
		$(NODE_IS_NEW_ENOUGH) || echo nodejs; \
	}; \
	packages=$$(missing); \
	if [ -n "$$packages" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $$packages; } \
			</dev/null >/dev/null || true; \
		packages=$$(missing); \
	fi; \
	[ -z "$$packages" ] || $(call lacking,$$(echo $$packages),the tests that need it are NOT run)

.PHONY: conformance torture fuzz bench bench-all fairness fallback floods profile

CONFORMANCE := $(VENV)-conformance
conformance: $(VENV)/.installed $(CONFORMANCE)/.installed ## hold a server to its /openapi.json, with schemathesis (2 minutes)
	@$(BIN)/python -m tests.conformance.run $(CONFORMANCE)/bin/schemathesis

# An environment of its own: what schemathesis needs is no part of the project's lock.
$(CONFORMANCE)/.installed: tests/conformance/requirements.txt | $(BIN)/python
	@echo 'installing schemathesis into $(CONFORMANCE)'
	@$(BIN)/python -m venv --without-pip $(CONFORMANCE)
	@echo '*' >$(CONFORMANCE)/.gitignore
	@$(BIN)/python -m pip --python $(CONFORMANCE)/bin/python --disable-pip-version-check \
		install --quiet --require-hashes -r tests/conformance/requirements.txt
	@touch $@

torture: $(VENV)/.installed ## kill processes and cut connections, as often as was promised (20 minutes)
	@TORTURE=1 $(BIN)/pytest -q -s tests/test_survival.py tests/test_killed_writers.py
	@$(MAKE) fuzz SECONDS=60

SECONDS ?= 3600
fuzz: $(VENV)/.installed ## feed every grammar hostile code, beside a server (an hour; SECONDS=60: less)
	@$(BIN)/python -m tests.fuzz_syntax $(SECONDS)

bench: $(VENV)/.installed ## measure streamapi beside its peers (20 minutes; ARGS=--quick: 4)
	@$(BIN)/python -m bench.run $(ARGS)

bench-all: $(VENV)/.installed ## the same with all peers (35 minutes)
	@$(BIN)/python -m bench.run --all $(ARGS)

fairness: $(VENV)/.installed ## measure what one busy caller costs another
	@$(BIN)/python -m bench.fairness

fallback: $(VENV)/.installed ## measure what a model that cannot answer costs its chain (2 minutes)
	@$(BIN)/python -m bench.fallback

floods: $(VENV)/.installed ## measure what floods of one client cost the others (3 minutes)
	@$(BIN)/python -m bench.floods $(ARGS)

profile: $(VENV)/.installed ## show where the server's time goes under 50 streams
	@$(BIN)/python -m bench.profile
