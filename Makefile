# Everything a person or a machine does with a checkout. Each target first sees to .venv (.ci/venv).

.DEFAULT_GOAL := venv
.PHONY: venv demo test check bench soak lock

BIN := .venv/bin

venv:
	@.ci/venv

# Sets everything up and shows the whole job. ARGS=--json gives one object, ARGS=--keep leaves the server running.
demo: venv
	@$(BIN)/piivault demo $(ARGS)

test: venv
	@mkdir -p build
	$(BIN)/python -m pytest -n auto --dist worksteal --both-databases --cov --cov-report=json:build/coverage.json --cov-report=
	$(BIN)/python -m tests.support.coverage_gates build/coverage.json

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/architecture

bench: venv
	$(BIN)/python -m bench $(ARGS)

soak: venv
	$(BIN)/python -m pytest -m "soak or trace" $(ARGS)

lock:
	@UPGRADE=$(UPGRADE) .ci/lock
