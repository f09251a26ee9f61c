# The commands of README.md. Everything runs in .venv, made here from pinned requirements.
STACK ?= dev
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
VOLUMES ?=
ONLY ?=

.PHONY: up down preview prepare forward rehearse smoke env doctor fit-table test bench lint requirements clean

up: $(VENV)/ready
	@$(RUN) -m scripts.up --stack $(STACK)

down: $(VENV)/ready
	@$(RUN) -m scripts.down --stack $(STACK) $(if $(VOLUMES),--volumes)

preview: $(VENV)/ready
	@$(RUN) -m scripts.preview --stack $(STACK)

# What cloud-init does to a new machine, for one that is already there (host.type: ssh).
prepare: $(VENV)/ready
	@$(RUN) -m scripts.prepare --stack $(STACK)

forward: $(VENV)/ready
	@$(RUN) -m scripts.forward --stack $(STACK)

smoke: $(VENV)/ready
	@$(RUN) -m scripts.smoke --stack $(STACK)

env: $(VENV)/ready
	@$(RUN) -m scripts.env_file --stack $(STACK)

doctor: $(VENV)/ready
	@$(RUN) -m doctor --stack $(STACK)

fit-table: $(VENV)/ready
	@$(RUN) -m scripts.fit_table

test: $(VENV)/ready-for-tests
	@$(RUN) -m scripts.test $(TIERS)

# The prod stack from nothing to an answer and back, with only AWS itself stood in for.
rehearse: $(VENV)/ready-for-tests
	@$(RUN) -m scripts.test rehearsal

# What the gateway costs and what its routing is worth, beside nginx and Caddy: ONLY=gateway or ONLY=routing for one.
bench: $(VENV)/ready-for-tests
	@$(RUN) -m bench $(ONLY)

lint: $(VENV)/ready-for-tests
	@$(RUN) -m scripts.test lint

requirements: $(VENV)/ready-for-tests
	$(RUN) -m piptools compile -v --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras --allow-unsafe -o requirements.txt requirements.in
	$(RUN) -m piptools compile -v --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras --allow-unsafe -o requirements-dev.txt requirements-dev.in

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@sh scripts/make_venv.sh $(PYTHON) $(VENV)

$(VENV)/ready: $(VENV)/bin/python requirements.txt
	@echo "==> installing the pinned packages of requirements.txt into $(VENV)"
	@$(RUN) -m pip install --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/ready-for-tests: $(VENV)/ready requirements-dev.txt
	@echo "==> installing the pinned packages of requirements-dev.txt into $(VENV)"
	@$(RUN) -m pip install --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
