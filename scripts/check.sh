#!/usr/bin/env bash
# Runs every static check, one after another, then prints a summary.
set -uo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
summary=()
failed=0

check() {
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

lint() { check "clippy $1" cargo clippy --quiet --locked "${@:2}" -- --deny warnings; }

check rustfmt cargo fmt --all --check
lint 'the default packages' --all-targets
lint 'the Python extension and the benches' --all-targets --package iotpi-py --package iotpi-benches
lint 'the wire types alone' --lib --package iotpi-core --no-default-features
lint 'all devices' --all-targets --package iotpi-hal --package iotpi-modules --all-features
lint 'a Pi without simulated devices' --lib --package iotpi-hal --no-default-features --features pi,linux
lint 'a hub without the dashboard' --all-targets --package iotpi-hub --no-default-features
lint 'a hub with sabotage' --lib --package iotpi-hub --features sabotage
document() { check "rustdoc $1" env RUSTDOCFLAGS='--deny warnings' cargo doc --quiet --locked --no-deps "${@:2}"; }

document 'the default features'
document 'no features' --no-default-features --package iotpi-core --package iotpi-hal --package iotpi-hub
document 'all features' --all-features --package iotpi-core --package iotpi-hal --package iotpi-hub
check 'the public Rust interface' scripts/public-api.sh
check layers cargo test --quiet --locked --package iotpi-demo --test it layers
check 'packed crates' scripts/package.sh
check cargo-deny cargo deny --all-features check bans licenses sources
check 'svelte-check' npm --prefix frontend run --silent check
check 'eslint, prettier' npm --prefix frontend run --silent lint
check ruff ruff check iotpi-py
check 'ruff format' ruff format --check iotpi-py
# stubtest compares the stubs with the compiled extension.
check 'the Python extension' env VIRTUAL_ENV="$PWD/.venv" maturin develop --quiet --locked --manifest-path iotpi-py/Cargo.toml
check mypy env --chdir=iotpi-py mypy python/iotpi tests generate_aio.py ../examples/python
check stubtest env --chdir=iotpi-py stubtest iotpi._iotpi --mypy-config-file pyproject.toml
check pyright pyright --project iotpi-py
check 'the types of the public interface' env PYTHONPATH="$PWD/iotpi-py/python" pyright --verifytypes iotpi --ignoreexternal

printf '\nSummary\n'
printf '  %s\n' "${summary[@]}"
exit $failed
