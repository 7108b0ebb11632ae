# make bench      set up, then the main job: the shipped capture through every strategy, ending in a table
# make test       set up, then every test
# make quick      the tests without the slow ones
# make argument   the sweep for the twelve claims, its report (argument.html), the verdicts, and the notebooks
# make reference  the same sweep kept as the small set results/reference, and the notebooks made from it
# make today      all strategies on the machine of today: results/today, the pages and the notebook made from it
# make notebooks  run the notebooks on results/reference and keep their outputs
# make lint       ruff, mypy --strict, import-linter
# make validate   predictions beside what was observed: every validation, its table, and one page of them all
# make linux-guest  fetch QEMU, Linux kernels and busybox for --testbed qemu and `bench validate linux` (Debian; installs nothing)
# make benchmark  how fast the suite itself is, and how much memory it takes
# make clean      remove the environment and what the tools keep; results stay

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup bench test quick argument reference today notebooks lint validate linux-guest benchmark clean

VALIDATIONS := published qemu linux model

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(INSTALLED)

# Without build isolation the build tool, too, is the pinned one.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "make: $(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "make: $(PYTHON) has no venv; install it (Debian and Ubuntu: the package python3-venv)" >&2; exit 2; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "make: installing into $(VENV), once; this takes some minutes" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--no-build-isolation --editable '.[jupyter,test]'
	@touch $@

# The capture came at 16 Mb/s; at 2 Gb/s it is work for the card. Holding packets and taking the page freed longest ago
# keep the driver from using the same few pages again and again; a short downtime lets the pre-copy run in rounds.
MAIN_JOB := run --strategy all --workload pcap --rate 2Gbps --set pcap.hold=500us \
	--set driver.page-order=fifo --downtime-limit 30ms

bench: $(INSTALLED)
	$(BIN)/bench $(MAIN_JOB)

test: $(INSTALLED)
	$(BIN)/python -m pytest

quick: $(INSTALLED)
	$(BIN)/python -m pytest -m 'not slow'

# Cells that are finished are not run again: stop it, and go on where it stopped. What fails is told, and the rest
# still becomes a report.
argument: $(INSTALLED)
	@failed=0; $(BIN)/bench sweep sweeps/argument.toml || failed=1; \
		$(BIN)/bench report results/argument -o results/argument.html --force || failed=1; \
		$(BIN)/bench claims results/argument || failed=1; \
		$(BIN)/python notebooks/execute.py --results results/argument --to results || failed=1; \
		echo "Report: results/argument.html; notebooks with their outputs: results/*.ipynb"; exit $$failed

# A cell that fails (exit code 1) is a row that says so, and no reason to keep no reference.
reference: $(INSTALLED)
	$(BIN)/bench sweep sweeps/argument.toml || [ $$? -eq 1 ]
	$(BIN)/bench pack results/argument --thin -o results/reference --force
	$(BIN)/python docs/claims_table.py
	$(MAKE) notebooks

# All strategies on the machine of today: records, pages made from them, notebook.
today: $(INSTALLED)
	$(BIN)/bench sweep sweeps/today.toml --results results/today-sweep || [ $$? -eq 1 ]
	$(BIN)/bench pack results/today-sweep/today --thin -o results/today --force
	$(BIN)/python docs/today_pages.py
	$(BIN)/python notebooks/execute.py notebooks/04_today.ipynb

notebooks: $(INSTALLED)
	$(BIN)/python notebooks/execute.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --output-format concise .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# One that misses a goal, or can't be had on this machine, doesn't keep the others from running.
validate: $(INSTALLED)
	@failed=0; for each in $(VALIDATIONS); do $(BIN)/bench validate $$each || failed=1; done; \
		$(BIN)/bench validate report >/dev/null || failed=1; \
		echo "Page: results/validation/index.html"; exit $$failed

linux-guest: $(INSTALLED)
	$(BIN)/bench fetch

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/kvm_exit_cost.py
	$(BIN)/python benchmarks/kvm_log_sync.py
	$(BIN)/python benchmarks/kvm_guest_driver.py

clean:
	rm -rf $(VENV) .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
