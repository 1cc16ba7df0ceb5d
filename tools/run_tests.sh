#!/usr/bin/env bash
# Runs every test: those without privileges and those of the controller side by side, those in namespaces one
# after the other (they measure packets in time and must not share the processors), then the coverage floor.
set -uo pipefail
py=.venv/bin/python
export COVERAGE_FILE="${COVERAGE_FILE:-.coverage}"
rm -f "$COVERAGE_FILE" "$COVERAGE_FILE".*
status=0
"$py" -m coverage run --parallel-mode -m pytest -q -n 2 tests/unit tests/property tests/golden || status=1
"$py" -m pytest -q -n 2 --dist loadfile tests/contract/api || status=1
# By itself: Playwright keeps an event loop running in its process, in which nobody else can run one.
"$py" -m pytest -q -n 2 --dist loadfile tests/e2e/portal || status=1
"$py" -m pytest -q tests/contract tests/netns tests/e2e \
  --ignore=tests/contract/api --ignore=tests/e2e/portal || status=1
"$py" -m coverage combine -q || status=1
"$py" -m coverage report --fail-under=100 --skip-covered \
  --include='allowlists/*,isolator/model/*,isolator/core/*,isolator/wire/*,connectivity_check/failure.py,connectivity_check/model.py,connectivity_check/core/*,api/core/*' || status=1
exit $status
