# Two commands: `make demo` and `make test`; and for those who change things `make test-fast`, `make test-slow`, `make lint`, `make docs`, `make wheel`. Each sets up what it needs in .venv, is safe to run twice, and needs python3 >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
# One thread for each process of the tests: torch's threads spin, and on a busy machine they are many times slower than one.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --dist worksteal
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-fast test-slow lint docs wheel bench clean

demo: .venv/ready
	$(BIN)/undrift demo

# One process more than there are cores: some tests wait for programs that they start.
test: .venv/ready-dev
	$(PYTEST) -n $$(( $$($(BIN)/python -c 'import os; print(os.cpu_count() or 1)') + 1 )) -m 'not slow'

# What starts many programs, kills them, fills disks, compiles, or trains for long.
test-slow: .venv/ready-dev
	$(PYTEST) -n auto -m slow

# One law, one order, one of each kind: before every commit.
test-fast: .venv/ready-dev
	$(PYTEST) -n auto -m fast

lint: .venv/ready-dev
	$(BIN)/ruff check src tests bench docs
	$(BIN)/ruff format --check src tests bench docs
	$(BIN)/mypy
	$(BIN)/lint-imports

# The wheel, installed in a fresh environment and used from outside the repository.
wheel: .venv/ready-dev
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	$(BIN)/python bench/wheel.py build/wheel

docs: .venv/ready-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	$(BIN)/python docs/offline.py build/docs
	@echo "the site is in build/docs: open build/docs/index.html"

bench: .venv/ready-dev
	$(BIN)/python bench/noise_cost.py
	$(BIN)/python bench/objective_variance.py

clean:
	rm -rf .venv

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "undrift needs Python 3.11 or newer; try make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

# torch alone first, under the constraints, so that no other package can pull in another build of it.
.venv/ready: .venv/made pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) -e .
	@touch $@

.venv/ready-dev: .venv/ready
	$(PIP) -e '.[dev]'
	@touch $@

.venv/ready-docs: .venv/ready-dev
	$(PIP) -e '.[docs]'
	@touch $@
