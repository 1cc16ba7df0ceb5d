#!/usr/bin/env bash
# Installs the Debian packages named as arguments that are missing; says what to do where it cannot.
set -euo pipefail
missing=()
for package in "$@"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "set-up needs these Debian packages: ${missing[*]}" >&2
  echo "run once as root: apt-get update && apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# Programs that tests start in namespaces (squid, tinyproxy) must not run as services of this machine:
# invoke-rc.d starts nothing while policy-rc.d says 101. One that is there already is left alone.
guard=/usr/sbin/policy-rc.d
if [ -e "$guard" ]; then guard=; else printf '#!/bin/sh\nexit 101\n' >"$guard" && chmod 755 "$guard"; fi
trap 'rm -f "$log" ${guard:+"$guard"}' EXIT
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  exit 1
fi
# Nor after the next boot.
for service in squid tinyproxy prometheus-blackbox-exporter postgresql; do
  case " ${missing[*]} " in *" $service "* | *" $service-openssl "* | *" $service-15 "*) update-rc.d "$service" disable >/dev/null 2>&1 || true ;; esac
done
