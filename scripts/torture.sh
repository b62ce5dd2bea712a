#!/usr/bin/env bash
# Every proof at full size: thousands of power cuts, kills and damaged files. A quarter of an hour and more. Each part even
# when one before it failed; then a summary. Seeds are fresh in each run; a failure prints its own and how to see it again.
#
#   scripts/torture.sh [PART...]   those below whose name begins so; all of them when none is named
set -uo pipefail
cd "$(dirname "$0")/.."
export IOTPI_TORTURE=1
trap 'exit 130' INT TERM
wanted=("$@")
summary=()
failed=0

# stress NAME PACKAGE TEST: one summary line per test
stress() {
    local name=$1 began=$SECONDS verdict=ok part
    for part in "${wanted[@]:-$name}"; do [[ $name = "$part"* ]] && break; done
    [[ $name = "$part"* ]] || return 0
    printf '\n=== %s ===\n' "$name"
    cargo test --quiet --locked --package "$2" --test it -- --nocapture "$3" </dev/null || verdict=FAILED failed=1
    summary+=("$(printf '%-12s %-7s %5d s' "$name" "$verdict" $((SECONDS - began)))")
}

stress power-cuts iotpi-hub faults::power_cut
stress io-errors iotpi-hub faults::io_errors
stress full-disk iotpi-hub faults::full_disk
stress corruption iotpi-hub corruption
stress mutations iotpi-hub random_damage
stress network iotpi-hub network_faults
stress commands iotpi-hub module_crashes
stress outbox iotpi-core outbox
stress kills iotpi-hub-app kills
stress module-kills iotpi-demo killed
stress herd iotpi-demo herd

printf '\nSummary\n'
printf '  %s\n' "${summary[@]}"
exit $failed
