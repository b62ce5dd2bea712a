#!/usr/bin/env bash
# Tests the V4L2 camera and the sensors of the kernel with a real kernel: a small guest in QEMU with Debian's kernel, its virtual
# camera `vivid` and its simulated I2C bus `i2c-stub`; the module runs in the guest, the hub outside. The tests themselves are
# camera.rs and kernel_sensors.rs in reference-app/demo/tests/guest; this script builds the guest (scripts/guest.sh) and runs them.
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
for name in virtio_pci virtio_net vivid i2c_dev i2c_stub lm75 bmp280_i2c; do guest_driver "$name"; done
# The tests load the camera and the I2C bus themselves.
sed -i '/^vivid$/d; /^i2c-stub$/d' "$root/drivers/order"
guest_pack eth0

if [ "${1:-}" = guest ]; then
    echo "$guest/vmlinuz $guest/initramfs"
    exit
fi
rm -rf "$root"
IOTPI_VM=$guest cargo test --quiet --locked --package iotpi-demo --test guest -- --ignored --skip raspberry_pi:: --nocapture
