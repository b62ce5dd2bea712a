#!/usr/bin/env bash
# Checks the requirements of a command of the Makefile, installs what is missing, and prints each step. Prints nothing when
# all requirements are met.
#
#   scripts/doctor.sh demo|test|test-vm|check|wheel|bench...   the requirements of that command
#   PORT=8000 scripts/doctor.sh port                   checks that the port is free
#
# It may change: Debian packages (apt-get; with sudo when not root), frontend/node_modules, .venv. It does not install
# toolchains, but prints the command that does.
set -euo pipefail
cd "$(dirname "$0")/.."

log() { printf 'doctor: %s\n' "$*" >&2; }
# Prints one line with the problem and one with the fix.
fail() { printf 'doctor: %s\ndoctor: to fix it: %s\n' "$1" "$2" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
# at_least 1.95 1.96.0: the second version is the first or newer.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; }

# Runs a command quietly; on failure prints the end of its output, then the problem and the fix.
or_fail() {
    local problem=$1 fix=$2 output
    shift 2
    output=$(mktemp)
    if ! "$@" >"$output" 2>&1 </dev/null; then
        tail -n 8 "$output" | sed 's/^/    /' >&2
        rm -f "$output"
        fail "$problem" "$fix"
    fi
    rm -f "$output"
}
OFFLINE='connect this machine to the network (a proxy is set with HTTPS_PROXY), unless the output above shows another cause; then run the same command again'

# packages WHY NAME...: installs Debian packages.
packages() {
    local why=$1 sudo=''
    shift
    have apt-get || fail "$why needs the Debian packages $* or equivalent ones" "install them with this system's package manager"
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "$why needs the packages $*" "as root: apt-get install $*"
        sudo=sudo
    fi
    log "installing the packages $* ($why)"
    or_fail 'the list of packages could not be fetched' "$OFFLINE" $sudo apt-get update -q
    or_fail "the packages $* could not be installed" "see above, or by hand: apt-get install $*" \
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have cargo || [ ! -x "$HOME/.cargo/bin/cargo" ] || fail 'cargo is installed, but not on the PATH' ". $HOME/.cargo/env"
    have cargo || fail "there is no Rust (cargo); $wanted or newer is needed" 'install it from https://rustup.rs'
    found=$(cargo --version | cut -d' ' -f2)
    at_least "$wanted" "$found" || fail "Rust $found is too old; $wanted or newer is needed" 'rustup update stable (or https://rustup.rs)'
    have cc || packages 'the build of SQLite' build-essential
    or_fail 'the Rust crates could not be fetched' "$OFFLINE" cargo fetch --locked
}

need_node() {
    local wanted found
    wanted=$(sed -n 's/.*"node": ">=\(.*\)".*/\1/p' frontend/package.json)
    have node || fail "there is no Node.js; $wanted or newer is needed" 'install it from https://nodejs.org (or: https://github.com/nvm-sh/nvm)'
    found=$(node --version | tr -d v)
    at_least "$wanted" "$found" || fail "Node.js $found is too old; $wanted or newer is needed" 'install a newer one from https://nodejs.org'
    have npm || fail 'there is no npm' 'install it (Debian: apt-get install npm)'
    if ! cmp -s frontend/package-lock.json frontend/node_modules/.installed; then
        log 'installing the npm packages of the dashboard (npm ci)'
        or_fail 'the npm packages could not be installed' "$OFFLINE" npm --prefix frontend ci --no-audit --no-fund
        cp frontend/package-lock.json frontend/node_modules/.installed
    fi
}

need_python() {
    local found tools
    have python3 || packages 'Python' python3
    found=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    at_least 3.11 "$found" || fail "Python $found is too old; 3.11 or newer is needed" 'install a newer one and put it first on the PATH as python3'
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages 'Python virtual environments' python3-venv
    if [ ! -x .venv/bin/python ]; then
        log 'creating a Python virtual environment in .venv'
        or_fail 'the virtual environment could not be created' 'remove .venv and try again' python3 -m venv .venv
    fi
    # Only iotpi-py/pyproject.toml lists the requirements of the tests and the wheel.
    tools=$(.venv/bin/python -c 'import tomllib; print(*tomllib.load(open("iotpi-py/pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"], sep="\n")')
    if [ "$tools" != "$(cat .venv/.installed 2>/dev/null)" ]; then
        log 'installing Python tools into .venv (pip)'
        # shellcheck disable=SC2086  # one word a line
        or_fail 'the Python tools could not be installed' "$OFFLINE" .venv/bin/pip install --quiet --disable-pip-version-check $tools
        printf '%s\n' "$tools" >.venv/.installed
    fi
}

# Zig links wheels for any architecture and any glibc; rustup provides the standard library of the other architecture.
need_zig() {
    if ! .venv/bin/python -c 'import ziglang' 2>/dev/null; then
        log 'installing Zig into .venv (pip)'
        or_fail 'Zig could not be installed' "$OFFLINE" .venv/bin/pip install --quiet --disable-pip-version-check 'maturin[zig]>=1.9.4,<2'
    fi
    have rustup || return 0
    local target
    for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
        [ -d "$(rustc --print target-libdir --target $target)" ] && continue
        log "installing the Rust standard library for $target (rustup)"
        rustup --quiet target add $target >/dev/null 2>&1 || log "it could not be installed; there will be no wheel for $target"
    done
}

# FastAPI and uvicorn, for the comparison with the hub.
need_fastapi() {
    local venv=benches/compare/.venv wanted=benches/compare/requirements.txt
    have python3 || packages 'Python' python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages 'Python virtual environments' python3-venv
    cmp -s "$wanted" "$venv/.installed" && return 0
    log "installing FastAPI and uvicorn into $venv (pip)"
    [ -x $venv/bin/python ] || or_fail 'the virtual environment could not be created' "remove $venv and try again" python3 -m venv $venv
    or_fail 'FastAPI could not be installed' "$OFFLINE" $venv/bin/pip install --quiet --disable-pip-version-check -r $wanted
    cp "$wanted" "$venv/.installed"
}

# For V4L2 cameras: the build generates bindings from the kernel's headers.
need_libclang() {
    # Not libclang-cpp or libclang_rt, which other packages contain.
    compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null ||
        compgen -G '/usr/lib*/*/libclang.so*' >/dev/null || compgen -G '/usr/lib*/*/libclang-[0-9]*.so*' >/dev/null ||
        [ -n "${LIBCLANG_PATH:-}" ] || packages 'the V4L2 camera' libclang-dev
}

# For the guest of `make test-vm`. The script downloads its kernel and busybox, and does not install them.
need_guest() {
    have apt-get && [ "$(dpkg --print-architecture)" = amd64 ] || fail 'the guest requires Debian on amd64' 'run it on such a machine'
    have qemu-system-x86_64 || packages 'the test of the V4L2 camera in a guest' qemu-system-x86
    have strip || packages 'the reduction of the guest' binutils
}

# For the guest of `make test-pi`.
need_pi() {
    have apt-get && have dpkg-deb || fail 'the emulated Raspberry Pi requires Debian' 'run it on such a machine'
    have qemu-system-aarch64 || packages 'the emulated Raspberry Pi' qemu-system-arm
    have cpio || packages 'the initramfs of the guest' cpio
}

# Builds programs for a 64-bit Raspberry Pi on another machine.
need_arm() {
    local target=aarch64-unknown-linux-gnu
    have aarch64-linux-gnu-gcc || packages 'programs for a Raspberry Pi' gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    [ ! -d "$(rustc --print target-libdir --target $target)" ] || return 0
    have rustup || fail "there is no Rust standard library for $target" 'install Rust from https://rustup.rs, or the library for your rustc'
    log "installing the Rust standard library for $target (rustup)"
    or_fail "the Rust standard library for $target could not be installed" "$OFFLINE" rustup target add $target
}

need_browser() {
    local place
    [ -z "${CHROMIUM:-}" ] || return 0
    for place in chromium chromium-browser google-chrome; do
        have $place && return 0
    done
    packages 'the browser test of the dashboard' chromium
}

# The tests open exported recordings with ffmpeg.
need_ffmpeg() {
    have ffmpeg && have ffprobe || packages 'the test of exported recordings' ffmpeg
}

# The tests send credentials as scripts do.
need_curl() {
    have curl || packages 'the test of credentials' curl
}

# The tests of the dashboard also load it through a proxy.
need_nginx() {
    have nginx || [ -x /usr/sbin/nginx ] || packages 'the test of the dashboard behind a proxy' nginx-light
}

need_deny() {
    have cargo-deny || [ -x .venv/bin/cargo-deny ] && return 0
    log 'building cargo-deny in .venv, once: this takes some minutes'
    or_fail 'cargo-deny could not be built' "$OFFLINE" cargo install --locked --root .venv cargo-deny
}

# Its version belongs to that of Rust: see scripts/public-api.sh.
need_public_api() {
    [ ! -x .venv/bin/cargo-public-api ] || return 0
    log 'building cargo-public-api in .venv, once: this takes some minutes'
    or_fail 'cargo-public-api could not be built' "$OFFLINE" cargo install --locked --root .venv cargo-public-api@0.52.0
}

need_fuzz() {
    have c++ || packages 'the build of libFuzzer' g++
    have cargo-fuzz || [ -x .venv/bin/cargo-fuzz ] && return 0
    log 'building cargo-fuzz in .venv, once: this takes a minute'
    or_fail 'cargo-fuzz could not be built' "$OFFLINE" cargo install --locked --root .venv cargo-fuzz
}

# Sends the hub random requests from its OpenAPI description.
need_schemathesis() {
    local version=4.32.5
    [ ! -x .venv/fuzz/bin/schemathesis ] || return 0
    need_python
    log 'installing schemathesis into .venv/fuzz (pip)'
    or_fail 'the virtual environment could not be created' 'remove .venv/fuzz and try again' python3 -m venv .venv/fuzz
    or_fail 'schemathesis could not be installed' "$OFFLINE" .venv/fuzz/bin/pip install --quiet --disable-pip-version-check schemathesis==$version
}

need_port() {
    local port=${PORT:-8000} holder
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        holder=$(have ss && ss -ltnpH "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ by \1 (process \2)/p' | head -n1)
        fail "port $port is in use${holder:-}" "stop it, or choose another port: make demo PORT=$((port + 1))"
    fi
}

for command in "$@"; do
    case $command in
        port) need_port ;;
        ui) need_node ;;
        rust | bench | torture) need_rust ;;
        compare) need_rust; need_fastapi ;;
        fuzz) need_rust; need_fuzz; need_schemathesis ;;
        demo) need_rust; need_node ;;
        v4l) need_libclang ;;
        test-vm) need_rust; need_libclang; need_guest ;;
        test-pi) need_rust; need_arm; need_pi ;;
        test-arm) need_rust; need_arm; have qemu-aarch64-static || packages 'the emulation of Arm programs' qemu-user-static ;;
        wheel) need_rust; need_python; need_zig ;;
        check) need_rust; need_node; need_python; need_libclang; need_deny; need_public_api ;;
        bless) need_rust; need_node; need_python; need_libclang; need_public_api ;;
        test) need_rust; need_node; need_python; need_libclang; need_browser; need_ffmpeg; need_curl; need_nginx ;;
        *) fail "the requirements of \`$command\` are unknown" 'the commands are at the end of scripts/doctor.sh' ;;
    esac
done
