# Only Python >= 3.11, git and a package index are needed; everything lands in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export CREWAI_DISABLE_TELEMETRY = true
export OTEL_SDK_DISABLED = true
# Compiled modules are kept, whatever the environment says: a suite starts many processes, and each would compile its own.
export PYTHONDONTWRITEBYTECODE =

# A spike of gas is shown where there is a chain to show it on.
ANVIL := $(or $(shell command -v anvil),$(wildcard .venv-fetched/anvil/anvil))
# What the second part of the demonstration shows; CrewAI alone is most of the download.
FRAMEWORKS ?= langchain,langgraph,crewai,autogen

# An older Python is refused in one sentence, before anything is installed.
AGE = import sys; print(sys.version.split()[0]); sys.exit(sys.version_info < (3, 11))
new_enough = @found=$$($(PYTHON) -c '$(AGE)') || { echo "Aegis needs Python 3.11 or newer; $(PYTHON) is \
$${found:-not there}. Name another with make PYTHON=python3.12." >&2; exit 1; }

.PHONY: help demo test test-deep check bench pictures clean fetched fetched-deep
help:
	@echo "make demo   run the main job on an embedded server    make test    every test on a real server"
	@echo "make test ROOM=store   the tests of one room          make test-deep   hunts, long runs and soaks (half an hour)"
	@echo "make check  ruff, pyright, import-linter, deptry, CI  make bench   the figures of docs/benchmarks.md"
	@echo "make demo FRAMEWORKS=langchain,langgraph   leaves two out, FRAMEWORKS=none all of them"

$(VENV)/.server: pyproject.toml
	$(new_enough)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[server]'
	@touch $@

# `uv sync` leaves the core alone in the same folder; the rest is then installed again.
ifeq ($(wildcard $(BIN)/pytest),)
.PHONY: $(VENV)/.dev
endif

# The frameworks are a gigabyte: uv installs them in seconds where pip takes minutes.
$(VENV)/.dev: pyproject.toml
	$(new_enough)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --system-certs --compile-bytecode --python $(BIN)/python -e '.[dev]'
	@touch $@ $(VENV)/.server

$(VENV)/.frameworks-$(FRAMEWORKS): pyproject.toml
	@echo "Installing $(FRAMEWORKS) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python -e '.[$(FRAMEWORKS)]'
	@touch $@

demo: $(VENV)/.server
	$(BIN)/aegis demo
ifneq ($(filter-out none,$(FRAMEWORKS)),)
	@$(MAKE) --no-print-directory $(VENV)/.frameworks-$(FRAMEWORKS)
	$(BIN)/python examples/four_frameworks/show.py $(FRAMEWORKS)
endif
	$(BIN)/python examples/changing_one_url.py
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[chains]'
	$(BIN)/python examples/solana_spike.py
ifneq ($(ANVIL),)
	$(BIN)/python examples/gas_spike.py
endif

# What tests need of a package index: they download nothing themselves. Without one this says so, and they are skipped.
fetched: $(VENV)/.dev
	@$(BIN)/python tests/fetching.py

fetched-deep: $(VENV)/.dev
	@$(BIN)/python tests/fetching.py deep

# Tests wait for processes and servers a good part of their time, so there is one worker more than there are cores.
WORKERS ?= $(shell $(BIN)/python -c 'import os; print((os.cpu_count() or 1) + 1)')

test: $(VENV)/.dev fetched
ifeq ($(ROOM)$(ARGS),)
	$(BIN)/python tests/side_by_side.py -rs --durations=20
else
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -rs --durations=20 $(if $(ROOM),--room $(ROOM)) $(ARGS)
endif

# Free hunts for mutants, long state machines and soaks: before a change of the scripts is called done, and nightly.
test-deep: $(VENV)/.dev fetched-deep
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -rs --durations=20 -m deep $(if $(ROOM),--room $(ROOM)) $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/deptry . integrations
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github

bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'limits>=5' pottery python-redis-lock
	for script in decision policy over_http approvals locks adapters proxy overshoot memory kaizen chains; do $(BIN)/python benchmarks/$$script.py || exit 1; done

# The pictures of the first page; they are committed.
pictures: $(VENV)/.server
	$(BIN)/aegis demo --no-pause --svg docs/demo.svg
	$(BIN)/python benchmarks/draw_architecture.py > docs/architecture.svg

clean:
	rm -rf $(VENV) .venv-fetched .venv-pyautogen
