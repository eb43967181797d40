#!/usr/bin/env bash
# Installs what some tests start for themselves: HAProxy, Valkey or Redis, PgBouncer, and the promtool of Prometheus.
# For root on Debian and its kin, and without starting a service. Elsewhere it says what is missing: those tests skip.
set -euo pipefail

export PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive

has() { command -v "$1" >/dev/null; }

# The packages that are missing, each of which is named as its service is.
missing() {
    has haproxy || echo haproxy
    has valkey-server || has redis-server || valkey_or_redis
    has pgbouncer || echo pgbouncer
    has promtool || echo prometheus
}

# Older distributions have Redis alone.
valkey_or_redis() {
    if has apt-cache && apt-cache show valkey-server &>/dev/null; then echo valkey-server; else echo redis-server; fi
}

install_missing() {
    mapfile -t packages < <(missing)
    apt-get install -qq --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "${packages[@]}" >/dev/null
}

wanted=$(missing)
[[ -n "$wanted" ]] || exit 0

if [[ "$(id -u)" == 0 ]] && has apt-get; then
    echo "installing ${wanted//$'\n'/ }"
    policy=/usr/sbin/policy-rc.d # no service is started while it says 101
    if [[ ! -e "$policy" ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    # The lists of packages may be old, or none.
    install_missing 2>/dev/null || { apt-get update -qq && install_missing 2> >(grep '^E: ' >&2); } || true
    # Nor is one started when this machine starts again.
    ! has systemctl || systemctl --quiet disable "${packages[@]}" &>/dev/null || true
fi

left=$(missing)
[[ -z "$left" ]] || echo "not installed, so the tests that start them skip: ${left//$'\n'/ }"
