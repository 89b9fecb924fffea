# Everything a newcomer needs:  make demo   and   make test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STUDY ?= config/demo.yaml
PROFILE ?= cluster/slurm

.PHONY: demo run cluster test lint docs bench bench-gpu schema slurm-up slurm-down clean

demo: $(VENV)/.installed  ## the demonstration study, end to end
	@$(BIN)/rnnlimits run config/demo.yaml

run: $(VENV)/.installed  ## another study: make run STUDY=config/recorded.yaml
	@$(BIN)/rnnlimits run $(STUDY)

cluster: $(VENV)/.installed-slurm  ## a study in jobs of a cluster: make cluster STUDY=config/full.yaml
	@$(BIN)/rnnlimits run $(STUDY) --profile $(PROFILE)

test: $(VENV)/.installed-test  ## all tests that this machine can run
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/snakefmt --check workflow

docs: $(VENV)/.installed-docs  ## the site, in docs/_build/html
	@$(BIN)/python -m sphinx -q -W -n --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.installed-test  ## speed beside JAX and NumPy
	@$(BIN)/python benchmarks/train_cpu.py

bench-gpu: $(VENV)/.installed-test  ## the same on a GPU, beside JAX if it was installed for one
	@$(BIN)/python benchmarks/train_gpu.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "make: no virtual environment; on Debian: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.installed: $(BIN)/python pyproject.toml
	@echo "installing into $(VENV) (half a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . && touch $@

$(VENV)/.installed-slurm: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[slurm]' && touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@echo "installing what the site is built with ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]' && touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' && touch $@

schema: $(VENV)/.installed  ## config/schema.json and the table of chains from the types of the study; that of variables
	@$(BIN)/python -m rnnlimits.study.schema
	@$(BIN)/python docs/_ext/chain_table.py
	@$(BIN)/python docs/_ext/variable_table.py

slurm-up:  ## a Slurm on this machine, for trying a profile (docs/loopback.md)
	@cluster/loopback up

slurm-down:
	@cluster/loopback down

clean:  ## removes the environment and caches, never results
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
