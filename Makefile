# Every command a contributor or CI needs. `make smoke` and `make test` work on a fresh clone.
PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
BIN := .venv/bin
PACKAGES := flows tasks lm tokenizer artifacts

.PHONY: install check format test test-slow test-random smoke bench mutation golden clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,s3]"
	touch $@

smoke: install
	$(BIN)/owt run --preset smoke

test: install
	$(BIN)/python -m pytest

test-slow: install
	$(BIN)/python -m pytest -m slow --timeout=1800

test-random: install
	$(BIN)/python -m pytest --random-order

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m benchmarks

mutation: install
	$(BIN)/python -m benchmarks.mutation --out mutation.jsonl

golden: install
	$(BIN)/python -m tokenizer.kernels.classify.classes
	$(BIN)/python -m pytest tests/flows/test_golden.py --write-golden

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
