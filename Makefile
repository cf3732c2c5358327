# Everything sets itself up from nothing: only Python 3.11 or newer and make are needed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check browser fix bench train-mini host

SUITABLE := for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done
PYTHON ?= $(shell $(SUITABLE))
BIN := .venv/bin
READY := .venv/.ready
# ComfyUI checkouts that tests/host starts: COMFYUI_PATH, else every ~/ComfyUI*
CHECKOUTS := $(patsubst %/main.py,%,$(wildcard $(or $(COMFYUI_PATH),$(HOME)/ComfyUI*)/main.py))
HOST_READY := .venv/.host

# small tensors gain nothing from more threads, and two test runs may share a machine
export OMP_NUM_THREADS ?= $(shell n=$$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))
export TOKENIZERS_PARALLELISM := false
export HF_HUB_OFFLINE := 1
# the oldest frontend that a checkout asks for; the newest is installed (tests/browser)
export SPATIAL_MEMORY_FRONTENDS ?= $(CURDIR)/.venv/frontends

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(READY): pyproject.toml requirements.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer was found: install one, or give PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev,train]'
	mkdir -p .venv/typed && ln -sfn ../.. .venv/typed/spatial_memory
	touch $@

demo: $(READY)  ## the closed loop on the bundled photograph, with its report
	$(BIN)/spatial-memory run workflows/closed_loop.json --output output
	@echo "The film is under output/spatial_memory/, the report in output/report.json and output/report.png." >&2

test: check $(if $(CHECKOUTS),host)  ## lint, types and all tests: what CI runs
	$(BIN)/python -m pytest

check: $(READY)  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.venv/typed $(BIN)/mypy -p spatial_memory.memory -p spatial_memory.rollout

browser: $(READY) $(if $(CHECKOUTS),host)  ## the path editor in Chromium on every ComfyUI, with its times; needs a quiet machine
	SPATIAL_MEMORY_BROWSER=all $(BIN)/python -m pytest tests/browser -s

fix: $(READY)  ## format, and mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## benchmarks, one JSON object a line; DATA=folder of posed RGB-D sequences
	@$(BIN)/python benchmarks/run.py $(if $(DATA),--data '$(DATA)')

TRAIN := $(BIN)/python -m spatial_memory.training
# one held-out set, two sizes to train on; every step resumes where it was stopped
train-mini: $(READY)  ## train the three mini models from nothing into runs/ and models/mini; resumable, hours on a CPU
	$(TRAIN).clips --out runs/clips/demo --size 192x320 --count 200 --processes $(OMP_NUM_THREADS)
	$(TRAIN).clips --out runs/clips/small --size 64x96 --count 900 --processes $(OMP_NUM_THREADS)
	$(TRAIN).clips --out runs/clips/held_out --size 192x320 --count 12 --split held_out --processes $(OMP_NUM_THREADS)
	$(TRAIN).codec --clips runs/clips/demo runs/clips/small --held-out runs/clips/held_out --limit 900 --minutes 17
	$(TRAIN).latent_rgb
	$(TRAIN).geometry --clips runs/clips/demo runs/clips/small --held-out runs/clips/held_out --minutes 14
	$(TRAIN).latents --clips runs/clips/small --out runs/latents/small --variants 3 --processes $(OMP_NUM_THREADS)
	$(TRAIN).latents --clips runs/clips/demo --out runs/latents/demo --variants 2 --processes $(OMP_NUM_THREADS)
	$(TRAIN).world --latents runs/latents/small runs/latents/demo --minutes 66

host: $(HOST_READY)  ## what the ComfyUI checkouts need, so that tests/host can start them

# Never torchaudio: its wheels lag behind torch, and then transformers does not import. Templates and embedded docs are
# hundreds of megabytes that no test looks at; the server does without them.
$(HOST_READY): $(READY) $(addsuffix /requirements.txt,$(CHECKOUTS))
	@test -n "$(CHECKOUTS)" || { echo "no ComfyUI found: set COMFYUI_PATH to a checkout" >&2; exit 1; }
	sed -E '/^(torchaudio|comfyui-workflow-templates|comfyui-embedded-docs)/d; s/^(comfyui-[a-z-]+)==.*/\1/' $(addsuffix /requirements.txt,$(CHECKOUTS)) | sort -u > .venv/host.txt
	$(BIN)/python -m pip install --quiet -r .venv/host.txt
	oldest=$$(sed -nE 's/^comfyui-frontend-package==//p' $(addsuffix /requirements.txt,$(CHECKOUTS)) | sort -V | head -1); \
	test -z "$$oldest" || $(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv/frontends/$$oldest comfyui-frontend-package==$$oldest
	touch $@
