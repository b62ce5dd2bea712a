#!/usr/bin/env bash
# Tests the V4L2 camera with a real kernel: a small guest in QEMU with Debian's kernel and its virtual camera `vivid`; the module
# runs in the guest, the hub outside. The test itself is reference-app/demo/tests/guest/camera.rs; this script builds the guest
# (scripts/guest.sh) and runs the test.
#
#   scripts/test-vm.sh            the test
#   scripts/test-vm.sh guest      builds only the guest, and prints its folder
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/guest.sh
guest_start "$PWD/target/vm" amd64

cargo build --quiet --locked --package iotpi-hub-app --package iotpi-modules --features iotpi-modules/v4l
module=${CARGO_TARGET_DIR:-$PWD/target}/debug/iotpi-module
strip -o "$root/bin/iotpi-module" "$module"
ldd "$module" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root/$(dirname "$library")" && cp -L "$library" "$root/$library"
done
for name in virtio_pci virtio_net vivid; do guest_driver "$name"; done
# The test loads the camera's module itself.
sed -i '/^vivid$/d' "$root/drivers/order"
guest_pack eth0

if [ "${1:-}" = guest ]; then
    echo "$guest/vmlinuz $guest/initramfs"
    exit
fi
rm -rf "$root"
IOTPI_VM=$guest cargo test --quiet --locked --package iotpi-demo --test guest camera:: -- --ignored --nocapture
