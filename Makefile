# The index of chores. `make book` and `make test` are all a fresh machine needs.
PYTHON ?= python3
VENV := .venv/bin
JOBS ?= 2
export PYTHONNOUSERSITE := 1
export OMP_NUM_THREADS := 1
.DEFAULT_GOAL := help
.PHONY: help setup book serve test notebooks refresh bench browser clean

help:     ## list the chores
	@grep -E '^[a-z]+: .*##' Makefile | sed 's/:.*##/\t/'

setup:    ## make or update the environment in .venv
	@$(PYTHON) tools/environment.py

book: setup  ## build the website into _build/html
	@$(VENV)/jupyter-book build . -W -n --keep-going --all --quiet
	@echo "The book: $(CURDIR)/_build/html/index.html"

serve: book  ## build the website and open it on localhost
	@$(VENV)/python tools/serve.py

test: book  ## lint, unit tests, exercises, notebooks, links of the site
	@$(VENV)/ruff check . && $(VENV)/ruff format --check .
	@$(VENV)/pytest -n $(JOBS) tests
	@$(MAKE) --no-print-directory notebooks

notebooks: setup  ## execute every notebook and compare it with its stored outputs
	@$(VENV)/pytest -n $(JOBS) --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout 120 book

refresh: setup  ## execute every notebook and store its outputs and verdicts
	@$(VENV)/python tools/refresh.py

bench: setup  ## measure speed, print ratios, write bench.json
	@$(VENV)/python tools/bench.py

browser: book  ## open every page in a real browser (needs Chromium)
	@$(VENV)/pytest tests/browser

clean:    ## delete what the other chores made
	rm -rf .venv _build bench.json
