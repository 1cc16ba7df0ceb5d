#!/bin/sh
# Run an onboarding package only when every required endpoint is open.
#
#   gate.sh [OPTION OF isolator-check]... -- COMMAND [ARGUMENT]...
#   gate.sh --list streamlined --geo EU -- ./MicrosoftDefenderATPOnboardingLinuxServer.sh
#
# Environment:
#   ISOLATOR_CHECK   the program to ask (default: isolator-check on PATH)
#   GATE_REPORT      where the JSON report is kept (default: ./preflight-HOST-UTC.json)
#
# Exit: what COMMAND gives once it was started, else 1 blocked, 2 usage or bad input, 3 could not measure.
# Which of the two it was is on standard error: "gate: starting ..." or "gate: not starting ...".
set -u

say() { printf 'gate: %s\n' "$1" >&2; }

refuse() {
    say "not starting the onboarding: $2"
    exit "$1"
}

# "$@" is OPTIONS -- COMMAND; these two functions keep one half each, since sh has no arrays.
check() {
    number=0
    while [ "$number" -lt "$options" ]; do
        set -- "$@" "$1"
        shift
        number=$((number + 1))
    done
    shift $(($# - options))
    # Ours come last: they win over the same options given by the caller.
    "${ISOLATOR_CHECK:-isolator-check}" "$@" --gate --format json --output "$report"
}

start() {
    shift $((options + 1))
    exec "$@"
}

options=0
for each in "$@"; do
    [ "$each" = -- ] && break
    options=$((options + 1))
done
[ $(($# - options)) -ge 2 ] || refuse 2 "usage: gate.sh [OPTION OF isolator-check]... -- COMMAND [ARGUMENT]..."
command -v "${ISOLATOR_CHECK:-isolator-check}" >/dev/null ||
    refuse 2 "${ISOLATOR_CHECK:-isolator-check} is not installed"

report=${GATE_REPORT:-./preflight-$(uname -n)-$(date -u +%Y%m%dT%H%M%SZ).json}
rm -f -- "$report" || refuse 2 "the old report $report cannot be removed"

verdict=$(check "$@")
code=$?
[ -z "$verdict" ] || say "$verdict"

# The word and a new report are asked for as well: exit code 0 alone also comes from --help.
case $code/$verdict in
    0/open:*) ;;
    0/*) refuse 3 "no verdict from ${ISOLATOR_CHECK:-isolator-check}" ;;
    1/*) refuse 1 "required endpoints are blocked; the report for the network team is $report" ;;
    2/*) refuse 2 "the check was asked for something it cannot do" ;;
    *) refuse 3 "the network could not be judged; try again, and see $report if it is there" ;;
esac
[ -s "$report" ] || refuse 3 "the report $report was not written"
say "starting the onboarding; the report is kept in $report"
start "$@"
