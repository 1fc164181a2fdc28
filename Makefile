# `make demo` and `make test` set everything up themselves; the second run reuses it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
ENV := source scripts/env.sh &&
JOBS ?= 2

.PHONY: help setup demo test colcon-test pictures options pins clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## Make .venv: Python packages, ROS 2 where none is sourced, messages (PYTHON=... chooses the Python)
	@scripts/setup.sh

demo: setup  ## Synthetic scene -> bag -> node graph -> nuScenes metric; pictures in out/demo/report.html
	@$(ENV) kd demo

test: setup  ## Linter and all tests, in two processes (JOBS=... for another number)
	@$(ENV) ruff check .
	@$(ENV) pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder  # slow files first: test/conftest.py

colcon-test: setup  ## Build and test as a ROS 2 workspace does (in build/, install/, log/)
	@$(ENV) python -m colcon build
	@$(ENV) source install/local_setup.bash && python -m colcon test --event-handlers console_direct+ && python -m colcon test-result

pictures:  ## Draw docs/images/packages.svg from the imports
	@$(ENV) python scripts/draw_packages.py

options:  ## Write config/nodes/*.yaml and the parameter tables of docs/robot.md from kd_perception/options
	@$(ENV) python scripts/write_options.py

pins:  ## Write requirements/indirect.txt from this environment
	@$(ENV) python scripts/pin_indirect.py

clean:  ## Remove everything that set-up, builds and the demo made
	rm -rf .venv build install log out .pytest_cache .ruff_cache *.egg-info
