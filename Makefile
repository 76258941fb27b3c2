# Everything a developer does, on a machine that has Python 3.11 (with venv) and make.

PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
# -qq: only errors are news.
PIP_INSTALL := -m pip install -qq --disable-pip-version-check

# An environment is ready when its stamp is newer than what it was installed from.
READY := $(VENV)/.ready
VENDOR := .venv-vendor
VENDOR_READY := $(VENDOR)/.ready
AIRFLOW := .venv-vendor-airflow
AIRFLOW_READY := $(AIRFLOW)/.ready
AIRFLOW3 := .venv-airflow3
AIRFLOW3_READY := $(AIRFLOW3)/.ready
AIRFLOW2 := .venv-airflow2
AIRFLOW2_READY := $(AIRFLOW2)/.ready
DOCS := .venv-docs
DOCS_READY := $(DOCS)/.ready
FUZZ := .venv-fuzz
FUZZ_READY := $(FUZZ)/.ready
NEWEST_READY := .venv-newest/.ready
LOWEST_READY := .venv-lowest/.ready
NODE := .node
PYRIGHT := .venv-pyright
PYRIGHT_READY := $(PYRIGHT)/.ready
NODE_READY := $(NODE)/.ready
NEWER_PYTHONS := 3.12 3.13 3.14

# One test in so many is run, evenly from all of them: make test-pythons ONE_IN=10
ONE_IN ?= 1
export ONE_IN

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install test test-js test-all test-long test-tenth worlds demo bench lint lint-js format types types-pyright \
	imports cover cover-newest check bench-isolation \
	docs dist test-pythons test-newest install-newest test-lowest install-lowest test-vendor test-vendor-sdk test-vendor-airflow fuzz install-fuzz \
	install-vendor-sdk install-vendor-airflow \
	test-airflow test-airflow-triggerer install-airflow3 install-airflow2 constraints clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

install: $(READY)  ## Create .venv and install everything into it

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (make PYTHON=...)" >&2; exit 1; }
	@echo "installing into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@

test: $(READY)  ## Run the tests, or some of them: make test ARGS='-k pause'
	@$(BIN)/pytest $(ARGS)

test-js:  ## Only the unit tests of the page's scripts; needs Node.js 20 and nothing else
	@node --test tests/report/page/*.test.mjs

test-all: test test-long test-newest test-lowest test-pythons test-vendor test-examples test-airflow
test-all: ## All there is to run, in full; it takes hours

# A test that takes more than a minute is stuck, but for these.
test-long: $(READY)  ## What takes minutes: worlds, kills, cancellations, SQL, a day of polling
	@# The day of polling takes as long as the others together: beside them.
	@SOAK_IDS=100000 $(BIN)/pytest -q -o faulthandler_timeout=1200 tests/test_soak.py & \
	soak=$$!; status=0; \
	$(MAKE) -s worlds COUNT=10000 || status=1; \
	ISOLATED_WORLDS=1000 $(BIN)/pytest -q tests/engine/test_isolated_worlds.py || status=1; \
	KILL_ROUNDS=200 $(BIN)/pytest -q tests/test_kill_rounds.py || status=1; \
	EVERY_TURN=1 $(BIN)/pytest -q tests/engine/test_cancellation_fuzz.py || status=1; \
	SQL_TEXTS=200000 $(BIN)/pytest -q -o faulthandler_timeout=1200 tests/cli/test_readings.py \
		|| status=1; \
	wait $$soak || status=1; exit $$status

COUNT ?= 1000
worlds: $(READY)  ## Live through COUNT random worlds
	@$(BIN)/python -m tests.worlds --count $(COUNT)

# A Python of version $(1): on the PATH, or where pyenv keeps its own.
python = $(shell for python in python$(1) "$$(pyenv root 2>/dev/null)"/versions/$(1).*/bin/python; do \
	"$$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(1)")' 2>/dev/null \
	&& echo "$$python" && break; done)

FOUND = $(foreach version,$(NEWER_PYTHONS),$(if $(call python,$(version)),$(version)))

# But for the worlds that judge decisions, which are the same on every Python.
LIVES_ON_TASKS := tests/engine tests/onehouse tests/sync tests/test_eager_tasks.py \
	tests/pool/test_pool.py --ignore=tests/engine/test_isolated_worlds.py

# One after another: some tests look at the clock.
test-pythons:  ## Run the tests on every newer Python that is here
	@for version in $(filter-out $(FOUND),$(NEWER_PYTHONS)); do \
		echo "skipped: Python $$version is not here"; done
	@status=0; for version in $(FOUND); do \
		$(MAKE) -s test-python-$$version || status=1; done; exit $$status

# The oldest of them runs what has sockets on uvloop too, the newest all with eager tasks.
test-python-%:
	@status=0; try() { echo "$$@"; env "$$@" $(ARGS) || status=1; }; \
	if $(MAKE) -s .venv-py$*/.ready; then \
	try .venv-py$*/bin/pytest -q; \
	$(if $(filter $*,$(firstword $(FOUND))), \
		try EVENT_LOOP=uvloop .venv-py$*/bin/pytest -q tests/onehouse tests/sync;) \
	$(if $(filter $*,$(lastword $(FOUND))), \
		try EVENT_LOOP=eager .venv-py$*/bin/pytest -q $(LIVES_ON_TASKS);) \
	else echo "skipped: nothing can be installed for Python $* here"; fi; exit $$status

.PRECIOUS: .venv-py3.%/.ready
.venv-py3.%/.ready: pyproject.toml constraints.txt $(READY)
	@echo "installing into .venv-py3.$* ..."
	@$(BIN)/uv venv -q --allow-existing --python "$(call python,3.$*)" .venv-py3.$*
	@$(BIN)/uv pip install -q --python .venv-py3.$* -c constraints.txt -e '.[dev]'
	@touch $@

test-newest: $(NEWEST_READY)  ## Run the tests on the newest Python, with the newest packages
	@.venv-newest/bin/pytest -q $(ARGS)

install-newest: $(NEWEST_READY)

$(NEWEST_READY): pyproject.toml constraints.txt $(READY)
	@echo "installing into .venv-newest ..."
	@$(BIN)/uv venv -q --allow-existing .venv-newest \
		--python "$(or $(call python,$(lastword $(FOUND))),$(PYTHON))"
	@$(BIN)/uv pip install -q --python .venv-newest --upgrade -e '.[dev]'
	@touch $@

# The core and the command: pages and figures have dependencies of their own.
test-lowest: $(LOWEST_READY)  ## Run the tests with the lowest versions that pyproject.toml allows
	@.venv-lowest/bin/pytest -q tests $(RUN_ONCE:%=--ignore=%) $(ARGS)

install-lowest: $(LOWEST_READY)

# First what is tested, each in its lowest version; then what it is tested with.
$(LOWEST_READY): pyproject.toml constraints.txt $(READY)
	@echo "installing into .venv-lowest ..."
	@$(BIN)/uv venv -q --allow-existing --python $(PYTHON) .venv-lowest
	@$(BIN)/uv pip install -q --python .venv-lowest --resolution lowest-direct \
		-e '.[cli,otel,redis,report]' 'opentelemetry-sdk>=1.30'
	@$(BIN)/uv pip install -q --python .venv-lowest -e '.[otel,test]'
	@touch $@

demo: $(READY)  ## Watch the tracker poll 150 simulated statements; needs no credentials
	@$(BIN)/onehouse-tracker demo

lint: $(READY)  ## Check style, formatting and spelling
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/codespell src tests benchmarks examples docs *.md
	@if $(MAKE) -s $(NODE_READY); then $(MAKE) -s lint-js; \
	else echo "skipped: the page's scripts were not checked, see above" >&2; fi

lint-js: $(NODE_READY)  ## Check style, formatting and types of the page's scripts; needs npm
	@$(NODE)/node_modules/.bin/biome check --error-on-warnings
	@$(NODE)/node_modules/.bin/tsc --project tests/report/page/tsconfig.json

format: $(READY)  ## Format the code
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format
	@if test -e $(NODE_READY); then $(NODE)/node_modules/.bin/biome format --write; fi

# The tests are written for POSIX systems.
types: $(READY)  ## Check types, those of the package also as on Windows and macOS
	@$(BIN)/mypy --strict src tests benchmarks
	@for platform in win32 darwin; do $(BIN)/mypy --strict --platform $$platform \
		--cache-dir .mypy_cache/$$platform src tests/typing || exit 1; done

types-pyright: $(PYRIGHT_READY)  ## Check the public names with pyright as well (a build of it from PyPI)
	@$(PYRIGHT)/bin/basedpyright --project tests/typing

$(PYRIGHT_READY): $(READY)
	@$(BIN)/python -m venv $(PYRIGHT)
	@$(PYRIGHT)/bin/pip install -q basedpyright==1.40.2
	@touch $@

imports: $(READY)  ## Check that imports point down only
	@$(BIN)/lint-imports

# Browsers, pages, worlds and a day of polling run code again that other tests have run.
RUN_ONCE := tests/browser tests/docs tests/benchmarks tests/test_soak.py tests/test_kill_rounds.py \
	tests/engine/test_isolated_worlds.py tests/cli/test_readings.py

COVERAGE := $(BIN)/coverage
cover: $(READY)  ## Run most tests, measure coverage and require its minimum
	@rm -f .coverage .coverage.*
	@$(COVERAGE) run -m pytest -q $(RUN_ONCE:%=--ignore=%)
	@$(COVERAGE) combine --quiet
	@$(COVERAGE) html --quiet --directory build/coverage --fail-under 0
	@$(COVERAGE) report

cover-newest: $(NEWEST_READY)  ## The same on the newest Python, with the newest packages
	@$(MAKE) -s cover COVERAGE=.venv-newest/bin/coverage

test-tenth: $(READY)  ## A tenth of `make test-long`, beside the worlds
	@SOAK_IDS=10000 ISOLATED_WORLDS=100 $(MAKE) -s test \
		ARGS='-q -o faulthandler_timeout=300 tests/test_soak.py tests/engine/test_isolated_worlds.py'

dist: $(READY)  ## Build wheel and source archive, and try both as a user would
	@rm -rf dist
	@$(BIN)/uv build -q --python $(BIN)/python
	@$(BIN)/uv tool run -q twine@7.0.0 check --strict dist/*
	@$(BIN)/pytest -q -o faulthandler_timeout=600 tests/built

docs: $(DOCS_READY)  ## Build the documentation into build/site; a warning is an error
	@# Not --quiet: it would hide warnings from --strict too.
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict -f docs/mkdocs/mkdocs.yml

bench: $(READY)  ## Compare with the vendor's SDK (takes two minutes)
	@$(BIN)/python benchmarks/headline.py

bench-isolation: $(READY)  ## See that sick requests harm no others (a minute; without --quick 15)
	@$(BIN)/python benchmarks/isolation.py --quick --check

check: cover lint types imports  ## Most tests with coverage, style, types and contracts

test-vendor: test-vendor-sdk test-vendor-airflow  ## Run the vendor's own clients against the simulator

test-vendor-sdk: $(READY) $(VENDOR_READY)  ## Only the SDK and the `oh` command
	@$(BIN)/pytest tests/vendor/test_sdk.py tests/vendor/test_oh.py $(ARGS)

test-vendor-airflow: $(READY) $(AIRFLOW_READY)  ## Only the Airflow provider
	@$(BIN)/pytest tests/vendor/test_airflow_hook.py tests/vendor/test_airflow_names.py $(ARGS)

install-vendor-sdk: $(VENDOR_READY)
install-vendor-airflow: $(AIRFLOW_READY)

# The vendor's packages are proprietary: they are installed to be run, each set in an
# environment of its own, and nothing of ours is installed beside them.
$(VENDOR_READY): tests/vendor/requirements.txt
	@echo "installing into $(VENDOR) ..."
	@test -x $(VENDOR)/bin/python || $(PYTHON) -m venv $(VENDOR)
	@$(VENDOR)/bin/python $(PIP_INSTALL) -r $<
	@touch $@

$(AIRFLOW_READY): tests/vendor/requirements-airflow.txt
	@echo "installing into $(AIRFLOW) ..."
	@test -x $(AIRFLOW)/bin/python || $(PYTHON) -m venv $(AIRFLOW)
	@$(AIRFLOW)/bin/python $(PIP_INSTALL) -r $<
	@touch $@

COVER_AIRFLOW := --rcfile=$(CURDIR)/tests/airflow/coverage.ini --data-file=$(CURDIR)/build/airflow/coverage
TEST_AIRFLOW := -m coverage run $(COVER_AIRFLOW) -m pytest -c tests/airflow/pytest.ini tests/airflow

# The two versions one after the other: they share a machine, and some tests look at the clock.
test-airflow: $(AIRFLOW3_READY) $(AIRFLOW2_READY)  ## Run the tests with Airflow 3 and Airflow 2.11
	@rm -rf build/airflow && mkdir -p build/airflow
	@$(AIRFLOW3)/bin/python $(TEST_AIRFLOW) $(ARGS)
	@$(AIRFLOW2)/bin/python $(TEST_AIRFLOW) $(ARGS)
	@$(AIRFLOW2)/bin/python -m coverage combine $(COVER_AIRFLOW) -q
	@$(AIRFLOW2)/bin/python -m coverage report $(COVER_AIRFLOW)

test-airflow-triggerer: $(AIRFLOW3_READY)  ## Only what needs no running Airflow, on Airflow 3
	@mkdir -p build/airflow
	@$(AIRFLOW3)/bin/python $(TEST_AIRFLOW) -m 'not running' $(ARGS)

install-airflow3: $(AIRFLOW3_READY)
install-airflow2: $(AIRFLOW2_READY)

$(AIRFLOW3_READY) $(AIRFLOW2_READY): .venv-%/.ready: tests/airflow/requirements-%.txt pyproject.toml
	@echo "installing into .venv-$* ..."
	@test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python $(PIP_INSTALL) -r $< -e '.[cli,redis]'
	@touch $@

$(DOCS_READY): pyproject.toml constraints.txt
	@echo "installing into $(DOCS) ..."
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python $(PIP_INSTALL) -c constraints.txt -e '.[docs]'
	@touch $@

# What the page's scripts are checked with; the page itself needs nothing of it.
$(NODE_READY): tests/report/page/package.json
	@command -v npm > /dev/null || { echo "there is no npm: install Node.js 20 or newer" >&2; exit 1; }
	@echo "installing into $(NODE) ..."
	@mkdir -p $(NODE) && cp $< $(NODE)
	@npm install --prefix $(NODE) --no-package-lock --no-audit --no-fund --loglevel=error > /dev/null
	@touch $@

# Each example in an environment of its own, with ours installed beside it.
EXAMPLES := fastapi celery dagster prefect ray

test-examples: $(EXAMPLES:%=test-example-%)  ## Run every example against the simulator

test-example-%: $(READY) .venv-example-%/.ready
	@$(BIN)/pytest -q -o faulthandler_timeout=300 tests/examples/test_$*.py $(ARGS)

.PRECIOUS: .venv-example-%/.ready
.venv-example-%/.ready: examples/requirements-%.txt pyproject.toml
	@echo "installing into .venv-example-$* ..."
	@test -x .venv-example-$*/bin/python || $(PYTHON) -m venv .venv-example-$*
	@.venv-example-$*/bin/python $(PIP_INSTALL) -r $< -e .
	@touch $@

SECONDS ?= 60
fuzz: $(FUZZ_READY)  ## Fuzz the parser of replies for SECONDS seconds
	@$(FUZZ)/bin/python -I tests/fuzz/fuzz_reply.py -max_total_time=$(SECONDS) \
		-dict=tests/fuzz/reply.dict -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix=$(FUZZ)/

install-fuzz: $(FUZZ_READY)

$(FUZZ_READY): pyproject.toml constraints.txt tests/fuzz/requirements.txt
	@echo "installing into $(FUZZ) ..."
	@test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python $(PIP_INSTALL) -c constraints.txt -r tests/fuzz/requirements.txt -e .
	@touch $@

constraints:  ## Renew constraints.txt from a fresh environment
	@rm -rf build/constraints && mkdir -p build
	@$(PYTHON) -m venv build/constraints
	@build/constraints/bin/python $(PIP_INSTALL) -e '.[dev,docs]'
	@{ sed -n '/^#/p' constraints.txt; \
	build/constraints/bin/python -m pip freeze --exclude-editable --disable-pip-version-check; \
	} > build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@rm -rf build/constraints

clean:  ## Remove environments, caches and build products
	@rm -rf $(VENV) $(VENDOR) $(AIRFLOW) $(AIRFLOW3) $(AIRFLOW2) $(DOCS) $(FUZZ) $(NODE) .venv-example-* .venv-py* \
		build dist site .coverage .coverage.* \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
