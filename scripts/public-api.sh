#!/usr/bin/env bash
# Compares the public Rust interface of the libraries with docs/ref/public-api/, one line for each public item.
#
#   scripts/public-api.sh            prints the differences and fails if there are any
#   scripts/public-api.sh --bless    rewrites the files
#
# The interface is read from rustdoc's JSON, whose format belongs to one version of Rust: cargo-public-api 0.52.0 reads
# that of 1.95. RUSTC_BOOTSTRAP lets the stable toolchain write it.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
RUST=1.95.0
target=${CARGO_TARGET_DIR:-target}
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT

if [ "$(rustc --version | cut -d' ' -f2)" != "$RUST" ]; then
    rustup run "$RUST" rustc --version >/dev/null 2>&1 || {
        echo "the public interface is read with Rust $RUST; to install it: rustup toolchain install $RUST --profile minimal" >&2
        exit 1
    }
    export RUSTUP_TOOLCHAIN=$RUST
fi

libraries=(iotpi-core iotpi-hal iotpi-hub)
# The same features as the documentation of all features, which has checked the dependencies.
RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS='-Z unstable-options --output-format json' \
    cargo doc --quiet --locked --no-deps --lib --all-features "${libraries[@]/#/--package=}"
# The auto traits but Send and Sync, and traits of derives that nobody names, are left out.
for library in "${libraries[@]}"; do
    cargo-public-api public-api --omit blanket-impls --rustdoc-json "$target/doc/${library//-/_}.json" |
        grep -vE '^impl.* core::(marker::(Freeze|Unpin|UnsafeUnpin|StructuralPartialEq)|panic::unwind_safe::)' >"$found/$library.txt"
done

if [ "${1:-}" = --bless ]; then
    mkdir -p docs/ref/public-api
    cp "$found"/*.txt docs/ref/public-api/
else
    diff --recursive --unified=0 docs/ref/public-api "$found" || {
        echo 'the public interface has changed: review it, run `make bless`, and name a breaking change in CHANGELOG.md' >&2
        exit 1
    }
fi
