# Every target creates its own environment. A bare Python 3.11 with pip is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROWS ?= 100000

.PHONY: demo airflow test standalone e2e browser executors chromium redis chaos bench bench-polling bench-sharing lint types docs check clean
.DEFAULT_GOAL := test

demo: $(VENV)/.demo  ## Sync a real warehouse to an emulated workspace, by Airflow (ROWS=all for everything)
	$(BIN)/python demo/run.py --rows $(ROWS)

airflow: PORT = 8080
airflow: EMULATOR_PORT = 8123
airflow: $(VENV)/.dev  ## An Airflow to click through, with the example Dags and an emulated workspace, until Ctrl-C
	$(BIN)/python -m demo.local_airflow --port $(PORT) --emulator-port $(EMULATOR_PORT) $(if $(SQLITE),--sqlite)

test: $(VENV)/.dev  ## Every test that needs no browser and no Airflow of its own
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --ignore tests/standalone --ignore tests/executors --ignore tests/browser --ignore tests/e2e

standalone: $(VENV)/.dev  ## Dags in a whole Airflow (airflow standalone), driven over its REST API
	$(BIN)/python -m pytest tests/standalone

e2e: $(VENV)/.dev $(VENV)/.browser chromium  ## The Airflow of `make airflow`, by its REST API and in Chromium (UPDATE_SCREENSHOTS=1 takes pictures)
	$(BIN)/python -m pytest -rs tests/e2e

browser: $(VENV)/.dev $(VENV)/.browser chromium  ## The emulator's page in Chromium (SCREENSHOTS=docs/images takes the docs' picture)
	CHROMIUM=$(CHROMIUM) SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest -rs tests/browser

chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || [ -n "$(CHROMIUM)" ] \
		|| { [ "$$(id -u)" = 0 ] && apt-get install -qq -y chromium; } \
		|| echo "No Chromium: the browser tests are skipped (apt-get install chromium, or CHROMIUM=/path/to/it)"

executors: $(VENV)/.dev $(VENV)/.executors redis  ## The sharded sync on LocalExecutor, and on two Celery workers with Debian's Redis
	$(BIN)/python -m pytest -rs tests/executors

redis:
	@command -v redis-server >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -qq -y redis-server && service redis-server stop; } \
		|| echo "No redis-server: the run on Celery is skipped (apt-get install redis-server)"

chaos: ROWS = 200000
chaos: KILLS = 100
chaos: STANDALONE = 3
chaos: $(VENV)/.dev  ## Kills syncs at random moments, and counts what got lost or came twice (some 20 minutes)
	$(BIN)/python -m chaos --kills $(KILLS) --rows $(ROWS) --standalone $(STANDALONE) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.bench  ## What it costs, beside what it replaces: a table, and docs/images/performance.svg (ONLY=encode,memory for a part)
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

bench-polling: $(VENV)/.dev  ## How soon a thousand waiting triggers see that a file has ended (2 to 3 minutes)
	$(BIN)/python -m benchmarks.polling

bench-sharing: $(VENV)/.dev  ## How many workers share one workspace's limit (3 minutes)
	$(BIN)/python -m benchmarks.sharing

lint: $(VENV)/.dev  ## Style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy --strict on the package
	$(BIN)/mypy

docs: $(VENV)/.docs  ## The documentation, into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

check: lint types docs test  ## All of the above but the demo

clean:
	rm -rf $(VENV) .demo .airflow .airflow-* build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The groups that share this environment have no conflicting requirements.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)

# pip installs dependency groups from 25.1 on; a new environment often starts with an older pip.
$(VENV)/.%: $(VENV)/bin/python pyproject.toml
	@echo "Installing the dependency group '$*' into $(VENV); the first time takes a minute or more ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[emulator]' --group $*
	@touch $@
