# Each target first creates .venv with the pinned requirements if it is missing.

PYTHON ?= python3
STORE ?= local
BIN := .venv/bin
INSTALLED := .venv/installed

# The tests start hundreds of processes. With this variable set, each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test quick check format bench model draft clean

help:
	@echo "make demo [STORE=s3]   run the whole pipeline on this machine (three to eight minutes)"
	@echo "make test              run all tests"
	@echo "make quick             run the fast tests, which need neither Ray nor S3 nor a browser"
	@echo "make check             lint, format, import layers, types"
	@echo "make format            format the code and fix what the linter can fix"
	@echo "make bench             run the benchmarks with their defaults"
	@echo "make model             train the model that the package ships (about an hour on two cores), evaluate it"
	@echo "make draft             train a model in some three minutes; it is not shipped"
	@echo "make clean             remove what these targets created"

$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "synthray: Python %d.%d is not supported. Use Python 3.11 to 3.13, for example: make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python infra/demo.py --store $(STORE)

# A browser or a cluster may stall once on a busy machine, so a test that waited too long runs again.
RERUN := --reruns 1 --only-rerun "[Tt]imeout" --only-rerun "the condition did not hold within"
test: quick
	$(BIN)/python -m pytest -n 2 $(RERUN) -m "(slow or web or s3) and not ray" $(ARGS)
	$(BIN)/python -m pytest $(RERUN) -m ray $(ARGS)

quick: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not ray and not s3 and not web and not slow" $(ARGS)

check: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo
	$(BIN)/python -m mypy

format: $(INSTALLED)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: $(INSTALLED)
	@for name in render convert read train; do echo "── $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

# A CPU without bfloat16 instructions (AVX512-BF16 or AMX) is faster with float32.
MODEL_PRECISION ?= mixed_bfloat16
MODELS := $(or $(SYNTHRAY_HOME),$(HOME)/.synthray)/models
TRAIN_MODEL = $(BIN)/python -m synthray.cli.main train --workers 1 --network histogram --batch-size 1024 --audible-only \
	--optimizer muon --learning-rate 0.012 --weight-decay 0.01 --schedule cosine --clip-norm 5 --precision $(MODEL_PRECISION)

# Fresh sounds in each epoch: 128,000 x MODEL_EPOCHS in all. Then the heads are trained by the sounds of their answers.
# To continue after an interruption, run it again.
MODEL_EPOCHS ?= 40
MODEL := $(MODELS)/histogram/model_4000_$(MODEL_EPOCHS)
model: $(INSTALLED)
	$(TRAIN_MODEL) --data "synth://?seed=20261129&batches=4000&fresh=1&dtype=float16" --out "$(MODELS)/histogram" \
		--epochs $(MODEL_EPOCHS) --warmup-steps 150
	$(BIN)/python infra/train_by_sound.py "$(MODEL).keras"
	$(BIN)/python infra/ship_model.py "$(MODEL)_by_sound.keras"
	$(BIN)/python -m synthray.cli.main evaluate --model "$(MODEL)_by_sound.keras"

draft: $(INSTALLED)
	$(TRAIN_MODEL) --data "synth://?seed=20261130&batches=7000&fresh=1&dtype=float16" --out "$(MODELS)/draft" --epochs 1 --warmup-steps 30

clean:
	rm -rf .venv demo build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
