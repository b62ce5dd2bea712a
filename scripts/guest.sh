# Functions that build a small guest for QEMU from Debian's packages; sourced by test-vm.sh and test-pi.sh.
#
# Needs neither root nor an installed kernel: packages are downloaded (apt-get download) and unpacked into $guest, once. A guest
# is one initramfs: busybox as the shell, kernel modules in the order of their dependencies, a program with its libraries, and
# an init that runs each line of its serial port as a shell command. It has no disk. QEMU emulates the processor (TCG), so
# /dev/kvm is not needed.

# guest_start FOLDER ARCH: the folder of the guest and its architecture in Debian's terms. The lists of packages are kept there
# too, so that nothing of the system changes.
guest_start() {
    guest=$1
    local arch=$2
    mkdir -p "$guest"/apt/lists/partial "$guest"/apt/cache/archives/partial
    touch "$guest/apt/status"
    apt=(-q -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o Dir::State="$guest/apt"
        -o Dir::State::status="$guest/apt/status" -o Dir::Cache="$guest/apt/cache" -o APT::Sandbox::User=)
    if ! compgen -G "$guest/linux-image-*/.complete" >/dev/null || [ ! -e "$guest/busybox-static/.complete" ]; then
        echo 'guest: reading the list of packages' >&2
        apt-get "${apt[@]}" update >"$guest/apt/log" 2>&1 || { cat "$guest/apt/log" >&2; exit 1; }
    fi
    # The package on which the meta-package depends.
    kernel=$(apt-cache "${apt[@]}" show "linux-image-$arch" | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n1)
    [ -n "$kernel" ] || { echo "guest: apt finds no package linux-image-$arch: this requires Debian" >&2; exit 1; }
    guest_fetch "$kernel"
    guest_fetch busybox-static
    drivers=$guest/$kernel/lib/modules
    cp "$guest/$kernel"/boot/vmlinuz-* "$guest/vmlinuz"
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    mkdir -p "$root"/{bin,dev,proc,sys,tmp,drivers}
    cp "$guest/busybox-static/bin/busybox" "$root/bin/busybox"
}

# guest_fetch PACKAGE: downloads a package and unpacks its files into $guest/PACKAGE.
guest_fetch() {
    local into=$guest/$1 debs
    [ -e "$into/.complete" ] && return
    echo "guest: downloading $1" >&2
    rm -rf "$into" && mkdir -p "$into/deb"
    (cd "$into/deb" && apt-get "${apt[@]}" download "$1" >/dev/null 2>"$into/log") || { cat "$into/log" >&2; exit 1; }
    debs=("$into"/deb/*.deb)
    dpkg-deb -x "${debs[0]}" "$into"
    rm -r "$into/deb" && touch "$into/.complete"
}

# guest_driver NAME: copies a kernel module after its dependencies, and appends it to the load order.
guest_driver() {
    local name=${1//_/-} file need
    # File names have - or _.
    file=$(find "$drivers" -name "${name//-/[-_]}.ko" | head -n1)
    # Without a file it is built into the kernel.
    [ -n "$file" ] || return 0
    [ ! -e "$root/drivers/$name.ko" ] || return 0
    for need in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr , ' '); do guest_driver "$need"; done
    cp "$file" "$root/drivers/$name.ko"
    echo "$name" >>"$root/drivers/order"
}

# guest_pack NETWORK: writes the initramfs. Its init brings up the network card NETWORK as 10.0.2.15 when it appears.
guest_pack() {
    cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
stty -echo
for option in \$(cat /proc/cmdline); do
    case \$option in date=*) date -s "@\${option#date=}" >/dev/null ;; esac
done
for name in \$(cat /drivers/order); do insmod /drivers/\$name.ko; done
ifconfig lo up
while [ ! -e /sys/class/net/$1 ]; do usleep 100000; done
ifconfig $1 10.0.2.15 netmask 255.255.255.0 up
# A guest with a card starts what is on it, as a Pi does.
if [ -b /dev/mmcblk0 ]; then
    mkdir /card && mount -t ext4 /dev/mmcblk0 /card || poweroff -f
    [ ! -e /card/start ] || sh /card/start >/dev/null 2>&1 </dev/null &
fi
echo "guest: ready"
while read -r line; do
    eval "\$line"
    echo "guest: status \$?"
done
poweroff -f
INIT
    chmod +x "$root/init"
    (cd "$root" && find . | cpio_of_host) >"$guest/initramfs"
}

# Debian's minimal system has no cpio; the busybox of another architecture does not run here.
cpio_of_host() {
    if command -v cpio >/dev/null; then cpio -o -H newc --quiet; else "$guest/busybox-static/bin/busybox" cpio -o -H newc 2>/dev/null; fi
}
