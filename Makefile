# What a person types. `make help` lists it.
SHELL := /bin/bash
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ml-platform
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),$(CACHE)/uv/bin/uv)
RUN := $(UV) run --locked --no-sync
# make up SET="userEmail=me@example.com kubeflowPath=../manifests"
SETTINGS = $(foreach setting,$(SET),--set $(setting))

.DEFAULT_GOAL := help
.PHONY: help setup setup-real-nodes up preview preview-report doctor destroy stop down explain lint docs test faults mutation bench

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -ts $$'\t'

$(CACHE)/uv/bin/uv:
	python3 -m venv $(CACHE)/uv
	$(CACHE)/uv/bin/pip install --quiet uv==$(UV_VERSION)

# A file of its own: the folder is there, and new, even after a sync that was cut short.
SYNCED := .venv/.synced
$(SYNCED): $(UV) pyproject.toml uv.lock
	$(UV) sync --locked --quiet --compile-bytecode
	@touch $@

setup: $(SYNCED) ## install what is missing: Python packages, Pulumi, kubectl, kustomize, sandbox
	$(RUN) python -m toolchain setup --sandbox

setup-real-nodes: $(SYNCED) ## the same, and what the embedded cluster's real nodes are made of
	$(RUN) python -m toolchain setup --sandbox --real-nodes

up: setup ## bring up the whole platform on the embedded cluster
	$(RUN) python -m sandbox up $(SETTINGS)

preview: setup ## show what `up` would change on the embedded cluster
	$(RUN) python -m sandbox preview $(SETTINGS)

preview-report: setup ## the same as dist/preview.md, for a comment, and dist/preview.html
	@mkdir -p dist
	$(RUN) python -m sandbox preview --events dist/preview.events $(SETTINGS)
	$(RUN) python -m review report dist/preview.events --markdown dist/preview.md --html dist/preview.html

destroy: setup ## take the platform off the embedded cluster
	$(RUN) python -m sandbox destroy $(SETTINGS)

stop: setup ## end the embedded cluster's processes and keep its data; `make up` goes on from there
	$(RUN) python -m sandbox stop

down: setup ## end the embedded cluster and remove its data
	$(RUN) python -m sandbox down

doctor: setup ## what is wrong with the embedded cluster's platform; python -m doctor for another
	$(RUN) python -m doctor --sandbox

explain: setup ## why an object waits: make explain OBJECT=Deployment/kubeflow/ml-pipeline
	$(RUN) python -m components.kubeflow explain -s sandbox $(SETTINGS) $(OBJECT)

lint: $(SYNCED) ## ruff and mypy
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

docs: $(SYNCED) ## the documentation as a site, in dist/site; a broken link fails it
	$(RUN) python -m zensical build --strict --clean

# Root on Linux can run real nodes, and so the tests that need them.
test: $(if $(filter 0,$(shell id -u)),setup-real-nodes,setup) lint ## everything that CI runs
	$(RUN) pytest

faults: setup-real-nodes ## break Redis on real nodes in every way, and report what clients lose
	$(RUN) pytest -m faults

mutation: $(SYNCED) ## change the planner in small ways, and list what its tests do not notice
	$(RUN) mutmut run
	$(RUN) mutmut results

bench: setup ## measure speed and size on this machine, which should be quiet; an hour and more
	$(RUN) python -m benchmarks up
	$(RUN) python -m benchmarks growth
	$(RUN) python -m benchmarks where
	$(RUN) python -m benchmarks settings
	$(RUN) python -m benchmarks redis
