# Everything is installed into .venv, which is made at need. `make help` lists the targets.

PYTHON ?= python3
URL ?=
DURATION ?= 300
SEED ?=
WRITE ?=
ARGS ?=

VENV = .venv
RUN = $(VENV)/bin/python
INSTALL = -m pip install --quiet --disable-pip-version-check

.NOTPARALLEL:
.PHONY: help demo server test coverage wine soak fuzz lint docs screenshots dist pyz bench house clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1:	\2/p' Makefile

demo: $(VENV)/.demo ## follow four streams for ten seconds; URL=redis://... on your server
	@$(RUN) examples/demo.py '$(URL)'

server: $(VENV)/.demo ## run an embedded server at localhost:6379 until Ctrl-C
	@$(RUN) examples/embedded_server.py

test: $(VENV)/.test ## run the tests; ARGS=... goes to pytest
	@# Most of their time is waiting, so there may be more at once than there are cores.
	$(RUN) -m pytest -n 4 --dist worksteal $(ARGS)

wine: $(VENV)/.test ## run a smoke test with the Windows Python under wine, where that is installed
	$(RUN) -m tools.wine_smoke

soak: $(VENV)/.test ## readers and writers under random faults; DURATION=<seconds> SEED=<text>
	@# WRITE="README.rst docs/explanation/testing.rst" puts the figures there.
	$(RUN) -m tests.soak --duration $(DURATION) --seed '$(SEED)' --write $(WRITE)

coverage: $(VENV)/.coverage ## branch coverage of each module by its own tests, with a floor
	@$(RUN) -m tools.cover

fuzz: $(VENV)-fuzz/.fuzz ## fuzz what reads foreign bytes; DURATION=<seconds>
	$(VENV)-fuzz/bin/python -m fuzz --duration $(DURATION)

lint: $(VENV)/.lint ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	@# It looks for packages with the python of PATH.
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(RUN) -m pyright
	@# All that a user can reach has a type.
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(RUN) -m pyright --verifytypes pystreamredis --ignoreexternal

docs: $(VENV)/.docs ## build the documentation: build/docs/index.html
	$(RUN) -m sphinx -W --keep-going -q -b html docs build/docs

screenshots: docs ## pictures of pages in Chromium, to be looked at: build/screenshots
	@$(RUN) -m tools.screenshots build/screenshots

dist: $(VENV)/.dist ## build sdist and wheel, and check them as a user meets them
	rm -rf dist *.egg-info  # which would name files that are no more to be in it
	$(RUN) -m build
	$(RUN) -m twine check --strict dist/*
	$(RUN) -m pytest tests/check_dist.py -q

pyz: $(VENV)/.made ## build the command as one file: dist/pystreamredis.pyz
	@$(RUN) -m tools.pyz

bench: $(VENV)-bench/.bench ## compare the speed with other clients'; ARGS=... goes to run.py
	$(VENV)-bench/bin/python benchmarks/run.py $(ARGS)

house: $(VENV)/.made ## measure the code against the house rules
	@$(RUN) -m tools.house

clean: ## remove what the other targets made
	rm -rf $(VENV) $(VENV)-bench $(VENV)-fuzz .nox fuzz/found build dist *.egg-info .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamps: each says that its extra is installed as pyproject.toml has it.

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	$(RUN) $(INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	$(RUN) $(INSTALL) -e '.[test]'
	@$(RUN) $(INSTALL) -e '.[uvloop]' || echo 'uvloop is not to be had: its tests are skipped'
	@$(RUN) $(INSTALL) -e '.[examples]' || echo 'not to be had: tests of some examples are skipped'
	@touch $@

$(VENV)/.lint: $(VENV)/.made pyproject.toml
	$(RUN) $(INSTALL) -e '.[test,lint]'
	@touch $@

$(VENV)/.coverage: $(VENV)/.made pyproject.toml
	$(RUN) $(INSTALL) -e '.[test,coverage]'
	@touch $@

$(VENV)/.docs: $(VENV)/.made pyproject.toml
	$(RUN) $(INSTALL) -e '.[docs]'
	@touch $@

$(VENV)/.dist: $(VENV)/.made pyproject.toml
	$(RUN) $(INSTALL) -e '.[test,lint,dist]'
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("this is Python %s, \
	expected 3.11 or later: make PYTHON=/path/to/python3" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)-fuzz/.fuzz: pyproject.toml
	$(PYTHON) -m venv $(VENV)-fuzz
	$(VENV)-fuzz/bin/python $(INSTALL) -e . atheris || \
	{ echo 'make fuzz: atheris is not to be had for this Python: make fuzz PYTHON=...'; exit 1; }
	@touch $@

$(VENV)-bench/.bench: pyproject.toml benchmarks/peers.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python $(INSTALL) -e .
	@# One by one: a peer that is not to be had voids its own row alone.
	while read -r peer; do $(VENV)-bench/bin/python $(INSTALL) "$$peer" || \
	    echo "not installed: $$peer"; done < benchmarks/peers.txt
	@touch $@
