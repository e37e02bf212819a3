# Everything runs in .venv, which is made on first use and again only when pyproject.toml changes.
# PYTHON names the interpreter it is made from; SOURCE the media file of `make demo`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
LOG := $(VENV)/install.log
FREE_GB := 15
DEVELOPMENT := [dev,train]

# Quiet while all goes well: what pip says goes to a file, and its end to the terminal when it fails. Its scratch files
# lie in .venv too, since a /tmp in memory may be too small for them.
install = mkdir -p $(VENV)/tmp; TMPDIR="$(CURDIR)/$(VENV)/tmp" \
  $(BIN)/python -m pip install --progress-bar off --disable-pip-version-check -e '.$(1)' >>$(LOG) 2>&1 \
  || { tail -n 15 $(LOG) | cut -c -300 >&2; echo "installing failed; all that pip said is in $(LOG)" >&2; exit 1; }

export SOURCE

.PHONY: help setup demo test lint format soak clean

help: ## List these targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(VENV)/dev.stamp ## Install everything, the developers' tools included

demo: $(VENV)/loads.stamp ## Predictions of the sample clip, or of SOURCE=any.mp4, received over ZeroMQ
	@$(BIN)/affectstream demo --once $${SOURCE:+"$$SOURCE"}

test: $(VENV)/dev.stamp ## Run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: $(VENV)/dev.stamp ## Check format, style, types and who may import whom
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.stamp ## Format the code and mend what can be mended without thought
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

soak: $(VENV)/loads.stamp ## A simulated day of alignment, then an hour of the pipeline on a looped clip: speed and memory
	@$(BIN)/affectstream bench alignment --soak-hours 24 --json
	@$(BIN)/affectstream bench pipeline $${SOURCE:+"$$SOURCE"} --loop 60m --json

clean: ## Remove the environment and everything that was built
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find stream operators deploy tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@free=$$(( $$(df -Pk . | awk 'NR == 2 { print $$4 }') / 1048576 )); \
	if (( free < $(FREE_GB) )); then \
	  echo "disk: found $$free GB free, expected $(FREE_GB) GB; the packages (PyTorch with CUDA, mostly) take 7 GB," \
	    "and their download as much again on the way" >&2; exit 1; \
	fi
	@python=; for candidate in "$${PYTHON:-}" python3.11 python3 python3.12 python3.13; do \
	  if [[ -n $$candidate ]] && "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	if [[ -z $$python ]]; then \
	  echo "python: found none, expected Python 3.11 or newer; install it or say where it is: make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version)"; \
	if ! "$$python" -m venv $(VENV); then \
	  rm -rf $(VENV); echo "python: it can't make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; \
	fi

$(VENV)/installed.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing packages into $(VENV): 7 GB and some minutes the first time (progress: $(LOG))"
	@$(call install)
	@touch $@

$(VENV)/loads.stamp: $(VENV)/installed.stamp
	@if ! $(BIN)/python -c 'import cv2'; then \
	  echo "opencv-python: a system library is missing; on Debian: apt-get install libgl1 libglib2.0-0 libxcb1" >&2; exit 1; \
	fi
	@touch $@

$(VENV)/dev.stamp: $(VENV)/loads.stamp
	@$(call install,$(DEVELOPMENT))
	@touch $@
