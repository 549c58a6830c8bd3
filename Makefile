# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# Every target installs what it needs and is not here yet (build/install), and says so.
.DEFAULT_GOAL := help
.PHONY: help demo bench test lint generate lock clean

install = @build/python build/install $@

# Further arguments for pytest or the benchmark: make test ARGS='-k dns'
ARGS ?=
# Test processes. Each gets whole files, whose tests share a lab. make test JOBS=0 runs the tests
# one after another.
JOBS ?= 3

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: ## See the firewall at work in network namespaces (as root or as a plain user)
	$(install)
	@build/env udp-security demo

bench: ## Measure what the firewall costs here (ARGS=--quick: in a few minutes)
	$(install)
	@build/env udp-security bench $(ARGS)

test: ## Run all tests (JOBS=0: one after another, ARGS='-k dns': only some)
	$(install)
	@build/env build/as-root build/test $(JOBS) $(ARGS)

lint: ## Run all linters
	$(install)
	@build/env python build/lint.py

generate: ## Write all generated files
	$(install)
	@build/env python build/generate.py

lock: ## Lock the newest Python packages that pyproject.toml allows
	$(install)
	@build/env build/lock

clean: ## Remove everything that make installed or made
	@rm -rf .tools .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
	@find . -name __pycache__ -prune -exec rm -r {} +
