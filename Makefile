# Two commands are enough: make demo, make test. Everything lives in .venv; nothing outside it is touched.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT ?= demo-out

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-ros2 check safety docs bench study clean

help: ## What there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

.venv/ready: scripts/make-venv
	@scripts/make-venv "$(PYTHON)"
	@touch $@

.venv/user: .venv/ready pyproject.toml constraints.txt
	@echo "installing sonosteer into .venv (about a minute the first time)"
	@$(PIP) -e '.[files,live]'
	@touch $@

.venv/dev: .venv/user
	@echo "installing the test tools into .venv"
	@$(PIP) -e '.[dev]'
	@touch $@

.venv/docs: .venv/user
	@echo "installing the documentation tools into .venv"
	@$(PIP) -e '.[docs]'
	@touch $@

demo: .venv/user ## One simulated insertion: frames, tracker, overlay, report (demo-out/report.html)
	@$(BIN)/sonosteer demo --out $(OUT)

test: check ## Style, types, import rules and the tests, the slow ones apart
	$(BIN)/python -m pytest -n 2 -m "not slow" --ignore tests/safety  # which the next line runs, with what they cover
	$(BIN)/python scripts/check-safety --if-changed

test-slow: .venv/dev ## The slow tests: end to end, training, studies
	$(BIN)/python -m pytest -n 2 -m slow

.venv/ros2/ready: .venv/ready pyproject.toml
	@echo "installing ROS 2 into .venv/ros2 (260 MB, and sonosteer beside it)"
	@.venv/bin/python -m venv .venv/ros2
	@.venv/ros2/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[live,ros2]'
	@touch $@

test-ros2: .venv/dev .venv/ros2/ready ## The ROS 2 bridge between real topics (1 GB more, Linux)
	SONOSTEER_ROS_PYTHON=.venv/ros2/bin/python $(BIN)/python -m pytest tests/ros2

check: .venv/dev ## Style (ruff), types (mypy --strict) and who imports whom (import-linter)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

safety: .venv/dev ## Gate: full branch coverage and mutation tests
	$(BIN)/python scripts/check-safety

docs: .venv/docs ## The documentation: site/index.html, links checked, readable without a network
	@rm -rf site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@$(BIN)/python scripts/check-docs site
	@echo "open site/index.html"

bench: .venv/user ## Speed of tracking, steering, networks and simulator against their references
	@$(BIN)/sonosteer bench tracking
	@$(BIN)/sonosteer bench steering
	@$(BIN)/sonosteer bench vla
	@$(BIN)/sonosteer bench insertion
	@$(BIN)/sonosteer bench simulator

study: .venv/user ## Tables and figures of the tracking and the steering paper, ours beside theirs (study-*/; half an hour on two cores)
	@$(BIN)/sonosteer study tracking
	@$(BIN)/sonosteer study steering

clean: ## Remove .venv and what make has made
	rm -rf .venv site demo-out study-tracking study-steering .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
