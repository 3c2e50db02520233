# Everything starts from python3 and make: environments, tools and models are made here on first use and kept.
#
# A stamp's name holds a checksum of what its directory was made from, and of where: after a change of pins, a switch of
# branches or a move of the clone the right one is simply not there, whatever the files' times say.

PYTHON ?= python3
ARGS ?=
# Tests of one file share their servers, so a file is run by one worker; much of a test is waiting, so there are more workers than cores.
# Their order is that of tests/conftest.py: xdist's own leaves files of few tests, training among them, to the end.
PARALLEL ?= -n 4 --dist loadfile --no-loadscope-reorder
# What `make check` runs: every unit, no server, no training.
UNITS := tests/test_architecture.py tests/test_limits.py tests/test_pictures.py tests/test_config.py tests/test_docs.py tests/test_logs.py tests/test_main_checks.py \
         tests/engine tests/query tests/serve tests/live tests/convert tests/bench promlstm

checksum = $(shell { pwd; cat $(1); } | cksum | cut -d ' ' -f 1)
MADE := made-$(call checksum,.ci/constraints.txt)
INSTALLED := installed-$(call checksum,.ci/constraints.txt setup.cfg pyproject.toml)
TOOLS := .cache/tools/made-$(call checksum,.ci/install-tools .ci/apt.sh)
CHART_TOOLS := .cache/chart-tools/made-$(call checksum,.ci/install-chart-tools .ci/apt.sh)
IMAGE_TOOLS := .cache/image-tools/made-$(call checksum,.ci/install-image-tools .ci/apt.sh .ci/sbom .ci/sbom.txt)
SERVICES := .cache/services/made-$(call checksum,.ci/install-services .ci/apt.sh)
BROWSER := .cache/browser/made-$(call checksum,.ci/install-browser .ci/apt.sh)
NODE_TOOLS := .cache/node-tools/made-$(call checksum,.ci/install-node-tools .ci/apt.sh .ci/node/package-lock.json)

# Tests start hundreds of Python processes, and pytest rewrites each test file: without bytecode on disk all of it is compiled again each time.
unexport PYTHONDONTWRITEBYTECODE

# Every install obeys the pins; newer pips ask for those of the build environment by a second name.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
PINNED := PIP_CONSTRAINT=.ci/constraints.txt PIP_BUILD_CONSTRAINT=.ci/constraints.txt

.PHONY: help demo check field test torture accept docs pictures cluster-check lint model bench clean .venv .venv-test .venv-docs tools

help:  ## Show this list
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/make \1@\2/p' Makefile | while IFS=@ read -r command text; do printf '%-18s %s\n' "$$command" "$$text"; done
	@echo 'ARGS="…" goes to the command behind demo, check, field, test, torture, accept, pictures, cluster-check, model and bench; PYTHON=python3.12 chooses another Python.'

demo: .venv  ## Watch promlstm score a small fleet with injected faults (runtime packages only)
	.venv/bin/promlstm demo $(ARGS)

check: .venv-test  ## Run the checks for each commit, in a few minutes: ruff, mypy, the unit tests
	.venv-test/bin/ruff check .
	.venv-test/bin/mypy
	.venv-test/bin/python -m pytest $(PARALLEL) -q -m 'not real and not train and not slow' $(UNITS) $(ARGS)

field: .venv-test tools  ## Run the tests that come from user reports (the table in CONTRIBUTING.md)
	.venv-test/bin/python -m pytest $(PARALLEL) $(shell sed -n '/^## What was met/,/^## Commits/p' CONTRIBUTING.md | grep -o 'tests/[a-z_/]*\.py') $(ARGS)

test: .venv .venv-test tools  ## Run all tests except the full-length ones, against real servers if available
	$(if $(CI),PROMLSTM_REQUIRE_TOOLS=1) .venv-test/bin/python -m pytest $(PARALLEL) --durations=10 $(ARGS)

torture: .venv .venv-test tools  ## Inject faults of network, disk, clock, files and signals into the real program (half an hour; ARGS=--short: minutes)
	.venv-test/bin/python tests/torture $(ARGS)

accept: export PROMLSTM_ACCEPT := 1
accept: .venv-test $(IMAGE_TOOLS) test  ## Run all tests at full length

cluster-check: .venv-test tools  ## Install the chart on a real kube-apiserver (builds one the first time: about 6 minutes)
	@.ci/cluster-check $(ARGS)

lint: .venv-test  ## Check the code with ruff
	.venv-test/bin/ruff check .

docs: .venv-docs  ## Build the docs site into build/site; fail on broken links
	.venv-docs/bin/python docs/assemble.py
	.venv-docs/bin/zensical build --strict -f build/zensical.toml

pictures: .venv-test tools  ## Draw docs/images again from the real programs (7 minutes; pages and the report need chromium)
	$(PINNED) .venv-test/bin/python $(PIP_INSTALL) --editable '.[train,test,pictures]'
	.venv-test/bin/python docs/pictures $(ARGS)

model: .venv-test  ## Make the default model from its recipe
	.venv-test/bin/python -m convert all convert/recipes/default.yml $(ARGS)

bench: .venv-test  ## Measure steps, scrapes, starts, many detectors, churn and other tools (ARGS=step: only steps)
	.venv-test/bin/python -m bench $(ARGS)

clean:  ## Remove everything that make created here
	rm -rf .venv .venv-test .venv-docs .cache build dist promlstm.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

.venv: .venv/$(INSTALLED)

.venv-test: .venv-test/$(INSTALLED)

.venv-docs: .venv-docs/$(INSTALLED)

tools: $(TOOLS) $(SERVICES) $(CHART_TOOLS) $(NODE_TOOLS) $(BROWSER)

.venv/$(INSTALLED): .venv/$(MADE)
	$(PINNED) .venv/bin/python $(PIP_INSTALL) --editable .
	@rm -f .venv/installed-* && touch $@

.venv-test/$(INSTALLED): .venv-test/$(MADE)
	$(PINNED) .venv-test/bin/python $(PIP_INSTALL) --editable '.[train,test]'
	@rm -f .venv-test/installed-* && touch $@

.venv-docs/$(INSTALLED): .venv-docs/$(MADE)
	$(PINNED) .venv-docs/bin/python $(PIP_INSTALL) zensical
	@rm -f .venv-docs/installed-* && touch $@

# Python's own message names neither the package nor the variable.
%/$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'promlstm needs Python 3.11 or newer, and $(PYTHON) is not: name one with `make PYTHON=python3.11 …`' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo '$(PYTHON) cannot make virtual environments (no venv or ensurepip): on Debian and Ubuntu install python3-venv' >&2; exit 1; }
	rm -rf $*
	$(PYTHON) -m venv $*
	@touch $@

# Without the tools the tests that need them skip, and say so; in CI that is a failure.
$(TOOLS) $(SERVICES) $(CHART_TOOLS) $(IMAGE_TOOLS) $(NODE_TOOLS) $(BROWSER):
	@if .ci/install-$(notdir $(@D)); then rm -f $(@D)/made-* && touch $@; else test -z "$(CI)"; fi
