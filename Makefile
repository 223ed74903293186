# make demo       set up .venv and run the main job on the phantom study
# make test       set up .venv and run the fast tests      (make test-slow: the slow ones)
# make lint       formatting, lint, spelling, types, import rules, site
# make docs       the documentation site, into build/docs
# make screenshots  pictures of the Slicer module on the phantom, into Resources/Screenshots
# make benchmark  speed and memory of the engine, as ratios, into Testing/benchmarks/results
# make corpus     kinds of input of hospitals: what was tried, what became of it, what was wanted
# make faults     kills, full disks and other faults at every stage of a run, and fuzzers
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SETUP := $(VENV)/.complete
STUDY := demo/study/case_900003

.PHONY: help setup demo test test-slow lint docs benchmark faults corpus screenshots clean
help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(SETUP)

# torch comes first and alone, so that no other package chooses its build. nnU-Net's network library asks for
# torchvision, which we never use and which breaks other imports where its build does not match torch: it is taken out.
$(SETUP): pyproject.toml Testing/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Setting up $(VENV) (once, about two minutes and 4 GB) ..."
	@$(PYTHON) -m venv $(VENV)
	@echo "  1/3 torch" && $(PIP) install -q -c Testing/constraints.txt torch
	@echo "  2/3 VirtualContrast and what it needs" && \
		$(PIP) install -q -c Testing/constraints.txt -e ".[engine,training,host,dev,docs]"
	@echo "  3/3 taking out torchvision" && $(PIP) uninstall -q -y torchvision
	@touch $@

demo: $(SETUP)
	@echo "Phantom study (simulated, no patient data) ..."
	@$(BIN)/virtual-contrast-training phantom -o demo/study --seed 900003 --noise-free
	@echo "Synthesis, segmentation, curves, comparison with the phantom's own phases ..."
	@$(BIN)/virtual-contrast synthesize $(STUDY)/pre.nrrd -o demo/result --overwrite --uncertainty 4 \
		--real $(STUDY)/phase_1.nrrd $(STUDY)/phase_2.nrrd $(STUDY)/phase_3.nrrd --times 90 220 350
	@echo "Open demo/result/report.html"

# The host is one application per process, so each file of Testing/slicer has a process of its own, without the plugins
# of pytest that these files do not use: importing them took a third of each process.
test: $(SETUP)
	@bash Testing/host/install_system_libraries.sh
	@bash Testing/host/install_dicom_tools.sh
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --ignore=Testing/slicer
	@OMP_NUM_THREADS=1 $(BIN)/python Testing/slicer/run.py

test-slow: $(SETUP)
	@$(BIN)/python -m pytest -m slow

lint: $(SETUP)
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/codespell $$(git ls-files) && \
		$(BIN)/mypy && $(BIN)/lint-imports
	@$(MAKE) --no-print-directory docs

docs: $(SETUP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q && echo "The site is in build/docs"

screenshots: $(SETUP)
	@bash Testing/host/install_system_libraries.sh
	@$(BIN)/python Testing/host/screenshots.py

benchmark: $(SETUP)
	@$(BIN)/python Testing/benchmarks/engine.py

corpus: $(SETUP)
	@$(BIN)/python Testing/corpus/run.py

faults: $(SETUP)
	@$(BIN)/python Testing/faults/run.py

clean:
	rm -rf $(VENV) demo build
