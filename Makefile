# Two commands are enough: `make run` and `make test`. Both set up the environment first.

PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run plan test ui chat serve lint format use verify

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The project itself is installed editable, which adds the command `gptoss` to the environment.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY) ## set up and run the whole pipeline, from raw text to a registered model
	@$(RUN) -m gptoss.cli run

plan: $(READY) ## show what `make run` would do: raw files, estimated documents, tokens and time
	@$(RUN) -m gptoss.cli plan

test: $(READY) ## set up and run all tests
	@$(RUN) -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

ui: $(READY) ## serve the Prefect and MLflow pages on loopback until Ctrl-C
	@$(RUN) -m gptoss.cli ui

chat: $(READY) ## chat with the Instruct model in the terminal
	@$(RUN) -m gptoss.cli chat

serve: $(READY) ## serve the Instruct model on loopback, OpenAI-compatible, until Ctrl-C
	@$(RUN) -m gptoss.cli serve

use: $(READY) ## choose a size: make use PROFILE=125m (tiny, 125m, 1b, 20b, 30b, 70b)
	@$(RUN) -m gptoss.cli use $(PROFILE)

verify: $(READY) ## check the champion's signature and every hash back to the raw files
	@$(RUN) -m gptoss.cli verify

lint: $(READY) ## check formatting, lint, types and layers
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports

format: $(READY) ## format the code and fix what the linter can
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .
