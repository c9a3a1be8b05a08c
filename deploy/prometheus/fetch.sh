#!/bin/sh
# Fetches Debian's package of Prometheus, with promtool, into a directory, for the tests of what lies beside this file.
# Nothing is installed, and no root is needed. Where it cannot be had, the file "missing" there says why, and the tests
# that need it are skipped with that reason.
set -u
into=$1
mkdir -p "$into"
into=$(cd "$into" && pwd)
rm -f "$into/missing"

give_up() {
    echo "$1" > "$into/missing"
    echo "Prometheus is not here, so some tests will be skipped: $1" >&2
    exit 0
}

# Where the machine has no lists of packages, and no root to fetch them, apt keeps its own in the directory.
fetch() {
    apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=15 "$@" download prometheus
}

fetch_with_own_lists() {
    mkdir -p "$into/apt/lists/partial" "$into/apt/cache/archives/partial"
    own="-o Dir::State::Lists=$into/apt/lists -o Dir::Cache=$into/apt/cache"
    # shellcheck disable=SC2086 - options without spaces
    apt-get -qq $own -o Acquire::Retries=1 -o Acquire::http::Timeout=15 update && fetch $own
}

command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null \
    || give_up "this is not Debian or one of its kin: there is no apt-get"
cd "$into"
fetch 2> log || fetch_with_own_lists 2>> log || give_up "apt-get cannot fetch its package: see $into/log"
dpkg-deb -x prometheus_*.deb . 2>> log || give_up "its package cannot be unpacked: see $into/log"
rm -rf apt prometheus_*.deb
usr/bin/promtool --version > /dev/null 2>> log || give_up "its programs do not run here: see $into/log"
