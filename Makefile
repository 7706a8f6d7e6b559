# Everything runs in .venv, made here on the first call and brought up to date when pyproject.toml or constraints.txt moves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt
INPUTS := pyproject.toml constraints.txt
# constraints.txt pins the oldest Gymnasium that is supported; the contract tests run again with the current one laid over it.
CURRENT_GYMNASIUM := $(VENV)/gymnasium-1.4.0

.DEFAULT_GOAL := help
.PHONY: help demo test slow test-all browser test-docs check format record leaderboard screenshots board docs linkcheck clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# Threads that wait asleep: spinning ones slow each other down tenfold where another process has a core.
demo: export OMP_WAIT_POLICY = PASSIVE
demo: $(VENV)/demo.stamp ## train PPO on Sentiment-v0, score it against the optimum, show its texts
	$(BIN)/python -m agents.demo

# One process per core, each with one thread (tests/conftest.py): several threads each would wait for one another.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

test: $(VENV)/test.stamp check ## lint, types, all tests but the slow ones: some eight minutes on two cores
	$(PYTEST) -m "not slow and not browser and not docs" --durations=30 --durations-min=3

slow: $(VENV)/test.stamp $(VENV)/current-gymnasium.stamp ## the slow tests, and the contract under the current Gymnasium: twenty minutes more
	$(PYTEST) -m "slow and not browser and not docs" --durations=30 --durations-min=10
	PYTHONPATH=$(CURRENT_GYMNASIUM) $(PYTEST) tests/envs

# What test-all has beside make test, a line each.
test-all: test ## make test, and all the rest: slow tests, pages in a browser, the documentation and its cells
test-all: slow
test-all: browser
test-all: test-docs

browser: $(VENV)/test.stamp ## the pages in a headless Chromium, which must be there (apt-get install chromium)
	$(BIN)/python -m pytest -m browser

check: $(VENV)/test.stamp ## ruff and pyright only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/test.stamp ## lay out the code and mend what ruff can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

record: $(VENV)/test.stamp ## after something was added: golden transcripts and fingerprints, cards, the README's lists
	$(BIN)/python -m tests.golden.transcript
	$(BIN)/python -m leaderboard.cards
	$(BIN)/python -m leaderboard.build

leaderboard: $(VENV)/demo.stamp ## redraw the figures and rebuild the table, the page and the README's table
	$(BIN)/python -m leaderboard.plots
	$(BIN)/python -m leaderboard.cards
	$(BIN)/python -m leaderboard.build

screenshots: $(VENV)/test.stamp ## take the README's pictures of the board and of klrl play (apt-get install chromium)
	$(BIN)/python -m leaderboard.screenshots

board: $(VENV)/demo.stamp ## the whole board, a page an entry and an environment, in build/board
	$(BIN)/python -m leaderboard.build --site build/board

# -W: a warning is an error. What a page's cells print is kept in build/docs, and computed again where they moved.
SPHINX := $(BIN)/python -m sphinx -W --keep-going -q
docs: $(VENV)/docs.stamp ## build the documentation and the board into build/docs/html, and check the links within it
	$(SPHINX) -b html docs build/docs/html
	$(BIN)/python -m leaderboard.build --site build/docs/html/board
	$(BIN)/python -m docs.links build/docs/html

linkcheck: $(VENV)/docs.stamp ## ask every address that the documentation names whether it is there
	$(SPHINX) -b linkcheck docs build/docs/linkcheck

test-docs: $(VENV)/test.stamp docs
	$(PYTEST) -m docs tests/docs

clean: ## remove .venv, the caches and what was built
	rm -rf $(VENV) .pytest_cache .ruff_cache build/board build/docs docs/api docs/environments docs/repository

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("klrl needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(INPUTS) | $(BIN)/python
	$(PIP) -e '.[agents,plots]'
	@touch $@

$(VENV)/current-gymnasium.stamp: | $(BIN)/python
	$(BIN)/python -m pip --disable-pip-version-check install --no-deps --target $(CURRENT_GYMNASIUM) gymnasium==1.4.0
	@touch $@

$(VENV)/test.stamp: $(INPUTS) | $(BIN)/python
	$(PIP) -e '.[agents,build,plots,dev]'
	@touch $@ $(VENV)/demo.stamp

$(VENV)/docs.stamp: $(INPUTS) | $(BIN)/python
	$(PIP) -e '.[agents,plots,docs]'
	@touch $@
