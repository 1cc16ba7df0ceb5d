# Every target sets up what it needs; nothing else has to be typed. Debian 12, Python 3.11, root for set-up.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready
DEBIAN := python3-venv python3-dev gcc libc6-dev nftables libnftables1 libnetfilter-queue-dev iptables \
          iproute2 conntrack iperf3 dnsmasq-base dbus openssl curl \
          squid-openssl tinyproxy microsocks nmap prometheus-blackbox-exporter libxml2-utils shellcheck \
          postgresql-15 chromium fonts-noto-cjk \
          wget nodejs golang-go openjdk-17-jdk-headless

.PHONY: fuzz help setup run demo test check unit netns golden bench accuracy coverage clean
.DEFAULT_GOAL := help

help: ## show this help
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install what is missing: Debian packages, virtual environment

$(STAMP): requirements.lock pyproject.toml tests/contract/api/schemas.lock tools/debian_packages.sh
	@tools/debian_packages.sh $(DEBIAN)
	@test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# A wheel that this Python cannot run: only the JSON schemas in it are read, by the API's tests.
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
	  --require-hashes --dest $(VENV)/schemas -r tests/contract/api/schemas.lock
	@touch $@

run: $(STAMP) ## controller, portal and a lab device to isolate from the browser; Ctrl-C ends and removes all
	@$(PY) -m tests.run

demo: $(STAMP) ## isolate a lab device and show what it reaches: before, isolated, released
	@$(PY) -m tests.demo

test: $(STAMP) check ## every test, the network-namespace ones too, with branch coverage
	@tools/run_tests.sh

check: $(STAMP) ## format, lint, types (linux and win32), import contract; no privileges
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy --no-error-summary
	@# With a cache of its own: one cache for both platforms is thrown away at every change from one to the other.
	$(VENV)/bin/mypy --no-error-summary --platform win32 --cache-dir .mypy_cache/win32
	$(VENV)/bin/lint-imports --no-logo

unit: $(STAMP) ## the tests that need no privileges
	$(PY) -m pytest -q -n 2 tests/unit tests/property tests/golden

netns: $(STAMP) ## the tests in network namespaces
	@tools/run_tests.sh netns alone

golden: $(STAMP) ## write the golden files anew; review them like code
	GOLDEN=write ISOLATOR_UPDATE_GOLDEN=1 $(PY) -m pytest -q tests/golden

fuzz: $(STAMP) ## fuzz the readers of DNS, TLS and HTTP, ten minutes in all
	@$(PY) -m tests.fuzz 200

bench: $(STAMP) ## benchmarks as ratios within one run; writes bench/results.json
	@$(PY) -m bench

accuracy: $(STAMP) ## break a lab network in 200 ways and see who finds out; writes docs/preflight-accuracy.md
	@$(PY) -m tests.faults --write docs/preflight-accuracy.md

clean: ## remove what set-up and tests made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage* build *.egg-info
