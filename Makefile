# The commands a newcomer needs: `make run`, `make test`, `make modes`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CUDA := $(VENV)/cuda
CONFIG ?= configs/text.toml

.PHONY: run test servers test-long modes bench coverage lint dist clean install

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing streamrnn and what it needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install
	@$(BIN)/streamrnn run $(CONFIG) $(ARGS)

test: servers
	@$(BIN)/python -m pytest -m "not long" $(ARGS)

# What the tests speak to
servers: install
	@tests/mosquitto.sh $(VENV)/mosquitto

# Those that take minutes: ordinary days, every config
test-long: servers $(CUDA)/installed
	@$(BIN)/python -m pytest -m long $(ARGS)

# A compiler for GPUs, in a place of its own, for it takes the place of Numba's: tests look at what it makes of kernels
$(CUDA)/installed: $(VENV)/installed tests/cuda.lock
	@test -x $(CUDA)/bin/python || $(PYTHON) -m venv $(CUDA)
	@echo "installing a compiler for GPUs into $(CUDA) ..."
	@$(CUDA)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps -r tests/cuda.lock
	@sed -n '/^dependencies/,/^]/s/^ *"\([a-z]*\).*/\1/p' pyproject.toml | \
		xargs $(CUDA)/bin/python -m pip install --quiet --quiet --disable-pip-version-check -c requirements.lock
	@touch $@

# The kernels as plain Python, to see that the tests reach every line of them.
COMMA := ,
SPACE := $(COMMA:,=) $(COMMA:,=)
UNITS := $(addprefix tests/test_,$(addsuffix .py,activations cells detectors entrance experts linear network optimizers schedule standardize rounds))
KERNELS := $(addprefix streamrnn/kernels/,anomaly/* cells/* experts/* readouts/* optimizers/* activations.py entrance.py linear.py rounds.py schedule.py stage.py standardize.py)
KERNELS := $(subst $(SPACE),$(COMMA),$(KERNELS))

# The five ways of processing a sequence, each on a real task: make modes DATA=FOLDER (see README)
modes: $(VENV)/installed-modes
	@$(BIN)/python -m benchmarks.quality.modes $(DATA) $(ARGS)

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
	@$(BIN)/python -m coverage erase
	@printf '%s\n' $(UNITS) | NUMBA_DISABLE_JIT=1 xargs -P 2 -n 1 $(BIN)/python -m coverage run -p -m pytest -n 0
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --include '$(KERNELS)' --fail-under 98

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@rm -rf build/imports && mkdir -p build/imports
	@cp -r streamrnn build/imports && cp -r workers build/imports/streamrnn  # as a wheel lays them out
	@cd build/imports && PYTHONPATH=. ../../$(BIN)/lint-imports --no-cache --no-logo ../../pyproject.toml

# An sdist and a wheel, checked; the wheel must run a config by its name where nothing else of here is.
DIST := $(CURDIR)/build/dist
TRIAL := $(CURDIR)/build/trial

dist: install
	@rm -rf $(DIST) $(TRIAL) && mkdir -p $(DIST)
	@$(BIN)/python -m build --no-isolation --outdir $(DIST) > $(DIST).log 2>&1 || { cat $(DIST).log; exit 1; }
	@$(BIN)/twine check --strict $(DIST)/*
	@$(BIN)/check-wheel-contents $(DIST)/*.whl
	@$(PYTHON) -m venv $(TRIAL)
	@$(TRIAL)/bin/python -m pip install --quiet --quiet --disable-pip-version-check -c requirements.lock $(DIST)/*.whl
	@cd $(TRIAL) && export XDG_CACHE_HOME=$(TRIAL)/cache XDG_STATE_HOME=$(TRIAL)/state && \
		bin/streamrnn warm && \
		bin/streamrnn run text --max-frames 1000 --fused --quiet --json result.json && \
		bin/python -c "import json; assert json.load(open('result.json'))['frames'] == 1000"
	@echo "$(DIST) holds what can be installed"

clean:
	rm -rf $(VENV) $(BENCH) build *.egg-info
