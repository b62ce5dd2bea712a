#!/usr/bin/env bash
# Builds the Python package into iotpi-py/dist: one wheel for each architecture whose Rust standard library is installed.
# Zig links them against glibc 2.28 (2018), so that they also run on systems older than this one.
#
#   scripts/wheel.sh [ARCH...]   x86_64 aarch64; without names, both
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

[ $# -gt 0 ] || set -- x86_64 aarch64
missing=()
for arch in "$@"; do
    target=$arch-unknown-linux-gnu
    if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
        missing+=("$target")
        continue
    fi
    maturin build --release --locked --manifest-path iotpi-py/Cargo.toml --out iotpi-py/dist \
        --target "$target" --zig --compatibility manylinux_2_28
done
for target in "${missing[@]}"; do
    printf 'NOT BUILT for %s: its standard library is not installed (rustup target add %s)\n' "$target" "$target" >&2
done
[ ${#missing[@]} -lt $# ]
