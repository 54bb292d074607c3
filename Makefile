# `make demo` and `make test` set everything up by themselves; nothing has to be installed before.
PYTHON := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench chaos clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1|/' | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: .ready  ## start everything with a company's worth of data: http://127.0.0.1:8000
	@TALLYRUN_DEMO=1 exec $(PYTHON) manage.py up --with-demo-run $(ARGS)

test: .ready  ## run the tests, then the short attacks on running bill runs (ARGS="-k name" chooses among the tests)
	@$(PYTHON) -m pytest -n 2 $(ARGS)
	@[ -n "$(ARGS)" ] || $(PYTHON) -m pytest -m chaos tests/chaos

lint: .ready  ## check style, types and import rules; report long functions and files
	@failed=0; \
	$(PYTHON) -m ruff check . || failed=1; \
	$(PYTHON) -m ruff format --check . || failed=1; \
	$(PYTHON) -m mypy . || failed=1; \
	.venv/bin/lint-imports --no-logo || failed=1; \
	$(PYTHON) -m tests.lengths; \
	exit $$failed

bench: .ready  ## measure against bare COPY, naive loops and page targets, one JSON object a line
	@$(PYTHON) -m tests.benchmarks $(ARGS)

chaos: .ready  ## kill workers, servers and messages during bill runs, then audit
	@$(PYTHON) -m tests.chaos $(ARGS)

clean:  ## remove installed packages and all local data
	rm -rf .venv .tools .ready var

.ready: requirements.lock bootstrap.sh
	@sh bootstrap.sh
	@touch .ready
