# Everything a developer runs. The environment is the project's own: .venv, made on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := $(shell find wsgroups -name '*.pyx' -o -name '*.pxd') setup.py pyproject.toml
SANITIZED := .venv-asan
ASAN_SEED ?= 1
FUZZ_SECONDS ?= 600

.PHONY: demo test check format bench asan fuzz browser-test install clean

install: $(STAMP)

$(STAMP): $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools
	WSGROUPS_BUILD_JOBS=2 $(BIN)/pip install --quiet --editable '.[test,check,bench,browser]'
	touch $@

demo: install  ## start the chat and print its address
	$(BIN)/python -m wsgroups examples.chat.app:handle --port 8080

test: install  ## every change: minutes
	$(BIN)/python -m pytest

check: install  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/cython-lint wsgroups
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install  ## server CPU against peers: about half an hour, results in benchmarks/results
	$(BIN)/python -m benchmarks

clean:
	rm -rf build *.egg-info .venv-asan
	find wsgroups -name '*.so' -o -name '*.c' | xargs rm -f
