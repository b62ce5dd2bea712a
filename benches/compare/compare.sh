#!/usr/bin/env bash
# The camera path, whole processes against each other, in turns: the hub, bare hyper, plain sockets, FastAPI and, where
# there is a V4L2 device, ustreamer. README.md says what is measured and how to read it.
#
#   benches/compare/compare.sh                     everything, 3 rounds, about 10 minutes
#   ROUNDS=1 SECS=2 benches/compare/compare.sh ingest acknowledged      some of it, quickly
#   LINES=FILE ...                                 also keeps the lines of JSON the table is made of
#
# Every measurement has a server of its own, started for it on a free port and ended after it.
set -euo pipefail
cd "$(dirname "$0")/../.."

ROUNDS=${ROUNDS:-3} SECS=${SECS:-3}
VENV=benches/compare/.venv
TARGET=${CARGO_TARGET_DIR:-target}/release
HUB=$TARGET/iotpi-hub LOAD=$TARGET/camera-load

say() { printf 'compare: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

build() {
    # Two builds: in one, the hub would have the features the benches ask for.
    cargo build --quiet --release --locked --package iotpi-hub-app
    cargo build --quiet --release --locked --package iotpi-benches --bin camera-load
    if ! "$VENV/bin/python" -c 'import fastapi, httptools, uvicorn, uvloop' 2>/dev/null; then
        say "installing FastAPI and uvicorn into $VENV"
        python3 -m venv "$VENV"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check -r benches/compare/requirements.txt
    fi
}

server=''
end_server() {
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=''
}
# On the disk the repository is on: /tmp may be memory.
folder=$(mktemp -d "$(realpath .)/target/compare-XXXXXX")
trap 'end_server; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

# start NAME: sets `server` (its process), `url` and `token`.
start() {
    local out=$folder/out tries
    token=''
    : >"$out"
    case $1 in
        hub)
            rm -rf "$folder/data"
            token=$("$HUB" token add --role operator load --data "$folder/data" 2>/dev/null)
            RUST_LOG=warn "$HUB" serve --data "$folder/data" --listen 127.0.0.1:0 >"$out" 2>&1 &
            ;;
        hyper | plain) "$LOAD" serve-bare "$1" >"$out" 2>&1 & ;;
        fastapi)
            "$VENV/bin/python" -m uvicorn --app-dir benches/compare fastapi_app:app --host 127.0.0.1 --port 0 \
                --loop uvloop --http httptools --no-access-log >"$out" 2>&1 &
            ;;
    esac
    server=$!
    for ((tries = 0; tries < 150; tries++)); do
        url=$(grep -oEm1 'http://127\.0\.0\.1:[0-9]+' "$out" || true)
        [ -z "$url" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    sed 's/^/    /' "$out" >&2
    fail "$1 does not listen"
}

# measure NAME SERVER COMMAND ARG...: one line of JSON.
measure() {
    local name=$1 label=$2 command=$3
    shift 3
    start "$label"
    "$LOAD" "$command" --url "$url" ${token:+--token "$token"} --pid "$server" --label "$label" --name "$name" \
        --secs "$SECS" "$@" >>"$folder/lines" || fail "$name with $label was not measured"
    end_server
}

ingest() {
    local kilobytes label
    for kilobytes in 30 100 500; do
        for label in hub hyper plain fastapi; do
            measure "ingest, $kilobytes KB, 4 connections" "$label" ingest --bytes "${kilobytes}000"
        done
    done
}
push() {
    if ! "$HUB" openapi | "$VENV/bin/python" -c 'import json, sys; sys.exit("post" not in json.load(sys.stdin)["paths"]["/api/camera/stream"])'; then
        say 'push is not compared: this hub has no POST /api/camera/stream'
        return
    fi
    local label
    measure 'push, 100 KB, 4 connections' hub ingest --push
    # The others take no push: what a frame in a request of its own costs them is what to compare with.
    for label in hyper plain fastapi; do measure 'push, 100 KB, 4 connections' "$label" ingest; done
}
fanout() {
    local fps label
    for fps in 10 30; do
        for label in hub plain fastapi; do
            measure "fan-out, 100 KB, 20 viewers, $fps fps" "$label" fanout --fps "$fps"
        done
    done
}
stalled() {
    local label
    for label in hub plain fastapi; do
        measure 'fan-out, 10 fps, 20 viewers, 10 stalled' "$label" fanout --stalled 10
    done
}
acknowledged() {
    local label
    for label in hub plain fastapi; do
        measure 'as fast as acknowledged, 20 viewers' "$label" fanout --as-fast-as-acknowledged
    done
}
memory() {
    local label
    for label in hub plain fastapi; do
        measure '8 cameras, 15 fps, 100 viewers' "$label" fanout --cameras 8 --viewers 100 --fps 15
    done
}

tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(ingest push fanout stalled acknowledged memory)
for test in "${tests[@]}"; do
    case $test in
        ingest | push | fanout | stalled | acknowledged | memory) ;;
        *) fail "there is no measurement \`$test\`: ingest push fanout stalled acknowledged memory" ;;
    esac
done
build
: >"$folder/lines"
for ((round = 1; round <= ROUNDS; round++)); do
    for test in "${tests[@]}"; do
        say "round $round of $ROUNDS: $test"
        "$test"
    done
done
[ -z "${LINES:-}" ] || cp "$folder/lines" "$LINES"
"$VENV/bin/python" benches/compare/table.py "$folder/lines"
