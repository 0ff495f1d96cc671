# Every target creates its own environment. A bare Python 3.11 with pip is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROWS ?= 100000

# Tests that start whole Airflows or a browser have targets of their own.
OTHER_TESTS := tests/standalone tests/executors tests/browser tests/e2e
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(addprefix --ignore ,$(OTHER_TESTS))

CLOUD_DATABASES := bigquery clickhouse databricks generated_sql oracle redshift snowflake sqlserver trino

.PHONY: help demo airflow test coverage databases cloud-databases standalone live e2e browser executors chromium redis \
	mariadb postgresql drivers chaos bench bench-polling bench-sharing lint types docs check clean
.DEFAULT_GOAL := test

# Install Debian's packages as root; $(2) is a service that they start.
debian = { [ "$$(id -u)" = 0 ] && { apt-get install -qq -y $(1) || { apt-get update -qq && apt-get install -qq -y $(1); }; } \
	$(if $(2),&& { service $(2) stop || true; }); }

help:  ## List the targets
	@sed -nE 's/^([a-z0-9-]+):.*[ ]## (.*)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(VENV)/.demo  ## Sync a real data set to an emulated workspace, in Airflow (ROWS=all for all rows)
	$(BIN)/python demo/run.py --rows $(ROWS)

airflow: PORT = 8080
airflow: EMULATOR_PORT = 8123
airflow: $(VENV)/.dev  ## Start a local Airflow with the example Dags and an emulated workspace, until Ctrl-C
	$(BIN)/python -m demo.local_airflow --port $(PORT) --emulator-port $(EMULATOR_PORT) $(if $(SQLITE),--sqlite)

test: $(VENV)/.dev  ## Run every test that needs no browser and no running Airflow (COVERAGE=1 measures coverage)
	$(if $(COVERAGE),rm -f .coverage .coverage.*)
	$(PYTEST) $(if $(COVERAGE),-m "not no_cover" --cov --cov-report=term)
	$(if $(COVERAGE),$(BIN)/python -m pytest -m no_cover tests/emulator/file_imports tests/transfers)

coverage:  ## Run the same tests, and fail if they cover less than pyproject.toml requires
	$(MAKE) --no-print-directory test COVERAGE=1

databases: drivers postgresql  ## Run the tests of every database: SQLite, PostgreSQL, MariaDB and DuckDB
	@if [ -e $(VENV)/.databases ]; then $(BIN)/python -m pytest -n auto --dist loadfile tests/sources tests/results tests/tables tests/campaign_stats; fi

drivers: $(VENV)/.dev mariadb
	@if command -v mariadbd >/dev/null && command -v mariadb_config >/dev/null; then \
		$(MAKE) --no-print-directory $(VENV)/.databases; \
	else \
		echo "Skipped: the databases' drivers need MariaDB's client library"; \
	fi

# In an environment of their own, because the drivers hold some of Airflow's dependencies back.
cloud-databases: VENV = .venv-cloud
cloud-databases:  ## Run the tests of the cloud warehouses' drivers, without their servers
	$(MAKE) --no-print-directory VENV=$(VENV) $(VENV)/.dev $(VENV)/.cloud-databases
	$(VENV)/bin/python -m pytest -rs $(patsubst %,tests/sources/test_%.py,$(CLOUD_DATABASES))

postgresql:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || $(call debian,postgresql,postgresql) \
		|| echo "No PostgreSQL of the system: its ICU collations are skipped (apt-get install postgresql)"

mariadb:
	@{ command -v mariadbd && command -v mariadb_config; } >/dev/null \
		|| $(call debian,mariadb-server libmariadb-dev pkg-config gcc,mariadb) \
		|| echo "No MariaDB: its tests are skipped (apt-get install mariadb-server libmariadb-dev pkg-config gcc)"

standalone: $(VENV)/.dev  ## Run Dags in a whole Airflow (airflow standalone) over its REST API
	$(BIN)/python -m pytest tests/standalone

e2e: $(VENV)/.dev $(VENV)/.browser chromium  ## Test what `make airflow` starts, and Airflow's MoEngage page, in Chromium (UPDATE_SCREENSHOTS=1 updates the docs)
	$(BIN)/python -m pytest -rs tests/e2e
	$(BIN)/python -m pytest -rs tests/page/test_in_browser.py  # Playwright starts once in a process

browser: $(VENV)/.dev $(VENV)/.browser chromium  ## Test the emulator's page in Chromium (SCREENSHOTS=docs/images updates the docs)
	CHROMIUM=$(CHROMIUM) SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest -rs tests/browser

chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || [ -n "$(CHROMIUM)" ] \
		|| $(call debian,chromium) \
		|| echo "No Chromium: the browser tests are skipped (apt-get install chromium, or CHROMIUM=/path/to/it)"

live: $(VENV)/.dev  ## Check a real workspace, given by MOENGAGE_* variables; it changes one test user and triggers nothing
	@$(BIN)/python -m devtools.live

executors: $(VENV)/.dev $(VENV)/.executors redis  ## Run the sharded sync on LocalExecutor, and on two Celery workers with Redis
	$(BIN)/python -m pytest -rs tests/executors

redis:
	@command -v redis-server >/dev/null || $(call debian,redis-server,redis-server) \
		|| echo "No redis-server: the run on Celery is skipped (apt-get install redis-server)"

chaos: ROWS = 200000
chaos: KILLS = 100
chaos: STANDALONE = 3
chaos: drivers  ## Kill syncs at random moments and count lost and duplicate elements (20 minutes)
	$(BIN)/python -m chaos --kills $(KILLS) --rows $(ROWS) --standalone $(STANDALONE) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.bench  ## Measure speed and memory, and update docs/images/performance.svg (ONLY=encode,memory for a part)
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

bench-polling: $(VENV)/.dev  ## Measure how soon a thousand waiting triggers see that a file has ended (3 minutes)
	$(BIN)/python -m benchmarks.polling

bench-sharing: $(VENV)/.dev  ## Measure how parallel syncs share one workspace's limit (3 minutes)
	$(BIN)/python -m benchmarks.sharing

lint: $(VENV)/.dev  ## Check style, format, spelling and the layout of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python -m devtools.house

types: $(VENV)/.dev  ## Check types with mypy --strict, also those of the examples
	$(BIN)/mypy
	$(BIN)/mypy example_dags

docs: $(VENV)/.docs  ## Build the documentation in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

check: lint types docs test  ## Run lint, types, docs and test

clean:  ## Remove environments, caches and everything that was built
	rm -rf $(VENV) .venv-cloud .demo .airflow .airflow-* build dist docs/_build .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The groups that share this environment have no conflicting requirements.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)

# pip installs dependency groups from 25.1 on; a new environment often starts with an older pip.
$(VENV)/.%: $(VENV)/bin/python pyproject.toml
	@echo "Installing Airflow, this package and the group '$*' into $(VENV); the first time takes a minute or more ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@log=$(VENV)/pip.log; rm -f $$log; began=$$(date +%s); elapsed() { echo $$(( $$(date +%s) - began )); }; \
	( while sleep 10 && kill -0 $$$$ 2>/dev/null; do \
		echo "  $$(elapsed) s: $$(grep -cs ' Collecting ' $$log) packages found$$(grep -qs ' Installing collected' $$log && echo ', installing them')"; \
	done ) & progress=$$!; trap 'kill $$progress 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
	$(BIN)/python -m pip install --quiet --log $$log --disable-pip-version-check --editable '.[emulator]' --group $* \
	&& echo "  $$(elapsed) s: installed; pip's log is $$log"
	@touch $@
