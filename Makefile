# The commands a newcomer needs: `make run`, `make test`, `make modes`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= configs/text.toml

.PHONY: run test modes bench coverage lint clean install

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing streamrnn and what it needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install
	@$(BIN)/streamrnn run $(CONFIG) $(ARGS)

test: install
	@$(BIN)/python -m pytest $(ARGS)

# The kernels as plain Python, to see that the tests reach every line of them.
UNITS := $(addprefix tests/test_,$(addsuffix .py,activations cells linear network optimizers schedule standardize))
KERNELS := streamrnn/cells/*,streamrnn/activations.py,streamrnn/linear.py,streamrnn/optimizers.py,streamrnn/readouts.py
KERNELS := $(KERNELS),streamrnn/schedule.py,streamrnn/stage.py,streamrnn/standardize.py

# The five ways of processing a sequence, each on a real task: make modes DATA=FOLDER (see README)
modes: $(VENV)/installed-modes
	@$(BIN)/python -m benchmarks.modes $(DATA) $(ARGS)

$(VENV)/installed-modes: $(VENV)/installed benchmarks/requirements.lock
	@echo "installing what the benchmarks need ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -r benchmarks/requirements.lock
	@touch $@

# Speed, ours beside the peers': make bench TEXT=FILE
BENCH := .venv-bench

bench: $(BENCH)/installed
	@$(BENCH)/bin/python -m benchmarks $(TEXT) $(ARGS)

$(BENCH)/installed: pyproject.toml requirements.lock benchmarks/peers.lock
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@echo "installing what ours is measured beside into $(BENCH) ..."
	@$(BENCH)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BENCH)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps -r benchmarks/peers.lock
	@$(BENCH)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

coverage: install
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m coverage run -m pytest -n 0 $(UNITS)
	@$(BIN)/python -m coverage report --include '$(KERNELS)' --fail-under 98

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) $(BENCH) build *.egg-info
