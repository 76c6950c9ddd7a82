# Baton. `make` lists the targets; `make repro` runs the whole pipeline, `make test` the tests.
PYTHON ?= python3.11
PORT ?= 5000
# Further packages for `make install`, by the names under [project.optional-dependencies]: EXTRAS="export tune".
EXTRAS ?=
# Those that only slow tests need: a gigabyte that `make test` does without.
SLOW := ray spark

# Relative, since make cannot have a space in the name of a target; HERE is for recipes, in "double quotes".
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
export HERE := $(CURDIR)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export MLFLOW_DISABLE_TELEMETRY := true
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install install-dev repro summary test test-slow crashes check format ui server server-stop quick bench docs \
	screenshots gpu lock clean clean-all

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(RUNTIME) $(EXTRAS:%=$(VENV)/.extra-%) ## make .venv with the exact versions of requirements.lock

install-dev: $(DEV) ## ... and the development tools

# Only files whose sha256 is in a lock are installed, and of these only wheels, which run nothing. Three packages have
# no wheel: they are built by the locked setuptools, so that nothing unlocked is fetched for it.
# --no-deps: the locks are complete, so no other package can be installed; `pip check` proves completeness.
# --no-compile: pip compiles 25,000 modules on one processor; `compiled` does it on all of them.
LOCKED := --quiet --no-deps --no-compile --require-hashes --only-binary=:all: --no-build-isolation
compiled = $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true # some packages have files that are no Python 3
only = awk '/^[^ ]/ { on = /^($(1))==/ } on' $(2) > $(VENV)/first.lock && \
	$(BIN)/python -m pip install $(LOCKED) -r $(VENV)/first.lock

$(RUNTIME): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "make: '$(PYTHON)' is not Python 3.11 with venv and pip" >&2; \
		echo "make: on Debian: apt install python3.11 python3.11-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(call only,setuptools,requirements.lock)
	$(BIN)/python -m pip install $(LOCKED) --no-binary=antlr4-python3-runtime -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@$(compiled)
	$(BIN)/python -m pip check
	@# DVC's databases belong in the project, not in /var/tmp. The path must be absolute: not for a commit.
	$(BIN)/dvc config --local core.site_cache_dir "$$HERE/.baton/dvc"
	@touch $@

$(VENV)/.extra-%: requirements-%.lock $(RUNTIME)
	$(BIN)/python -m pip install $(LOCKED) $(if $(filter spark,$*),--no-binary=pyspark) -r $<
	@$(compiled)
	$(BIN)/python -m pip check
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@$(call only,setuptools-scm|vcs-versioning,requirements-dev.lock)
	$(BIN)/python -m pip install $(LOCKED) --no-binary=seqeval -r requirements-dev.lock
	@$(compiled)
	$(BIN)/python -m pip check
	@touch $@

repro: $(RUNTIME) ## install, run the stages that are out of date, show the results
	@$(BIN)/baton repro

summary: $(RUNTIME) ## show the results of the last run
	@$(BIN)/baton summary

# A test that hangs shows where, and ends the run. So does a worker that dies: xdist can wait for ever after it.
HANGING := -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true

# The files that have such tests: to collect all others takes half a minute.
ALONE = $$(grep -rl --include='test_*.py' 'mark\.alone' tests)

test: $(DEV) ## run the tests (no network, no GPU needed)
	$(BIN)/python -m pytest $(HANGING) -m "not slow and not network and not alone and not crashes"
	$(BIN)/python -m pytest $(HANGING) -m "alone and not slow and not network" -n 0 $(ALONE)

test-slow: $(DEV) $(SLOW:%=$(VENV)/.extra-%) ## run all tests, including those that need the network or take minutes
	$(BIN)/python -m pytest -m "not alone and not crashes"
	$(BIN)/python -m pytest -m alone -n 0 $(ALONE)

crashes: $(DEV) ## run the retraining story with a crash at every point (five hours; BATON_DIED=FILE goes on)
	$(BIN)/python -m pytest -m crashes -n 0 -s

check: $(DEV) ## check format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## format the code and apply ruff's fixes
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

ui: $(RUNTIME) ## open the MLflow UI on this project's runs
	@$(BIN)/baton ui --port $(PORT)

server: $(RUNTIME) ## run MLflow on PostgreSQL until Ctrl-C, with logins (docs/server.md)
	@$(BIN)/baton server --port $(PORT)

server-stop: $(RUNTIME) ## end it
	@$(BIN)/baton server --stop

# The copy holds the files that git would, and has its own DVC cache and MLflow store; only the Python and the
# fetched files are shared.
quick: $(RUNTIME) ## run the `quick` recipe in a temporary copy of the working tree
	@set -eu; copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; trap 'exit 130' INT TERM; \
	git ls-files -z --cached --others --exclude-standard | \
		tar --create --null --ignore-failed-read --files-from=- | tar --extract --directory="$$copy"; \
	bin="$$HERE/$(BIN)"; export BATON_PYTHON="$$bin/python"; \
	export BATON_FETCHED="$${BATON_FETCHED:-$$HERE/.baton/fetched}"; \
	export DVC_SITE_CACHE_DIR="$$copy/.baton/dvc" PYTHONPATH="$$copy/src"; \
	cd "$$copy"; rm -rf dvc.lock metrics reports; git init --quiet; \
	"$$bin/baton" use quick --force; BATON_SUMMARY=later "$$bin/dvc" repro; \
	"$$bin/baton" sync; "$$bin/baton" summary

# Not here: image_speed and few_labels, which need an image project.
bench: $(DEV) ## run the benchmarks behind README's speed figures for text
	@for name in overhead predict_speed tokenize_speed train_speed; do \
		echo "== $$name"; $(BIN)/python -m "benchmarks.$$name" || exit 1; done

docs: $(DEV) ## build the documentation as a site, .baton/site/index.html; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "docs: .baton/site/index.html"

screenshots: $(DEV) ## take README's pictures of reports/report.html (needs Chromium)
	$(BIN)/python -m benchmarks.report_pictures

gpu: $(DEV) ## run what needs a CUDA device, 8 minutes (docs/gpu.md); PIECES="bert resume" runs a part
	$(BIN)/python -m benchmarks.gpu $(if $(PIECES),--only $(PIECES))

# The locks are resolved again from the ranges in pyproject.toml, in a temporary environment; uv adds the sha256 of
# every file of a version, and names no index. Another index for it: UV_DEFAULT_INDEX. The development lock has the
# extras too; the lock of an extra has what it needs besides requirements.lock.
lock: ## resolve the newest allowed versions into the lock files
	@set -eu; env=$$(mktemp -d); trap 'rm -rf "$$env"' EXIT; trap 'exit 130' INT TERM; \
	freeze() { "$$env/bin/python" -m pip freeze --all --exclude pip --exclude baton | \
		awk -F == '{ gsub(/[._-]+/, "-", $$1); print tolower($$1) "==" $$2 }' | LC_ALL=C sort -f; }; \
	hashed() { sed -n 1p "$$1"; \
		"$$env/tools/bin/uv" pip compile --quiet --universal --no-deps --generate-hashes --python-version 3.11 \
		--no-header --no-annotate -; }; \
	$(PYTHON) -m venv "$$env"; "$$env/bin/python" -m pip install --quiet .; freeze > "$$env/runtime"; \
	"$$env/bin/python" -m pip install --quiet '.[dev]'; freeze > "$$env/all"; "$$env/bin/python" -m pip check; \
	if grep -n ' @ ' "$$env/all"; then exit 1; fi; \
	$(PYTHON) -m venv "$$env/tools"; "$$env/tools/bin/python" -m pip install --quiet uv; \
	sed -E 's/^((nvidia-|cuda-|triton).*)$$/\1; sys_platform == "linux"/' "$$env/runtime" | \
		hashed requirements.lock > "$$env/requirements.lock"; \
	grep -vxFf "$$env/runtime" "$$env/all" | sed -E 's/^((swift|pyeclib)==.*)$$/\1; sys_platform == "linux"/' | \
		hashed requirements-dev.lock > "$$env/requirements-dev.lock"; \
	for extra in export postgres ray s3 spark tune; do \
		"$$env/tools/bin/uv" pip compile --quiet --python "$$env/bin/python" --no-header --no-annotate \
			--extra $$extra --constraint "$$env/all" pyproject.toml | grep -vxFf "$$env/runtime" | \
			hashed requirements-$$extra.lock > "$$env/requirements-$$extra.lock"; \
	done; \
	mv "$$env"/requirements*.lock .; git --no-pager diff --stat -- 'requirements*.lock'

clean: ## remove outputs that `dvc checkout` restores, and tool caches
	rm -rf data models curves dvc_plots build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	rm -rf reports/cards reports/export reports/figures reports/plots reports/speed reports/tables reports/report.html reports/timings.json
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-all: clean ## ... and everything else that git does not track: .venv, caches, MLflow's runs
	rm -rf .venv .baton .dvc/cache .dvc/tmp .dvc/config.local mlflow.db* mlartifacts src/baton.egg-info
