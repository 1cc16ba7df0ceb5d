#!/usr/bin/env bash
# Runs every test, or the stages named as arguments: unit, api, portal, netns, alone. Tests with namespaces of
# their own may run beside each other; those of tests/alone.txt measure time and get the machine to themselves.
# With unit goes the coverage floor. Nothing runs in the background: SIGINT would be ignored there.
set -uo pipefail
py=.venv/bin/python
export COVERAGE_FILE="${COVERAGE_FILE:-.coverage}"
status=0
mapfile -t alone < <(sed -n 's/^\(tests\/[^ ]*\) .*/\1/p' tests/alone.txt)

unit() {
  rm -f "$COVERAGE_FILE" "$COVERAGE_FILE".*
  "$py" -m coverage run --parallel-mode -m pytest -q -n 2 tests/unit tests/property tests/golden || status=1
  "$py" -m coverage combine -q || status=1
  "$py" -m coverage report --fail-under=100 --skip-covered \
    --include='allowlists/*,isolator/model/*,isolator/core/*,isolator/wire/*,connectivity_check/failure.py,connectivity_check/model.py,connectivity_check/core/*,api/core/*' || status=1
}

# Three workers on two processors: these wait for databases, processes and clocks as much as they compute. The two
# longest modules come first, so that no worker is alone with one of them at the end.
api() {
  local first=(tests/contract/api/test_fleet.py tests/contract/api/test_serving.py) rest
  mapfile -t rest < <(find tests/contract/api -name 'test_*.py' | grep -vxF "$(printf '%s\n' "${first[@]}")" | sort)
  "$py" -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder "${first[@]}" "${rest[@]}" || status=1
}

# By itself: Playwright keeps an event loop running in its process, in which nobody else can run one.
portal() { "$py" -m pytest -q -n 2 --dist loadfile tests/e2e/portal || status=1; }

# The long modules are in the first directory, the short ones in the last, so that no worker is late at the end.
netns() {
  "$py" -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder tests/e2e tests/netns tests/contract \
    --ignore=tests/contract/api --ignore=tests/e2e/portal "${alone[@]/#/--ignore=}" || status=1
}

alone() { "$py" -m pytest -q "${alone[@]}" || status=1; }

for stage in "${@:-unit api portal netns alone}"; do
  for each in $stage; do
    SECONDS=0
    case "$each" in
      unit | api | portal | netns | alone) "$each" ;;
      *) printf 'no such stage: %s\n' "$each" >&2; exit 2 ;;
    esac
    printf 'stage %s: %d:%02d\n' "$each" $((SECONDS / 60)) $((SECONDS % 60))
  done
done
exit $status
