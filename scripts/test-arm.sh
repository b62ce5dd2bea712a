#!/usr/bin/env bash
# Runs tests of iotpi-core, iotpi-hal and the store of iotpi-hub as 64-bit Arm programs, emulated by QEMU in user mode: word
# sizes, alignment, C code and the files of SQLite are those of a Raspberry Pi; the kernel is that of this machine.
#
#   scripts/test-arm.sh [CRATE...]    iotpi-core iotpi-hal iotpi-hub; without names, all of them
set -euo pipefail
cd "$(dirname "$0")/.."
crates=("$@")
[ ${#crates[@]} -gt 0 ] || crates=(iotpi-core iotpi-hal iotpi-hub)

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64-static -L /usr/aarch64-linux-gnu'
for crate in "${crates[@]}"; do
    echo "test-arm: $crate"
    tests=()
    # The tests of the hub's HTTP layer need minutes under emulation and have nothing that depends on the processor.
    [ "$crate" != iotpi-hub ] || tests=(store::)
    cargo test --quiet --locked --target aarch64-unknown-linux-gnu --package "$crate" --lib -- "${tests[@]}"
done
