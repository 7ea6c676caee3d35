# ganbook: every command sets up what it needs in .venv first.  PYTHON=python3.12 make test  chooses the interpreter.
PYTHON ?= python3
BIN    := .venv/bin
export PYTHONPATH :=
.DEFAULT_GOAL := help
.PHONY: help train test quick shake check lab render page slides bench export clean

help:          ## this list
	@sed -n 's|^\([a-z]*\):.*## |  make \1\t|p' $(MAKEFILE_LIST)

.venv/ok: settings.ini setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ganbook wants Python 3.11 or newer, and $(PYTHON) is not: say which one to use, as in  make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "[1/2] making .venv with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv .venv || { echo "this Python cannot make virtual environments: on Debian or Ubuntu, apt install python3-venv" >&2; exit 2; }
	@echo "[2/2] installing ganbook and the tested versions of what it uses: about two minutes, up to 3 GB with CUDA" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on -e '.[dev]' -c constraints.txt
	@touch $@

train: .venv/ok ## train a GAN on drawn faces; the last line is the path of a picture of what it draws
	@$(BIN)/ganbook train pictures32 --data faces

test: .venv/ok  ## everything: exports in step, every chapter and solution, stored outputs, tests, lint
	@OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/run.py

quick: .venv/ok ## while working: exports in step, lint, the fast tests, the chapters that differ from main; under 3 minutes
	@OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/run.py --quick

shake: .venv/ok ## the book on imitated processors, two threads, weights off by a millionth: make shake, or make shake flags='09_dcgan --seeds 1 2'
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/shake.py $(flags)

check: test     ## the same as make test

lab: .venv/ok   ## JupyterLab on the first chapter; make lab flags=--no-browser on a machine without one
	@$(BIN)/jupyter lab nbs/00_faces.ipynb $$(test $$(id -u) != 0 || echo --allow-root) $(flags)

render: .venv/ok ## execute and keep outputs and claims: make render nb=01_game, or all; GANBOOK_SCALE=quick|full
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/render.py $(nb)
	@$(BIN)/python tools/readme.py && $(BIN)/python tools/index.py

page: .venv/ok   ## the book as a web page, build/page/index.html; no network; make page flags=--without-solutions
	@$(BIN)/python docs/pages.py $(flags) && echo "$(CURDIR)/build/page/index.html"

slides: .venv/ok ## the chapters as slides, build/slides/index.html, or make slides nb=01_game; flags=--without-solutions
	@$(BIN)/python docs/slides.py $(flags) $(nb)

bench: .venv/ok ## milliseconds a step of fit beside a hand-written loop and the textbook's
	@OMP_NUM_THREADS=1 $(BIN)/python -m trials.loop

export: .venv/ok ## clean the notebooks and write ganbook/*.py from them
	@PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_clean && PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_export

clean:          ## remove .venv, caches and runs
	rm -rf .venv .pytest_cache .ruff_cache runs build *.egg-info
