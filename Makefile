# prefect-batch: `make help` lists what there is. Needs Python 3.11 or newer, git and make; nothing else.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop test check format bench chaos screenshots lock clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with the locked packages and this project. Does nothing when that is up to date.

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the packages of requirements.lock into .venv (a few minutes the first time) ..."
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps -e .
	@touch $@

demo: setup ## Train a small model, serve it as a batch endpoint, call it. KEEP=1 leaves the server running.
	@$(BIN)/python examples/demo.py $(if $(KEEP),--keep)

demo-stop: setup ## Stop the server that `make demo KEEP=1` left running.
	@$(BIN)/python examples/demo.py --stop

test: check ## Run the checks and the whole test suite; tests that had to be skipped are listed at the end.
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --durations=25

check: setup ## Lint, check format, types and security, and look for known vulnerabilities of the locked packages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive scoring blocks flows interfaces
	$(BIN)/python tests/audit.py

format: setup ## Format the code, and repair what the linter can repair.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Run the benchmarks and write docs/benchmarks.md anew. PARTS="files small" runs these, REPEAT=1 once.
	@$(BIN)/python benchmarks/environments.py .bench/venvs ours
	@.bench/venvs/ours/bin/python benchmarks $(PARTS) $(if $(REPEAT),--repeat $(REPEAT))

chaos: setup ## Break jobs at random moments for hours, and write docs/reliability.md anew. ROUNDS=1 does each once.
	@mkdir -p .chaos && rm -f .chaos/trials.jsonl
	@export CHAOS_ROUNDS=$(or $(ROUNDS),13) CHAOS_RESULTS=$(CURDIR)/.chaos/trials.jsonl; \
		run="$(BIN)/python -m pytest --timeout 0 --session-timeout 86400 -o faulthandler_timeout=0"; \
		$$run -s tests/chaos/test_load.py; load=$$?; \
		$$run -q -s tests/chaos/test_soak.py & \
		$$run -n 2 --dist worksteal tests/chaos --ignore tests/chaos/test_load.py \
			--ignore tests/chaos/test_soak.py; rest=$$?; \
		wait $$!; soak=$$?; \
		$(BIN)/python tests/chaos/report.py .chaos/trials.jsonl && exit $$((load + rest + soak))

screenshots: setup ## Draw the pictures of the web page in docs/images anew, with chromium.
	@$(BIN)/python tests/screenshots.py

lock: ## Write requirements.lock anew from pyproject.toml, in a venv of its own.
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT \
		&& $(PYTHON) -m venv "$$folder" \
		&& "$$folder/bin/python" -m pip --disable-pip-version-check --quiet install -e '.[dev]' \
		&& "$$folder/bin/python" -m pip --disable-pip-version-check freeze --exclude-editable > "$$folder/lock" \
		&& ! grep -vE '^[A-Za-z0-9._-]+==[A-Za-z0-9._!+-]+$$' "$$folder/lock" \
		&& cp "$$folder/lock" requirements.lock
	@echo "requirements.lock: $$(wc -l < requirements.lock) packages"

clean: ## Stop a kept demo; delete .venv, .demo, .bench and what builds and checks left.
	@test ! -x $(BIN)/python || test ! -e .demo/server.json || $(BIN)/python examples/demo.py --stop
	rm -rf .venv .demo .bench .chaos build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
