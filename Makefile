# Each target first creates .venv with the pinned requirements if it is missing.

PYTHON ?= python3
STORE ?= local
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help demo test quick check format bench model clean

help:
	@echo "make demo [STORE=s3]   run the whole pipeline on this machine (three to eight minutes)"
	@echo "make test              run all tests"
	@echo "make quick             run the fast tests, which need neither Ray nor S3 nor a browser"
	@echo "make check             lint, format, import layers, types"
	@echo "make format            format the code and fix what the linter can fix"
	@echo "make bench             run the benchmarks with their defaults"
	@echo "make model             train the model that the package ships (about an hour on two cores), evaluate it"
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
RERUN := --reruns 1 --only-rerun "Timeout" --only-rerun "the condition did not hold within"
test: quick
	$(BIN)/python -m pytest -n 2 $(RERUN) -m "(slow or web) and not ray and not s3" $(ARGS)
	$(BIN)/python -m pytest $(RERUN) -m "ray or s3" $(ARGS)

quick: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 -m "not ray and not s3 and not web and not slow" $(ARGS)

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

# Fresh sounds in each epoch: 128,000 x MODEL_EPOCHS in all. To continue after an interruption, run it again.
MODEL_EPOCHS ?= 30
# A CPU without bfloat16 instructions (AVX512-BF16 or AMX) is faster with float32.
MODEL_PRECISION ?= mixed_bfloat16
MODEL := $(or $(SYNTHRAY_HOME),$(HOME)/.synthray)/models/histogram
model: $(INSTALLED)
	$(BIN)/python -m synthray.cli.main train --data "synth://?seed=20261129&batches=4000&fresh=1&dtype=float16" \
		--out "$(MODEL)" --workers 1 --network histogram --epochs $(MODEL_EPOCHS) --batch-size 512 --audible-only \
		--optimizer adamw --learning-rate 0.002 --weight-decay 0.01 --schedule cosine --warmup-steps 500 --clip-norm 5 \
		--precision $(MODEL_PRECISION)
	$(BIN)/python infra/ship_model.py "$(MODEL)/model_4000_$(MODEL_EPOCHS).keras"
	$(BIN)/python -m synthray.cli.main evaluate --model "$(MODEL)/model_4000_$(MODEL_EPOCHS).keras"

clean:
	rm -rf .venv demo build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
