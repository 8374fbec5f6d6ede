# Everything that this repository can do, each by one command. The first call makes a virtual environment.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin

# The first Python on the PATH that is new enough; PYTHON=... overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PEERS ?= installed

# For how long the simulator looks for seeds in `make check`; the whole takes seven minutes on two cores.
SIM_SECONDS ?= 60

# The chart library of the dashboard's page, as its package has it; `make vendor` fetches it again.
UPLOT := 1.6.32
VENDORED := distpool/commands/dashboard/page/vendor

.PHONY: help demo test check lint types layers soak compat bench vendor pictures clean

help:
	@echo "make demo     run an unmodified multiprocessing program on distpool, and compare"
	@echo "make test     run the tests"
	@echo "make check    all that a change must pass: lint, types, layers, suites, tests (what CI runs)"
	@echo "make soak     the long tests: thousands of kills, cycles and seeds"
	@echo "make compat   CPython's own tests, every interpreter on this machine; then programs for Ray; then joblib's, Dask's and pandas' own tests"
	@echo "make bench    the comparison tables; PEERS=all installs the other libraries first"
	@echo "make vendor   fetch the page's chart library by npm (uPlot $(UPLOT))"
	@echo "make pictures take the pictures of docs/dashboard.md anew (needs Chromium)"
	@echo "make clean    remove what the others made"

$(VENV)/demo.made $(VENV)/dev.made: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "distpool needs Python 3.11 or newer, and there is none on the PATH:" \
		"install one, or say where it is: make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "this Python cannot make virtual environments: install its venv package (Debian: python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@$(BIN)/python -m compileall -q distpool  # pip does so for all but this; who may not write bytecode need not compile it each time
	@touch $@

$(VENV)/demo.made: EXTRAS := demo
$(VENV)/dev.made: EXTRAS := demo,test,dev

demo: $(VENV)/demo.made
	@$(BIN)/python examples/demo.py

test: $(VENV)/dev.made
	@$(BIN)/python -m pytest

check: $(VENV)/dev.made
	@SIM_SECONDS=$(SIM_SECONDS) .ci/check $(BIN)

lint: $(VENV)/dev.made
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/dev.made
	@$(BIN)/mypy

layers: $(VENV)/dev.made
	@$(BIN)/lint-imports

soak: $(VENV)/dev.made
	@$(BIN)/python -m tests.soak --results tests/RESULTS.md $(SOAK)

compat: $(VENV)/dev.made
	@$(BIN)/python -m compat_tests --python all --results compat_tests/RESULTS.md
	@$(BIN)/python -m compat_tests.ray --on both --results compat_tests/RESULTS-ray.md
	@$(BIN)/python -m compat_tests.joblib --results compat_tests/RESULTS-joblib.md
	@$(BIN)/python -m compat_tests.dask --results compat_tests/RESULTS-dask.md
	@$(BIN)/python -m compat_tests.pandas --results compat_tests/RESULTS-pandas.md

bench: $(VENV)/dev.made
	@$(BIN)/python -m benchmarks --peers $(PEERS) --results benchmarks/RESULTS.md

vendor:
	@rm -rf build/vendor && mkdir -p build/vendor $(VENDORED)/uplot
	@cd build/vendor && npm pack --silent uplot@$(UPLOT) && tar -xzf uplot-$(UPLOT).tgz
	@cp build/vendor/package/LICENSE build/vendor/package/dist/uPlot.esm.js build/vendor/package/dist/uPlot.min.css $(VENDORED)/uplot/
	@rm -rf build/vendor

pictures: $(VENV)/dev.made
	@$(BIN)/python -m tests.dashboard.pictures

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
