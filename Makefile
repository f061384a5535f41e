# coloproxy: `make demo` shows it at work, `make test` tests it; each sets up what it needs in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNS ?= 10000
FUZZ_SECONDS ?= 60
SEED ?= 1
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help demo test bench lint fuzz soak docs clean

help:
	@echo "make demo   two replicas of a real TCP stream, compared; one byte changed; FTP through the whole of it"
	@echo "make demo WATCH=1   the first of these, and then on and on, with a page to watch"
	@echo "make test   all tests"
	@echo "make bench  against QEMU's colo-compare and a relay that compares nothing"
	@echo "make lint   style, types, and which room may import which"
	@echo "make fuzz   every parser and the comparator, FUZZ_SECONDS=$(FUZZ_SECONDS) each"
	@echo "make soak   the long property tests, RUNS=$(RUNS); all loads at once for 10 minutes; guests, as root"
	@echo "make docs   the documentation as a site, in site/"

# What is compiled has a .pxd beside it (setup.py); after a change it is compiled anew.
COMPILED := $(wildcard src/coloproxy/*/*.pxd src/coloproxy/*/*/*.pxd)

$(BIN)/.test: pyproject.toml setup.py $(COMPILED) $(COMPILED:.pxd=.py)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -e '.[plot,test]'
	touch $@

$(BIN)/.lint: $(BIN)/.test
	$(BIN)/pip install -q -e '.[lint,docs]' cython
	touch $@

$(BIN)/.fuzz: $(BIN)/.test
	$(BIN)/pip install -q -e '.[fuzz]'
	touch $@

demo: $(BIN)/.test
	$(BIN)/python -m demo $(if $(WATCH),--watch)
	$(if $(WATCH),,$(BIN)/coloproxy demo)

test: $(BIN)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not qemu"
	$(BIN)/python -m pytest -n 2 --dist loadfile -m qemu tests/qemu tests/docs
	$(BIN)/python -m pytest -m qemu --ignore tests/qemu --ignore tests/docs

bench: $(BIN)/.test
	$(BIN)/python bench/run.py

lint: $(BIN)/.lint
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(BIN)/.fuzz
	$(BIN)/python fuzz/all.py --seconds $(FUZZ_SECONDS)

soak: $(BIN)/.test
	COLOPROXY_RUNS=$(RUNS) COLOPROXY_SEED=$(SEED) HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest --timeout 0 tests/compare tests/qemu
	$(BIN)/python bench/soak.py
	$(BIN)/python bench/guest.py rounds kill cut --rounds 20 --kills 50 --cuts 200 --seed $(SEED)
	$(BIN)/python bench/guest.py rounds kill --rounds 20 --kills 20 --network vhost-user --seed $(SEED)
	$(BIN)/python bench/guest.py faults --seed $(SEED) --seeds 3
	$(BIN)/python bench/guest.py faults --seed $(SEED) --disk 16

docs: $(BIN)/.lint
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf build out site .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name '*.so' -path './src/*' -delete
