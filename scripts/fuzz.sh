#!/usr/bin/env bash
# Runs each fuzz target for SECS seconds (600), starting with the checked-in corpus. It stores new inputs in fuzz/target,
# and inputs that crash a target in fuzz/artifacts.
#
# It uses no sanitizers, because they need a nightly compiler. The code is safe Rust, so a failure is a panic, an overflow
# (checked in this build) or a violated assertion, which the fuzzer detects without sanitizers.
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
