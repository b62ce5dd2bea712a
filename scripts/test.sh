#!/usr/bin/env bash
# Runs every test of every part, one part after the other, even if an earlier one failed, then prints a summary.
#
#   scripts/test.sh [PART...]   rust controls features python frontend browser; without names, all of them
set -uo pipefail
cd "$(dirname "$0")/.."

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(rust controls features python frontend browser)
summary=()
failed=0
trap 'exit 130' INT TERM
[ -t 1 ] || export NO_COLOR=1

# The tests are built once, with every device and with the sabotage that `controls` uses (inactive unless IOTPI_SABOTAGE
# names one): each further set of features would build most crates once more.
tested=(--locked --features 'iotpi-hal/linux,iotpi-hal/pi,iotpi-hal/v4l,iotpi-modules/pi,iotpi-modules/v4l,iotpi-hub/sabotage,iotpi-hub-app/sabotage')

rust() {
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run "${tested[@]}" --no-fail-fast
    else
        cargo test "${tested[@]}" --no-fail-fast --lib --bins --tests --examples
    fi && cargo test "${tested[@]}" --no-fail-fast --doc
}

# The sets of features that ship. The last build leaves the programs in target/ that `python` and `browser` start.
features() {
    cargo test --locked --package iotpi-core --no-default-features --lib &&
        cargo test --locked --package iotpi-core --features tls,live --test it tls &&
        cargo check --locked --package iotpi-hal --no-default-features --features linux &&
        cargo check --locked --package iotpi-hal --no-default-features --features pi &&
        cargo build --locked --no-default-features &&
        cargo build --locked
}

python() {
    # Installs the package into .venv, which doctor.sh created.
    VIRTUAL_ENV="$PWD/.venv" .venv/bin/maturin develop --quiet --locked --manifest-path iotpi-py/Cargo.toml &&
        (cd iotpi-py && timeout 600 ../.venv/bin/pytest)
}

frontend() {
    # `api:check` compares the types with the checked-in openapi.json; `make bless` regenerates them.
    (cd frontend && npm run --silent check && npm run --silent api:check && npm run --silent lint && npm run --silent test)
}

browser() {
    # A program that embeds the hub; the others are those of the last build.
    cargo build --quiet --locked --package iotpi-hub --example nested &&
        (cd frontend && IOTPI_DEMO="$PWD/../target/debug/iotpi-demo" npm run --silent e2e)
}

# Tests of the durability guarantees must fail when a guarantee is broken: `iotpi-hub/src/sabotage.rs` breaks one at a time.
# The list below names the test that must detect each sabotage. The part `rust` shows that all of them pass without it.
controls() {
    local cargo=(cargo test --quiet "${tested[@]}" --test it)
    local log failed=0 sabotage test
    "${cargo[@]}" --no-run || return 1
    log=$(mktemp)
    while read -r sabotage test; do
        if IOTPI_SABOTAGE=$sabotage "${cargo[@]}" -- "$test" >"$log" 2>&1; then
            echo "$sabotage: $test PASSES, but must fail"
            failed=1
        elif ! grep -q '^test result: FAILED' "$log" || grep -q 'there is no such sabotage' "$log"; then
            tail -n 20 "$log"
            echo "$sabotage: $test fails for another reason"
            failed=1
        else
            echo "$sabotage: $test fails, as expected"
        fi
    done <<'END'
acknowledge_before_commit what_was_acknowledged_survives_a_power_cut
acknowledge_before_commit what_was_acknowledged_survives_kill_9
sync_less what_was_acknowledged_survives_a_power_cut
forget_dedupe what_was_acknowledged_survives_a_power_cut
forget_dedupe what_was_acknowledged_survives_kill_9
drop_the_fence what_was_acknowledged_survives_a_power_cut
END
    rm -f "$log"
    return $failed
}

for part in "${parts[@]}"; do
    printf '\n=== %s ===\n' "$part"
    began=$SECONDS
    if "$part" </dev/null; then verdict=ok; else verdict=FAILED failed=1; fi
    summary+=("$(printf '%-9s %-7s %4d s' "$part" "$verdict" $((SECONDS - began)))")
    printf '=== %s: %s\n' "$part" "$verdict"
done

[ "$(id -u)" = 0 ] || summary+=('NOT TESTED: a full tmpfs, which only root can mount. A full disk is tested in memory')

printf '\nSummary\n'
printf '  %s\n' "${summary[@]}" "total     $(printf '%-7s %4d s' "$([ $failed = 0 ] && echo ok || echo FAILED)" "$SECONDS")"
exit $failed
