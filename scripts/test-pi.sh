#!/usr/bin/env bash
# Tests a module on an emulated Raspberry Pi 3: QEMU's machine `raspi3b` with Debian's arm64 kernel and device tree. The module
# `iotpi-module` is built for aarch64 with rppal and runs in the guest; the hub runs outside, and the guest reaches it over an
# emulated USB network card. The test itself is reference-app/demo/tests/guest/raspberry_pi.rs; this script builds the guest
# (scripts/guest.sh) and runs the test.
#
#   scripts/test-pi.sh            the test
#   scripts/test-pi.sh guest      builds only the guest, and prints its folder
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/guest.sh
guest_start "$PWD/target/pi" arm64
cp "$guest/$kernel"/usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb "$guest/board.dtb"

target=aarch64-unknown-linux-gnu
built=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
cargo build --quiet --locked --target $target --package iotpi-modules --features pi
cargo build --quiet --locked --package iotpi-hub-app
aarch64-linux-gnu-strip -o "$root/bin/iotpi-module" "$built/$target/debug/iotpi-module"
mkdir -p "$root/lib"
for library in ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libgcc_s.so.1; do
    cp -L "/usr/aarch64-linux-gnu/lib/$library" "$root/lib/$library"
done
for name in dwc2 cdc_ether bcm2835 mmc_block crc32c_generic ext4; do guest_driver "$name"; done
guest_pack usb0

if [ "${1:-}" = guest ]; then
    echo "$guest/vmlinuz $guest/initramfs $guest/board.dtb"
    exit
fi
rm -rf "$root"
IOTPI_PI=$guest cargo test --quiet --locked --package iotpi-demo --test guest raspberry_pi:: -- --ignored --nocapture
