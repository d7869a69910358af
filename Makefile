# Everything runs in ./.venv, which is set up on first use and re-used while it is current.
# Needs Python 3.10 or later with venv and a package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# CPU=1 installs PyTorch without CUDA, from the address in TORCH_CPU_INDEX.
CPU ?=

# One thread per process: the tests run on as many processes as there are cores. Tests that follow each other run in one
# process, which makes their fixtures once (worksteal). The processes that they start need the compiled modules.
JOBS ?= auto
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONWARNINGS=ignore PYTHONDONTWRITEBYTECODE=
ARGS ?=
# Threads that wait for each other sleep: the processes that load the clips need the cores too.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help env lint test docs demo demo-photos clean

help:
	@echo 'make demo    make a small dataset, train VCT on it, test it, draw the results (CPU, a few minutes)'
	@echo 'make demo-photos  the same on photographs with recordings, which it fetches (CPU, about half an hour)'
	@echo 'make test    run the tests (ARGS="-k name" to choose, JOBS=1 for one process)'
	@echo 'make lint    check the code with ruff'
	@echo 'make docs    build the documentation into docs/_build/html, warnings are errors'
	@echo 'make env     set up $(VENV) only (CPU=1: with PyTorch without CUDA, a small download)'
	@echo 'make clean   remove $(VENV), built docs and caches'

env:
	@$(PYTHON) tools/setup_env.py $(if $(CPU),--cpu) $(VENV)

lint: env
	@$(BIN)/ruff check .

test: env
	@$(TEST_ENV) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

docs: env
	@$(TEST_ENV) $(BIN)/python -m sphinx -W --keep-going -q -j auto docs docs/_build/html
	@echo docs/_build/html/index.html

demo: env
	@$(BIN)/python demo/run_demo.py $(ARGS)

demo-photos: env
	@$(BIN)/python demo/run_photo_demo.py $(ARGS)

clean:
	@rm -rf $(VENV) .ruff_cache *.egg-info build docs/_build docs/generated
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
