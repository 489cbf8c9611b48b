# make demo | test | check | bench | model — each makes the virtual environment first, where it is missing.

PYTHON ?= python3
STORE ?= local
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help demo test quick check format bench model clean

help:
	@echo "make demo [STORE=s3]   the whole pipeline on this machine, in about three minutes"
	@echo "make test              the whole test suite"
	@echo "make quick             the tests that need neither Ray nor an S3 server"
	@echo "make check             lint and format"
	@echo "make format            format the code, mend what can be mended"
	@echo "make bench             each script of benchmarks/ as it is; README says which flags its numbers need"
	@echo "make model             3500 batches and 3 epochs on them, under SYNTHRAY_HOME"
	@echo "make clean             remove what these made"

$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "synthray needs Python 3.11 or newer; say make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python infra/demo.py --store $(STORE)

test: quick
	$(BIN)/pytest -m "ray or s3" $(ARGS)

quick: $(INSTALLED)
	$(BIN)/pytest -n 2 -m "not ray and not s3" $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	@for script in benchmarks/*.py; do echo "── $$script"; $(BIN)/python $$script || exit 1; done

model: $(INSTALLED)
	$(BIN)/python jobs/generate.py --batches 3500 --format parquet --dtype float16
	$(BIN)/python jobs/train.py --workers 1 --epochs 3 --batch-size 128 --network log --optimizer adamw --schedule cosine \
		--warmup-steps 200
	$(BIN)/python jobs/evaluate.py

clean:
	rm -rf .venv demo build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
