# Two commands for a start: `make demo` and `make test`. Each sets up what it needs on its first call.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
CODE := cli distill engine students teachers tests

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types imports pytest fmt pins clean

help:
	@echo "make demo    set up, then distill the embedded teacher: generate, filter, train, eval"
	@echo "make test    set up, then all checks and tests"
	@echo "make check   the checks without the tests: ruff, mypy, import-linter"
	@echo "make fmt     format the code and repair what ruff can repair"
	@echo "make pins    write constraints.txt anew from a fresh environment"
	@echo "make clean   remove $(VENV) and caches; runs/ stays"

demo: $(VENV)/.installed-train
	@$(BIN)/distill run recipes/quickstart.toml

test: check pytest

check: lint types imports

lint: $(VENV)/.installed-dev
	@echo "== ruff" && $(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .

types: $(VENV)/.installed-dev
	@echo "== mypy" && $(BIN)/mypy

imports: $(VENV)/.installed-dev
	@echo "== import-linter" && $(BIN)/lint-imports --no-logo

pytest: $(VENV)/.installed-dev
	@echo "== pytest" && $(BIN)/python -m pytest

fmt: $(VENV)/.installed-dev
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON); name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $$($(PYTHON) --version) is too old, 3.11 is the least; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "error: no virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }

# A stamp is newer than what it was made from, so a second call installs nothing.
$(VENV)/.installed-train: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing into $(VENV) (once, some minutes)"
	@$(PIP_INSTALL) -e '.[train]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-train
	@echo "== installing the development tools"
	@$(PIP_INSTALL) -e '.[train,dev]'
	@touch $@

# TORCH names the release to resolve with. The suffix of its CPU or CUDA build (2.13.0+cpu) is left
# out, so that the pin holds for all of them: which one pip takes is up to the machine.
TORCH ?= 2.13.0
pins:
	@rm -rf build/pins && $(PYTHON) -m venv build/pins
	@build/pins/bin/python -m pip install -qq --disable-pip-version-check -e '.[train,dev]' torch==$(TORCH)
	@{ echo "# Exact versions that \`make\` installs; written by \`make pins\`."; \
	  build/pins/bin/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9]*$$//'; } > constraints.txt
	@rm -rf build/pins

clean:
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
