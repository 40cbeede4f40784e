# Everything a developer runs. The environment is the project's own: .venv, made on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Some ordinary modules are compiled as well, so every source counts.
SOURCES := $(shell find wsgroups -name '*.py' -o -name '*.pyx' -o -name '*.pxd') setup.py pyproject.toml
PORT ?= 8080
FUZZ_SECONDS ?= 600
FUZZ_SEED ?= 1
SOAK_SECONDS ?= 3600
SOAK_RATE ?= 300
ROUNDS ?= 1
SANITIZED := build/asan
ASAN_SECONDS ?= 60

.PHONY: demo redis test test-cluster test-portable wheel test-wheel test-all check docs format bench scale asan fuzz soak outage autobahn browser-test install clean

install: $(STAMP)

$(STAMP): $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools
	$(BIN)/pip install --quiet --editable '.[test,check,bench,browser,docs]'
	touch $@

redis:
	tests/cluster/ensure_redis.sh

demo: install  ## start the chat and print its address
	$(BIN)/python -m wsgroups examples.chat.app:handle --port $(PORT)

test: install  ## every change: minutes, on all cores
	$(BIN)/python -m pytest -n auto --ignore tests/cluster

test-cluster: install redis  ## several processes and machines, on real brokers: NATS and Redis
	$(BIN)/python -m pytest -n 4 tests/cluster

test-portable: install  ## as test, with every server on the portable driver
	$(BIN)/python -m pytest -n auto --ignore tests/cluster --driver transports

NOX = $(BIN)/pip install --quiet 'wsgroups[dist]' && $(BIN)/nox

wheel: install  ## sdist and wheel in dist/, examined
	$(NOX) -s dist

test-wheel: install redis  ## every test against the wheel, in an environment with nothing else in it
	$(NOX) -s dist wheel-$(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

test-all: install redis  ## as test-wheel, on every Python from 3.11 on that is here
	$(NOX) -s dist wheel

check: install  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint wsgroups
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py tests/test_public_surface.py tests/test_stubs.py
	$(BUILD_DOCS)

docs: install  ## the documentation site, without anything from the internet
	$(BUILD_DOCS)
	@echo "built: $(SITE)/index.html (python -m http.server --directory $(SITE))"

SITE := build/site
# The theme says at length that another major version of MkDocs will come; the extra pins this one.
BUILD_DOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir $(SITE)

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install  ## server CPU against peers: about half an hour, results in benchmarks/results
	$(BIN)/python -m benchmarks.rooms
	$(BIN)/python -m benchmarks.compression
	$(BIN)/python -m benchmarks.hops
	$(BIN)/python -m benchmarks

scale: install redis  ## clusters up to 1,000 nodes: measured, computed, tried; writes docs/scale.md's tables
	$(BIN)/python -m benchmarks.scale

browser-test: install  ## the chat in a real Chromium; screenshots in build/screenshots
	tests/browser/ensure_chromium.sh
	test -d benchmarks/node_modules/ws || npm install --prefix benchmarks --no-audit --no-fund
	$(BIN)/python -m pytest -o addopts="-q --strict-markers" tests/browser

fuzz: install  ## codec and handshake against two others each, for FUZZ_SECONDS in all
	$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)

outage: install redis  ## brokers killed, restarted and frozen under load; prints tables
	$(BIN)/python -m tests.cluster.outage

soak: install  ## connections that come and go for SOAK_SECONDS; results in soak/results
	$(BIN)/python -m soak --seconds $(SOAK_SECONDS) --rate $(SOAK_RATE)

autobahn: install  ## the Autobahn testsuite; STORE=1 stores, COMPRESSION=1 plays more, TLS=1
	$(BIN)/pip install --quiet 'wsgroups[autobahn]'  # is installed already: adds the engine only
	$(BIN)/python -m conformance --rounds $(ROUNDS) $(if $(STORE),--store) \
	    $(if $(COMPRESSION),--compression) $(if $(TLS),--tls) $(if $(DRIVER),--driver $(DRIVER))

# A copy of the tree with the same environment: the first report of a sanitizer ends the run.
# Python's own allocator and its leaks at exit would hide and drown ours.
asan: install  ## codec, connection and TLS under the address and undefined-behaviour sanitizers
	mkdir -p $(SANITIZED)
	rm -rf $(SANITIZED)/tests $(SANITIZED)/fuzz
	tar -cf - --exclude='*.so' --exclude='*.c' --exclude=__pycache__ --exclude=findings \
	    wsgroups tests fuzz setup.py pyproject.toml README.md LICENSE | tar -xf - -C $(SANITIZED)
	cd $(SANITIZED) && WSGROUPS_SANITIZE=1 $(abspath $(BIN))/python setup.py -q build_ext \
	    --inplace -j2 2>build.log || { cat build.log; exit 1; }
	cd $(SANITIZED) && $(WITH_SANITIZERS) $(abspath $(BIN))/python -m pytest --capture=sys \
	    -p no:cacheprovider -o timeout=600 tests/codec tests/connection \
	    tests/tls/test_records.py
	cd $(SANITIZED) && $(WITH_SANITIZERS) $(abspath $(BIN))/python -m fuzz.differential \
	    --seconds $(ASAN_SECONDS) --seed $(FUZZ_SEED)

WITH_SANITIZERS = PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
    UBSAN_OPTIONS=print_stacktrace=1 \
    LD_PRELOAD="$(shell gcc -print-file-name=libasan.so) $(shell gcc -print-file-name=libubsan.so)"

clean:
	rm -rf build *.egg-info
	find wsgroups -name '*.so' -o -name '*.c' | xargs rm -f
