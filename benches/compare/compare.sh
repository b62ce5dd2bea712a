#!/usr/bin/env bash
# Compares the camera path of servers, each as a process of its own, in turns: the hub, bare hyper, plain sockets, FastAPI
# twice and, if there is a V4L2 device, ustreamer. README.md describes the measurements and the table.
#
#   benches/compare/compare.sh                       everything, 3 rounds, about 15 minutes
#   ROUNDS=1 SECS=2 benches/compare/compare.sh ingest acknowledged     only some parts, quickly
#   SERVERS='hub plain' ...                          only these servers
#   HUB=FILE ...                                     another build of the hub
#   OTHERS=10 TRIES=5 ...                            the share of the machine that other programs may use (percent); the
#                                                    number of tries of a measurement until they use less
#   JSON=FILE ...                                    also saves the measurements of the table as lines of JSON
#   V4L2=/dev/video0 ...                             the camera for ustreamer
#
# Each measurement starts a new server on a free port, and stops it afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."

ROUNDS=${ROUNDS:-3} SECS=${SECS:-3} OTHERS=${OTHERS:-10} TRIES=${TRIES:-5}
SERVERS=${SERVERS:-hub hyper plain fastapi fastapi-uvloop ustreamer}
VENV=benches/compare/.venv
TARGET=${CARGO_TARGET_DIR:-target}/release
LOAD=$TARGET/hub-load

log() { printf 'compare: %s\n' "$*" >&2; }
fail() { log "$*"; exit 1; }

build() {
    scripts/doctor.sh compare
    # Two builds: in a single one, the hub would also have the features that the benches enable.
    [ -n "${HUB:-}" ] || cargo build --quiet --release --locked --package iotpi-hub-app
    HUB=${HUB:-$TARGET/iotpi-hub}
    cargo build --quiet --release --locked --package iotpi-benches --bin hub-load
    V4L2=${V4L2:-$(compgen -G '/dev/video*' | head -n1 || true)}
    if ! wants ustreamer; then
        return
    elif [ -z "$V4L2" ]; then
        log 'ustreamer is not compared: there is no V4L2 device (modprobe vivid creates one, if the kernel has it)'
        SERVERS=${SERVERS/ustreamer/}
    elif ! command -v ustreamer >/dev/null; then
        log 'ustreamer is not compared: it is not installed (Debian: apt-get install ustreamer)'
        SERVERS=${SERVERS/ustreamer/}
    fi
}
wants() { [[ " $SERVERS " == *" $1 "* ]]; }

server=''
end_server() {
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=''
}
# On the same disk as the repository: /tmp may be in memory.
folder=$(mktemp -d "$(realpath .)/target/compare-XXXXXX")
# An interrupted run prints the results so far.
finish() {
    end_server
    if [ -s "$folder/lines" ]; then
        [ -z "${JSON:-}" ] || cp "$folder/lines" "$JSON"
        python3 benches/compare/table.py "$folder/lines" || true
    fi
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

# exec: the process becomes uvicorn itself, so that it can be measured and stopped.
uvicorn() {
    exec "$VENV/bin/python" -m uvicorn --app-dir benches/compare fastapi_app:app --host 127.0.0.1 --port 0 \
        --loop "$1" --http "$2" --no-access-log
}

# start NAME: sets `server` (its process), `url` and `token`.
start() {
    local out=$folder/out tries
    token=''
    : >"$out"
    case $1 in
        hub)
            rm -rf "$folder/data"
            # The rate limits of quotas do not apply to an admin.
            token=$("$HUB" token add --role admin load --data "$folder/data" 2>/dev/null)
            RUST_LOG=warn "$HUB" serve --data "$folder/data" --listen 127.0.0.1:0 >"$out" 2>&1 &
            ;;
        hyper | plain) "$LOAD" serve-bare "$1" >"$out" 2>&1 & ;;
        # The defaults of `pip install fastapi uvicorn`.
        fastapi) uvicorn asyncio h11 >"$out" 2>&1 & ;;
        # The same service on its fastest event loop and parser.
        fastapi-uvloop) uvicorn uvloop httptools >"$out" 2>&1 & ;;
        ustreamer)
            local port
            port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
            echo "http://127.0.0.1:$port" >"$out"
            ustreamer --host 127.0.0.1 --port "$port" --device "$V4L2" --resolution 1280x720 --desired-fps "$ustreamer_fps" \
                >>"$out" 2>&1 &
            ;;
    esac
    server=$!
    for ((tries = 0; tries < 150; tries++)); do
        url=$(grep -oEm1 'http://127\.0\.0\.1:[0-9]+' "$out" || true)
        # The port of ustreamer is known before it listens.
        [ -z "$url" ] || ! (exec 3<>"/dev/tcp/127.0.0.1/${url##*:}") 2>/dev/null || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    sed 's/^/    /' "$out" >&2
    fail "$1 does not listen"
}

# measure NAME SERVER COMMAND ARG...: measures once, as one line of JSON. Repeats while other programs disturb it, and keeps
# the least disturbed measurement.
measure() {
    local name=$1 label=$2 command=$3 try others least=1000
    shift 3
    wants "$label" || return 0
    for ((try = 1; try <= TRIES; try++)); do
        start "$label"
        "$LOAD" "$command" --url "$url" ${token:+--token "$token"} --pid "$server" --label "$label" --name "$name" \
            --secs "$SECS" "$@" >"$folder/try" || fail "$name with $label was not measured"
        end_server
        others=$(sed -En 's/.*"others_percent":([0-9]+).*/\1/p' "$folder/try")
        if [ "$others" -lt "$least" ]; then
            least=$others
            cp "$folder/try" "$folder/line"
        fi
        [ "$others" -gt "$OTHERS" ] || break
        log "other programs used $others % of the machine: $name, $label (try $try of $TRIES)"
    done
    cat "$folder/line" >>"$folder/lines"
}
# all NAME COMMAND ARG...: measures each server, one after the other.
all() {
    local name=$1 label
    shift
    for label in hub hyper plain fastapi fastapi-uvloop; do
        # Bare hyper only ingests.
        [ "$label" != hyper ] || [ "$1" = ingest ] || continue
        measure "$name" "$label" "$@"
    done
}

ingest() {
    local kilobytes
    for kilobytes in 30 100 500; do
        all "ingest, $kilobytes KB, 4 connections" ingest --bytes "${kilobytes}000"
    done
}
push() {
    if ! "$HUB" openapi | python3 -c 'import json, sys; sys.exit("post" not in json.load(sys.stdin)["paths"]["/api/camera/stream"])'; then
        log 'push is not compared: this hub has no POST /api/camera/stream'
        return
    fi
    # No other server accepts a push: the comparison is with frames in requests of their own.
    measure 'push, 100 KB, 4 connections' hub ingest --push
    SERVERS=${SERVERS/hub/} all 'push, 100 KB, 4 connections' ingest
}
fanout() {
    local fps
    for fps in 10 30; do
        all "fan-out, 100 KB, 20 viewers, $fps fps" fanout --fps "$fps"
        # It captures its own frames: their age is unknown, and its CPU time includes capturing them.
        ustreamer_fps=$fps measure "fan-out, 100 KB, 20 viewers, $fps fps" ustreamer \
            fanout --cameras 0 --watch-path /stream
    done
}
stalled() { all 'fan-out, 10 fps, 20 viewers, 10 stalled' fanout --stalled 10; }
acknowledged() { all 'as fast as acknowledged, 20 viewers' fanout --as-fast-as-acknowledged; }
# Bare hyper answers any request with an empty 204.
requests() {
    local server
    for server in hub hyper; do
        measure 'GET /health, 8 connections' "$server" requests
    done
}
memory() { all '8 cameras, 15 fps, 100 viewers' fanout --cameras 8 --viewers 100 --fps 15; }

tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(requests ingest push fanout stalled acknowledged memory)
for test in "${tests[@]}"; do
    case $test in
        requests | ingest | push | fanout | stalled | acknowledged | memory) ;;
        *) fail "there is no measurement \`$test\`: requests ingest push fanout stalled acknowledged memory" ;;
    esac
done
build
: >"$folder/lines"
for ((round = 1; round <= ROUNDS; round++)); do
    for test in "${tests[@]}"; do
        log "round $round of $ROUNDS: $test"
        "$test"
    done
done
