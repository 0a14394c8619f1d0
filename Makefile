# Every target makes the environment first when it is missing or requirements.lock has changed.

PYTHON ?= python3
PORT ?= 8000
NAME ?=
ARGS ?=

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup book quick chapter again serve pdf lab slides students homework mark test bench lint format clean distclean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F '|' '{printf "make %-10s %s\n", $$1, $$2}'

setup: $(READY)  ## the environment alone, in .venv

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed, $(PYTHON) is older: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Installing the packages of requirements.lock into .venv, once: a minute or a few"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

book: $(READY)  ## everything at full size, to _build/html
	$(BIN)/python book/build.py book

quick: $(READY)  ## the same chapters, small, to _build/quick/html
	$(BIN)/python book/build.py quick

chapter: $(READY)  ## one chapter with other parameters: NAME=07_recovery ARGS="seed=3 d=20"
	@test -n "$(NAME)" || { echo 'which chapter? make chapter NAME=07_recovery ARGS="seed=3 d=20"' >&2; exit 2; }
	$(BIN)/python book/build.py chapter $(NAME) $(ARGS)

again: $(READY)  ## execute once more from nothing and compare with the book, byte for byte: NAME=05_landscape for one chapter, ARGS="--profile quick"
	$(BIN)/python book/build.py again $(NAME) $(ARGS)

serve: $(READY)  ## serve the book that was built last: the full one, else the quick one
	@for place in _build/html _build/quick/html; do \
		if test -f $$place/index.html; then \
			echo "$$place: http://localhost:$(PORT)/ (Ctrl-C ends)"; \
			$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $$place || \
				{ echo "is port $(PORT) taken? make serve PORT=8001" >&2; exit 1; }; \
			exit; \
		fi; \
	done; echo "nothing to serve yet: make book" >&2; exit 1

pdf: $(READY)  ## the book built last as one PDF, _build/book.pdf, printed by Chromium: ARGS=students for that edition
	$(BIN)/python book/build.py pdf $(ARGS)

lab: $(READY)  ## the chapters in JupyterLab, in the folder lab, to run and to change: as last built, else as written
	@$(BIN)/python book/build.py lab
	@test -x $(BIN)/jupyter-lab || { echo "Installing JupyterLab into .venv, once"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c requirements.lock -e ".[lab]"; }
	$(BIN)/jupyter-lab --notebook-dir=lab $(ARGS)

slides: $(READY)  ## the slides of the book built last, each in one file to carry, in _build/slides: NAME=05_landscape for one
	$(BIN)/python book/build.py slides $(NAME)

students: $(READY)  ## the book without solutions, to _build/students/html: ARGS=quick for the small one
	$(BIN)/python book/build.py students $(ARGS)

homework: $(READY)  ## a chapter's exercises as a notebook to hand out, and its twin with solutions: NAME=05_landscape or NAME=5
	@test -n "$(NAME)" || { echo 'which chapter? make homework NAME=05_landscape, or NAME=5' >&2; exit 2; }
	$(BIN)/python book/build.py homework $(NAME)

mark: $(READY)  ## the checks of a homework that came back: NAME=05_landscape ARGS=returned.ipynb
	@test -n "$(NAME)" -a -n "$(ARGS)" || { echo 'make mark NAME=05_landscape ARGS=returned.ipynb' >&2; exit 2; }
	$(BIN)/python book/build.py mark $(NAME) $(ARGS)

test: $(READY)  ## the tests, the quick book and its pages in a browser among them
	$(BIN)/python -m pytest -n 2 $(ARGS)

bench: $(READY)  ## one table of what is reached and what it costs, as ratios: ARGS="limits moments" for a part
	$(BIN)/python -m benchmarks.run $(ARGS)

lint: $(READY)  ## ruff, mypy, codespell, and the schemas of what other programs read
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(wildcard moe book tests benchmarks)
	$(BIN)/codespell
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/book.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

format: $(READY)  ## let ruff format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was built
	rm -rf _build

distclean: clean  ## remove the environment too
	rm -rf .venv
