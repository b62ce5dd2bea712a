#!/usr/bin/env bash
# Asks a hub whatever its own OpenAPI description allows and a little more (schemathesis), as an admin and as a module: no
# answer may be a failure of the hub, have a status that is not described, or a body of another shape. EXAMPLES of each
# operation (100); prints what to repeat a finding with.
set -euo pipefail
cd "$(dirname "$0")/.."

data=$(mktemp -d)
hub=
trap '[ -z "$hub" ] || kill "$hub" 2>/dev/null || true; wait; rm -rf "$data"' EXIT

cargo build --quiet --locked -p iotpi-hub-app
program=$PWD/target/debug/iotpi-hub
admin=$("$program" token add --role admin fuzz --data "$data" 2>/dev/null)
module=$("$program" token add --role module --module attic --data "$data" 2>/dev/null)
mkfifo "$data/says"
"$program" serve --listen 127.0.0.1:0 --data "$data" >"$data/says" 2>"$data/log" &
hub=$!
while read -r line; do
    case $line in *' listening on '*) url=${line##* listening on }; break ;; esac
done <"$data/says"

# Streams and long polls do not end by themselves, and a fresh snapshot of a camera that delivers none is a 503 by design.
endless='/api/(live|camera/stream|camera/snapshot)|/commands$'
for token in "$admin" "$module"; do
    .venv/fuzz/bin/schemathesis run "$url/api/openapi.json" \
        --header "Authorization: Bearer $token" --exclude-path-regex "$endless" \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
        --max-examples "${EXAMPLES:-100}" --request-timeout 10 --suppress-health-check all --warnings off --no-color
done
# All that was asked is over, and the hub stops in order.
kill -TERM "$hub"
wait "$hub"
hub=
