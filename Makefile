# Everything that a newcomer or CI runs. Needs GNU make, bash and a Python with
# its venv module; each target sets up the rest.
#
#   PYTHON=python3.12 make test        another Python than python3
#   FREE_THREADED=/path/python3.14t    one more for test-all; msgspec takes no
#                                      free-threaded Python before 3.14

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# One at a time: two targets would set up the same environment at once.
.NOTPARALLEL:

PYTHON ?= python3
VENV ?= .venv
PYTHONS ?= 3.11 3.12 3.13
FREE_THREADED ?=
# Tests start a hundred processes: none of them should compile the package again.
unexport PYTHONDONTWRITEBYTECODE
# Arguments for pytest, as in: make test ARGS="-k mailbox -x"
ARGS ?=
# Processes that share the tests: one more than there are processors, as a test waits
# for a quarter of its time.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')

BIN := $(VENV)/bin
# The stamps carry the version and the place: another Python, or a checkout that
# has been moved, makes the environment new.
STAMP := $(shell $(PYTHON) -c 'import sys, zlib; \
	print("%d.%d.%d" % sys.version_info[:3] + "-%08x" % zlib.crc32(sys.argv[1].encode()))' \
	'$(CURDIR)' 2>/dev/null)
MADE := $(VENV)/.made-$(STAMP)
DEMO := $(VENV)/.demo
DEV := $(VENV)/.dev

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'kinesis needs Python 3.11 or later as $(PYTHON): make PYTHON=...' >&2; exit 2; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

# An older wheel rather than a newest source that needs a compiler: not every release
# of a dependency has one for every Python, such as the free-threaded.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--prefer-binary --editable

$(DEMO): $(MADE) setup.cfg pyproject.toml
	$(INSTALL) '.[demo]'
	touch $@

$(DEV): $(MADE) setup.cfg pyproject.toml
	$(INSTALL) '.[dev]'
	touch $@ $(DEMO)

# With ctrl-c a terminal interrupts make too, and make would then report 130
# whatever kinesis answers. `set -m` gives the program the terminal for itself, so
# that make lives to report its exit code; ctrl-z, which make could not pass on, is
# ignored. Without a terminal there is nothing to hand over.
.PHONY: demo
demo: $(DEMO) ## run the demo; ctrl-c stops it
	@if [ -t 2 ]; then trap '' TSTP; set -m; fi; \
	$(BIN)/kinesis run demo/demo.yaml; exit $$?

# `coverage run` and not a plugin of pytest's: pytest imports kinesis (its own
# plugin) before any other plugin could begin to measure. What measures sees few of
# the seeds of a test: the others go through the same lines in another order, and take
# three times as long when each line is noted.
.PHONY: test
test: $(DEV) ## run the default suite; branch coverage must be 95 % or more
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $(JOBS) --kinesis-traced-seeds=3 $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

.PHONY: test-all
test-all: ## the default suite on every supported Python
	@for version in $(PYTHONS); do \
	  python=$$(python$$version -c 'import sys; print(sys.executable)' 2>/dev/null \
	    || ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python 2>/dev/null \
	    | sort -V | tail -n 1); \
	  [ -n "$$python" ] || { echo "no python$$version here: install it, or name" \
	    "those you have: make test-all PYTHONS='3.11 3.13'" >&2; exit 2; }; \
	  $(MAKE) --no-print-directory test-one PYTHON="$$python" VENV=.venv-$$version; \
	done
	@if [ -n '$(FREE_THREADED)' ]; then \
	  $(MAKE) --no-print-directory test-one PYTHON='$(FREE_THREADED)' \
	    VENV=.venv-free-threaded; \
	else echo 'not run without the GIL: name one that can, FREE_THREADED=...'; fi

$(VENV)/.test: $(MADE) setup.cfg pyproject.toml
	$(INSTALL) '.[test]'
	touch $@

# No coverage here: `make test` measures it, and measuring slows threads down.
.PHONY: test-one
test-one: $(VENV)/.test
	@$(BIN)/python -VV
	$(BIN)/python -m pytest -q -n $(JOBS) $(ARGS)

.PHONY: check
check: check-style check-types docs check-wheel ## report on style, types, docs and wheel; edits nothing

.PHONY: check-style
check-style: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: check-types
check-types: $(DEV)
	$(BIN)/mypy kinesis $(wildcard demo benchmarks)

# The wheel must be whole: installed alone it imports, and its command runs. What
# an earlier build has left (build/lib) would be packed again, removed or not.
.PHONY: check-wheel
check-wheel: $(DEV)
	rm -rf build/lib build/bdist.* build/wheel build/empty
	$(BIN)/python -m build --wheel --outdir build/wheel . >/dev/null
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check \
	  build/wheel/*.whl
	cd build/empty && bin/python -c 'import kinesis; print(kinesis.__file__)' \
	  && bin/kinesis --version && bin/python -m kinesis stages >/dev/null

.PHONY: format
format: $(DEV) ## format and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: stress
stress: $(DEV) ## thousands of repeats under a tiny switch interval
	$(BIN)/python -m pytest -m stress --hypothesis-profile=stress -n $(JOBS) $(ARGS)

.PHONY: bench
bench: $(DEV) ## every benchmark, a table each
	@for name in lifecycle messages http; do \
	  echo "# benchmarks/$$name.py"; $(BIN)/python -m benchmarks.$$name || exit; \
	done

.PHONY: docs
docs: $(DEV) ## build the documentation into build/docs; a warning is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/docs

.PHONY: clean
clean: ## remove everything that the other targets make
	rm -rf .venv .venv-* build dist *.egg-info .coverage .coverage.* \
	  .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
