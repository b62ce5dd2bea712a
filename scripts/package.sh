#!/usr/bin/env bash
# Packs the crates that are meant for a registry, as `cargo publish` would, and checks what is inside.
#
#   scripts/package.sh            checks the contents only: seconds
#   scripts/package.sh --verify   also builds every package from its own files and installs the programs: minutes
set -euo pipefail
cd "$(dirname "$0")/.."

libraries=(iotpi-core iotpi-hal iotpi-hub)
programs=(iotpi-hub-app iotpi-modules iotpi-demo)
crates=("${libraries[@]}" "${programs[@]}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT

# cargo resolves the crates that depend on each other among themselves, so none has to be in a registry.
# --allow-dirty: the dashboard is not in git.
pack=(cargo package --locked --allow-dirty --quiet)
for crate in "${crates[@]}"; do pack+=(--package "$crate"); done
[ "${1:-}" = --verify ] || pack+=(--no-verify)
"${pack[@]}"

target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
for crate in "${crates[@]}"; do
    tar xzf "$target/package/$crate-$version.crate" -C "$unpacked"
    for file in LICENSE-MIT LICENSE-APACHE README.md; do
        [ -f "$unpacked/$crate-$version/$file" ] || { echo "$crate has no $file"; exit 1; }
    done
done
dashboard=$unpacked/iotpi-hub-$version/dashboard
[ -f "$dashboard/index.html" ] && [ -d "$dashboard/_app" ] || { echo "iotpi-hub has no dashboard: run \`make ui\`"; exit 1; }
for licence in LICENSE-MIT LICENSE-APACHE; do
    # The Python package has copies.
    cmp "$licence" "iotpi-py/$licence"
done
[ "${1:-}" = --verify ] || exit 0

patch=()
for crate in "${libraries[@]}"; do
    patch+=(--config "patch.crates-io.$crate.path='$unpacked/$crate-$version'")
done
for crate in "${programs[@]}"; do
    cargo install --quiet --debug "${patch[@]}" --path "$unpacked/$crate-$version" --root "$unpacked/installed" --target-dir "$target"
done
"$unpacked/installed/bin/iotpi-hub" --version
"$unpacked/installed/bin/iotpi-module" --version
"$unpacked/installed/bin/iotpi-demo" --version
