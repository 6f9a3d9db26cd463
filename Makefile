# Two commands do everything: `make book` and `make test`. Each makes the environment first if it is not there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HERE := $(CURDIR)
JOBS ?= 2

# What a run needs and what it leaves behind stays inside the repository; nothing of the user's own settings is read.
# A path may hold spaces: commands name files relative to this folder.
export PATH := $(if $(filter /%,$(VENV)),,$(HERE)/)$(BIN):$(PATH)
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_CONFIG_DIR := $(HERE)/_build/home/jupyter
export IPYTHONDIR := $(HERE)/_build/home/ipython
export MPLCONFIGDIR := $(HERE)/_build/home/matplotlib
export OMP_NUM_THREADS ?= 1
export PYTHONHASHSEED := 0
export PYDEVD_DISABLE_FILE_VALIDATION := 1
PYTEST := "$(BIN)/python" -m pytest -n $(JOBS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help environment notebooks book pages test check bench zoo gradebook grade-demo lab clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv "$(VENV)" || { echo "python -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing the environment into $(VENV): about three minutes, 2.2 GB (more with a CUDA build of torch) ..."
	@"$(BIN)/python" -m pip install -q --disable-pip-version-check `grep -i '^torch==' requirements.txt`
	@"$(BIN)/python" -m pip install -q --disable-pip-version-check -r requirements.txt
	@"$(BIN)/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch "$@"

environment: $(VENV)/.ready ## make the pinned environment

notebooks: $(VENV)/.ready ## build notebooks/ from solutions/
	@mkdir -p _build/home
	@"$(BIN)/python" -m scripts.notebooks --source _build/source

book: $(VENV)/.ready notebooks ## build the executed book
	@"$(BIN)/python" -m scripts.book --jobs $(JOBS)

test: $(VENV)/.ready ## run all tests
	@mkdir -p _build/home
	@$(PYTEST) --durations=15

pages: book ## look at the built pages in a headless Chromium
	@"$(BIN)/python" -m pytest -n $(JOBS) --dist worksteal tests/test_pages.py

check: $(VENV)/.ready ## lint, fast tests, notebooks up to date: about three minutes
	@mkdir -p _build/home
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .
	@$(PYTEST) --dist worksteal -m "not slow and not browser"
	@"$(BIN)/python" -m scripts.notebooks --check

bench: $(VENV)/.ready notebooks ## measure speed against other libraries
	@for script in benchmarks/[a-z]*.py; do case $$script in */harness.py) ;; *) "$(BIN)/python" $$script || exit 1 ;; esac; done

zoo: $(VENV)/.ready ## train the small models of the course anew, or go on with that: some hours
	@"$(BIN)/python" -m lecture_lib.zoo train all --resume --out zoo

gradebook: notebooks ## register the assignments in nbgrader's gradebook
	@for folder in notebooks/*/; do "$(BIN)/python" -m nbgrader generate_assignment --create --force $$(basename $$folder) || exit 1; done
	@"$(BIN)/python" -m scripts.notebooks # nbgrader has written its own form of the cells to mend and to fill in

grade-demo: notebooks ## grade an invented class of thirty, from folder to report
	@"$(BIN)/python" -m scripts.demo_class

lab: $(VENV)/.ready ## open JupyterLab with nbgrader's formgrader
	@"$(BIN)/python" -m jupyterlab --LabApp.default_url=/lab/tree/notebooks

clean: ## remove everything that was built; the environment and _grading stay
	rm -rf _build book/_static/vendor .pytest_cache .ruff_cache .hypothesis
