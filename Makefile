# Needs make and Python 3.11 or newer; everything else goes into .venv, and only when pyproject.toml has changed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test laws browser judges lint types docs examples bench check clean

PORT ?= 8000
STACKS ?= 10000
PYTHON ?=
PYTEST ?=
VENV := .venv
PY := $(VENV)/bin/python

# Somebody else's environment must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONSTARTUP PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo  ## serve examples/quickstart on this machine (PORT=8000)
	@exec env SECGUARD_ENVIRONMENT=development $(PY) -m examples.quickstart --port $(PORT)

test: $(VENV)/.test  ## the tests, with coverage (PYTEST="-k hosts" adds arguments)
	@$(PY) -m pytest --ignore=tests/browser --ignore=tests/judges --cov $(PYTEST)

browser: $(VENV)/.browser  ## the tests that need Chromium
	@$(PY) -m pytest tests/browser $(PYTEST)

judges: $(VENV)/.test build/judges/.installed  ## Google's csp-evaluator and MDN's Observatory judge our headers (Node.js)
	@$(PY) -m pytest tests/judges $(PYTEST)

lint: $(VENV)/.lint  ## style, security rules, known vulnerabilities of what we depend on
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) scripts/audit.py

laws: $(VENV)/.test  ## law 1 over random stacks (STACKS=10000), and tens of thousands of hostile scopes (minutes)
	@RANDOM_STACKS=$(STACKS) RANDOM_SCOPES=30000 $(PY) -m pytest tests/test_composition.py tests/test_requests_composition.py tests/test_fuzz.py $(PYTEST)

types: $(VENV)/.types  ## mypy, strict, over everything; and as users have it over the settings of the documentation
	@$(PY) -m mypy
	@$(PY) -m pytest -q tests/test_users_types.py

docs: $(VENV)/.docs  ## build the documentation into site/
	@$(PY) -m zensical build --strict --clean
	@echo "site/index.html is built."

examples: $(VENV)/.test  ## the tests of the examples, and of every block of code in the documentation
	@$(PY) -m pytest tests/test_quickstart.py tests/test_admin_area.py tests/test_two_origins.py tests/test_fleet.py tests/test_docs.py tests/test_readme.py $(PYTEST)

bench: $(VENV)/.bench  ## what a request costs, beside the peers
	@$(PY) -m tests.benchmarks

check: lint types test laws docs browser judges examples bench  ## all of them

clean:  ## forget .venv and everything that was built
	rm -rf $(VENV) build dist site .cache .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@set -eu; python=; \
	for try in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python); do \
	  if $$try -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$try; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "secguard needs Python 3.11 or newer, and $(if $(PYTHON),$(PYTHON) is not,there is none here)." >&2; \
	  echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version) ..."; \
	if ! $$python -m venv --clear $(VENV) >$(VENV).log 2>&1; then \
	  cat $(VENV).log >&2; rm -rf $(VENV) $(VENV).log; \
	  echo "$$python cannot make virtual environments (Debian, Ubuntu: apt install python3-venv)." >&2; \
	  exit 1; \
	fi; \
	rm -f $(VENV).log; \
	$(PY) -m pip install --quiet --upgrade pip; \
	touch $@

# One stamp for each dependency group: `make demo` does not install the tools of the tests.
$(VENV)/.%: pyproject.toml | $(VENV)/.created
	@echo "Installing what \`make $*\` needs ..."
	@$(PY) -m pip install --quiet --editable '.[all]' --group $*
	@touch $@

# Where there is no npm, the tests that need it skip and say so; in CI they fail.
build/judges/.installed: tests/judges/package.json
	@command -v npm >/dev/null || exit 0; \
	echo "Installing what \`make judges\` needs ..."; \
	mkdir -p $(@D) && cp $< $(@D)/ && cd $(@D) && \
	npm install --no-package-lock --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error && \
	touch $(@F)
