#!/usr/bin/env bash
# Runs every static check, one after another, then prints a summary.
set -uo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
summary=()
failed=0

look() {
    local name=$1
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    if "$@" </dev/null; then
        summary+=("$name: ok")
    else
        summary+=("$name: FAILED")
        failed=1
    fi
}

lint() { look "clippy $1" cargo clippy --quiet --locked "${@:2}" -- --deny warnings; }

look rustfmt cargo fmt --all --check
lint 'all that is built by default' --all-targets
lint 'the Python extension and the benches' --all-targets --package iotpi-py --package iotpi-benches
lint 'the vocabulary alone' --lib --package iotpi-core --no-default-features
lint 'every device' --all-targets --package iotpi-hal --package iotpi-modules --all-features
lint 'a Pi without simulated devices' --lib --package iotpi-hal --no-default-features --features pi,linux
lint 'a hub without dashboard' --all-targets --package iotpi-hub --no-default-features
lint 'a hub that breaks its promises' --lib --package iotpi-hub --features sabotage
look rustdoc env RUSTDOCFLAGS='--deny warnings' cargo doc --quiet --locked --no-deps
look layers cargo test --quiet --locked --package iotpi-demo --test it layers
look cargo-deny cargo deny --all-features check bans licenses sources
look 'svelte-check' npm --prefix frontend run --silent check
look 'eslint, prettier' npm --prefix frontend run --silent lint
look ruff ruff check iotpi-py
look 'ruff format' ruff format --check iotpi-py

printf '\nSummary\n'
printf '  %s\n' "${summary[@]}"
exit $failed
