#!/usr/bin/env bash
# Tests the V4L2 camera with a real kernel: a small guest in QEMU with Debian's kernel and its virtual camera `vivid`; the module
# runs in the guest, the hub outside. The test itself is reference-app/demo/tests/vm.rs; this script builds the guest
# and runs the test.
#
#   scripts/test-vm.sh            the test
#   scripts/test-vm.sh guest      builds only the guest, and prints its folder
#
# Needs neither root nor an installed kernel: it downloads Debian's packages linux-image-amd64 and busybox-static (apt-get
# download) and unpacks them into target/vm, once. The guest is one initramfs: busybox as the shell, the kernel modules of
# the camera and the network in the order of their dependencies, `iotpi-module` with its libraries, and an init that runs
# each line of its serial port as a shell command. It has no disk. QEMU emulates the processor (TCG), so /dev/kvm is not
# needed; the guest boots in seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
vm=$PWD/target/vm
mkdir -p "$vm"

# The package on which the meta-package depends.
kernel=$(apt-cache show linux-image-amd64 | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n1)
[ -n "$kernel" ] || { echo 'test-vm: apt finds no package linux-image-amd64: this requires Debian on amd64 and a run of apt-get update' >&2; exit 1; }

# fetch PACKAGE: downloads a package and unpacks its files into target/vm/PACKAGE.
fetch() {
    local into=$vm/$1 debs
    [ -e "$into/.complete" ] && return
    echo "test-vm: downloading $1" >&2
    rm -rf "$into" && mkdir -p "$into/deb"
    (cd "$into/deb" && apt-get download -q "$1" >/dev/null 2>"$into/log") || { cat "$into/log" >&2; exit 1; }
    debs=("$into"/deb/*.deb)
    dpkg-deb -x "${debs[0]}" "$into"
    rm -r "$into/deb" && touch "$into/.complete"
}
fetch "$kernel"
fetch busybox-static
busybox=$vm/busybox-static/bin/busybox
drivers=$vm/$kernel/lib/modules
cp "$vm/$kernel"/boot/vmlinuz-* "$vm/vmlinuz"

cargo build --quiet --locked --package iotpi-hub-app --package iotpi-modules --features iotpi-modules/v4l
module=$PWD/target/debug/iotpi-module

# The guest's files.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,proc,sys,tmp,drivers}
cp "$busybox" "$root/bin/busybox"
strip -o "$root/bin/iotpi-module" "$module"
ldd "$module" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root/$(dirname "$library")" && cp -L "$library" "$root/$library"
done

# driver NAME: copies a kernel module after its dependencies, and appends it to the load order.
driver() {
    local name=${1//_/-} file need
    # File names have - or _.
    file=$(find "$drivers" -name "${name//-/[-_]}.ko" | head -n1)
    # Without a file it is built into the kernel.
    [ -n "$file" ] || return 0
    [ ! -e "$root/drivers/$name.ko" ] || return 0
    for need in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr , ' '); do driver "$need"; done
    cp "$file" "$root/drivers/$name.ko"
    echo "$name" >>"$root/drivers/order"
}
for name in virtio_pci virtio_net vivid; do driver "$name"; done
# The test loads the camera's module itself.
sed -i '/^vivid$/d' "$root/drivers/order"

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
stty -echo
for name in $(cat /drivers/order); do insmod /drivers/$name.ko; done
ifconfig lo up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
echo "guest: ready"
while read -r line; do
    eval "$line"
    echo "guest: status $?"
done
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null) >"$vm/initramfs"

if [ "${1:-}" = guest ]; then
    echo "$vm/vmlinuz $vm/initramfs"
    exit
fi
rm -rf "$root"
IOTPI_VM=$vm cargo test --quiet --locked --package iotpi-demo --test vm -- --ignored --nocapture
