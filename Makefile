# Every target is one `gpa` command; `make setup` makes the environment that they run in.
PYTHON ?= python3.11
PIPELINE ?= laptop
CORPUS ?=
OUT ?= out
CURATED ?= out
TOKENS ?= tokens
TOKENIZER ?= small
MODEL ?= tiny
PHASE ?= pretrain
STEPS ?=
CHECKPOINT ?=
RESUME ?=
SETS ?= curated=$(CURATED)
LIMIT ?=
# The default of OUT is for curated data; the other commands have their own, unless OUT is given.
GIVEN_OUT = $(if $(filter file,$(origin OUT)),,--out "$(OUT)")
VENV := .venv
GPA := $(VENV)/bin/gpa
PIP := $(VENV)/bin/pip --disable-pip-version-check install -q -c constraints.txt
# Two files of tests at a time, in the order in which they are collected.
PYTEST := $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: setup curate doctor verify report tokenize codec train eval demo bench test test-fast faults lint format

setup: $(VENV)/.ready

# Packages whose wheels carry weights or speech that we use, but whose dependencies we do not want.
DATA_WHEELS := whisperx Resemblyzer moonshine-voice pytest-audioeval

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "Installing pinned packages into $(VENV) (about 3 GB, some minutes) ..."
	$(PIP) torch
	$(PIP) -e '.[laptop,train,serve,explore,export]'
	$(PIP) --no-deps --upgrade --target $(VENV)/share/gpa-wheels $(DATA_WHEELS)
	$(VENV)/bin/python -m gpa.curation.prepare.torch_cpu
	$(GPA) doctor --load
	@touch $@

# What tests, checks and the models of the paper's pipeline need besides.
$(VENV)/.ready-dev: $(VENV)/.ready
	$(PIP) -e '.[paper,dev]'
	$(VENV)/bin/python -m gpa.curation.prepare.torch_cpu
	@touch $@

curate: setup
	$(GPA) curate $(if $(CORPUS),--corpus "$(CORPUS)") --out "$(OUT)" --pipeline $(PIPELINE)

doctor: setup
	$(GPA) doctor --pipeline $(PIPELINE)

tokenize: setup
	$(GPA) tokenize --curated "$(CURATED)" $(GIVEN_OUT) --tokenizer $(TOKENIZER)

codec: setup
	$(GPA) codec --curated "$(CURATED)" $(GIVEN_OUT) $(if $(STEPS),--steps $(STEPS)) \
		$(if $(CHECKPOINT),--start "$(CHECKPOINT)") $(if $(RESUME),--resume)

train: setup
	$(GPA) train --model $(MODEL) --phase $(PHASE) --tokens "$(TOKENS)" $(GIVEN_OUT) \
		$(if $(STEPS),--steps $(STEPS)) $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(if $(RESUME),--resume)

eval: setup
	$(GPA) eval --model $(MODEL) --phase $(PHASE) --tokenizer $(TOKENIZER) $(GIVEN_OUT) \
		$(foreach set,$(SETS),--set "$(set)") $(if $(LIMIT),--limit $(LIMIT)) \
		$(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)")

# The chain speaks: the sample corpus by heart, said and converted, heard by the judge. Whatever is
# done already is not done again.
DEMO := --config train/demo.yaml
demo: setup
	$(GPA) curate --out demo/out
	$(GPA) codec --curated demo/out --out demo/codec --resume $(DEMO)
	$(GPA) tokenize --curated demo/out --out demo/tokens --tokenizer demo $(DEMO)
	$(GPA) train --tokens demo/tokens --out demo/model --resume $(DEMO)
	$(GPA) eval --checkpoint demo/model --set curated=demo/out --limit 10 --tokenizer demo --out demo $(DEMO)
	cat demo/eval/tables.md

report: setup
	$(GPA) report "$(OUT)"

verify: setup
	$(GPA) verify "$(OUT)"

bench: $(VENV)/.ready-dev
	$(GPA) bench
	$(VENV)/bin/python -m tests.curation.report.bench_report

test: $(VENV)/.ready-dev
	$(PYTEST)

test-fast: $(VENV)/.ready-dev
	$(PYTEST) -m "not slow"

faults: $(VENV)/.ready-dev
	$(VENV)/bin/python -m pytest -m faults tests/faults

lint: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@mkdir -p build/types/gpa && for room in runtime curation tokenize train eval; do ln -sfn ../../../$$room build/types/gpa/$$room; done
	cd build/types && ../../$(VENV)/bin/mypy --config-file ../../pyproject.toml -p gpa

format: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .
