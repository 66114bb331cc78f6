# Everything a person or CI runs. `make demo` and `make test` set up a fresh machine by themselves:
# Python >= 3.11 with venv is all they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo run compiled test check bench docs site lock pictures page-pictures test-page test-compose mutants clean

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / \t/' | expand -t 16

# Installed sets are stamped: a changed lock or pyproject installs again, nothing else does.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/server.stamp: $(BIN)/python requirements/server.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/server.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "compiling the CPU kernels (once on this machine)"
	@$(BIN)/python -m nets.warm
	@touch $@

$(VENV)/dev.stamp: $(BIN)/python requirements/dev.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/server.stamp

# Processes start sooner where Python may not keep bytecode by itself (PYTHONDONTWRITEBYTECODE).
compiled: $(VENV)/dev.stamp  ## compile the CPU kernels, and the rooms to bytecode (once on this machine)
	@$(BIN)/python -m compileall -q mlpq service worker store nets kernels
	@echo "compiling the CPU kernels (once on this machine)"
	@$(BIN)/python -m nets.warm

demo: $(VENV)/server.stamp   ## train a real net on real data, from nothing, in one command
	$(BIN)/mlpq demo

run: $(VENV)/server.stamp    ## keep the service running: page, API, worker, embedded Valkey
	$(BIN)/mlpq up

check: $(VENV)/dev.stamp     ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The checks and the compiler each take one core.
test: $(VENV)/dev.stamp      ## every check and every test, on three processes: most tests wait for others
	@$(MAKE) --no-print-directory -j 2 compiled check
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-compose: compiled   ## build the image, bring docker-compose.yml up, break it, find all intact
	$(BIN)/python -m pytest -m compose tests/compose

test-page: compiled      ## the page in a real browser (needs chromium)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m browser tests/page

mutants: compiled   ## turn every sign of a gradient and see the tests fail (minutes)
	$(BIN)/python -m tests.mutants

bench: compiled     ## measure what the README claims; writes bench/results
	$(BIN)/python -m bench

docs: $(VENV)/dev.stamp      ## write the pages of the reference from the code
	$(BIN)/python -m nets.reference > docs/reference.md
	$(BIN)/python -m docs.generated

site: $(VENV)/dev.stamp      ## make a site of docs/ in site/ (mkdocs-material in a virtual environment of its own)
	@test -x $(VENV)/site/bin/mkdocs || $(PYTHON) -m venv $(VENV)/site
	@$(VENV)/site/bin/python -m pip install --quiet --disable-pip-version-check $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	NO_MKDOCS_2_WARNING=1 $(VENV)/site/bin/mkdocs build --quiet --strict
	@echo "site/index.html"

pictures: $(VENV)/dev.stamp  ## draw the pictures of docs/explanations.md
	$(BIN)/python -m docs.pictures

page-pictures: $(VENV)/dev.stamp  ## take the pictures of docs/page.md (needs chromium)
	$(BIN)/python -m docs.page_pictures

lock:            ## pin the dependencies again
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra server pyproject.toml requirements/build.in -o requirements/server.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra server --extra dev pyproject.toml requirements/build.in -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra server --extra gpu -c requirements/server.txt pyproject.toml requirements/build.in requirements/gpu.in -o requirements/gpu.txt

clean:           ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache
