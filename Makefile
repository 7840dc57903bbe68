# make run     set up, measure configs/sweep.yaml, write the report
# make test    set up with the test tools, run every check and test
# make quick   the tests that need neither a browser nor a server and are not marked slow
# make gpu     hold what convbench says of an accelerator against what must be true there; needs a torch that finds one
# make clean   remove the environment and what tools left behind
#
# Nothing is installed twice: the stamps below are older than what they depend on only when that has changed.

# The first Python that runs and is new enough: a version manager may leave names on the path that do not run.
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11,$(shell \
  $(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(python))) python3)
VENV := .venv
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
SETUP := pyproject.toml constraints.txt Makefile
# How many processes run the tests: more than there are cores, because many tests wait. Each file stays with one, since its tests
# share workers, browsers and databases.
# tests/conftest.py orders the files.
PROCESSES ?= 4
SPREAD := --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

.PHONY: run test quick lint browser postgres vulkan compiler gpu clean

run: $(VENV)/.installed
	$(VENV)/bin/convbench run configs/sweep.yaml

test: $(VENV)/.installed-dev browser postgres vulkan compiler lint
	$(VENV)/bin/python -m pytest $(SPREAD) --durations 30

quick: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest $(SPREAD) -m "not slow and not browser and not postgres"

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/biome check --error-on-warnings convbench/report/pages/static
	$(VENV)/bin/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "convbench needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq python3-venv; } || \
	  { echo "this Python cannot make environments; mend it with: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(SETUP) | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(SETUP) | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@

# A browser for the tests of the report: Debian's, where we may install it; elsewhere tests/browser.py says what to do.
# The headless shell needs less time than the whole browser.
browser: $(VENV)/.installed-dev
	@$(VENV)/bin/python -m tests.browser >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium-headless-shell >/dev/null || \
	      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }; } || \
	  echo "no browser: its tests are skipped; to have them run: apt-get install chromium"

# A database server for the tests of the store, which run one of their own: Debian's, likewise, but not the cluster that
# Debian would start at once.
CLUSTERS := /etc/postgresql-common/createcluster.conf
postgres: $(VENV)/.installed-dev
	@$(VENV)/bin/python -m tests.postgres >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null && \
	    sed -i 's/^#* *create_main_cluster.*/create_main_cluster = false/' $(CLUSTERS) && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } || \
	  echo "no PostgreSQL: its tests are skipped; to have them run: apt-get install postgresql"

# An asynchronous device for the tests marked `gpu`, played by the CPU: Mesa's Vulkan driver, and torch's backend for it,
# which is made for one version of torch and registers itself in those tests alone.
vulkan: $(VENV)/.installed-dev
	@$(VENV)/bin/python -m tests.vulkan >/dev/null 2>&1 || \
	  { { ls /usr/share/vulkan/icd.d/lvp_icd* >/dev/null 2>&1 || \
	      { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers >/dev/null; }; } && \
	    $(PIP) --no-deps torchvulkan; } || \
	  echo "no Vulkan device: its tests are skipped; to have them run: apt-get install mesa-vulkan-drivers"

# A C++ compiler for the tests of compiled layers, likewise.
compiler: $(VENV)/.installed-dev
	@$(VENV)/bin/python -m tests.compilers >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ >/dev/null; } || \
	  echo "no C++ compiler: its tests are skipped; to have them run: apt-get install g++"

# In the environment of the Python that finds the accelerator, if it has what convbench needs; else in .venv.
gpu:
	@if $(PYTHON) -c 'import torch, typer, sqlalchemy, pandas' 2>/dev/null; then PYTHONPATH=. $(PYTHON) bench/gpu.py --markdown; \
	  else $(MAKE) $(VENV)/.installed && $(VENV)/bin/python bench/gpu.py --markdown; fi

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
