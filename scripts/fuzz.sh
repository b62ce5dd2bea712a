#!/usr/bin/env bash
# Runs each fuzz target for SECS seconds (600), starting with the checked-in corpus. New inputs are stored in fuzz/target,
# inputs that crash a target in fuzz/artifacts.
#
# Without sanitizers, because they need a nightly compiler: the code is safe Rust, so what is looked for is a panic, an
# overflow (checked in this build) or a broken promise, and those are seen without.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
PATH="$PWD/../.venv/bin:$PATH"

for target in jpeg_header manifest_budget mixed_replace; do
    mkdir -p "target/corpus/$target"
    cargo fuzz run --sanitizer none "$target" "target/corpus/$target" "corpus/$target" -- \
        -max_total_time="${SECS:-600}" -max_len=65536 -print_final_stats=1
done

cd ..
scripts/fuzz-api.sh
