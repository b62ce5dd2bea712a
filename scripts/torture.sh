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

# torment NAME PACKAGE TEST: one line a proof.
torment() {
    local name=$1 began=$SECONDS verdict=ok part
    for part in "${wanted[@]:-$name}"; do [[ $name = "$part"* ]] && break; done
    [[ $name = "$part"* ]] || return 0
    printf '\n=== %s ===\n' "$name"
    cargo test --quiet --locked --package "$2" --test it -- --nocapture "$3" </dev/null || verdict=FAILED failed=1
    summary+=("$(printf '%-12s %-7s %5d s' "$name" "$verdict" $((SECONDS - began)))")
}

torment power-cuts iotpi-hub faults::power_cut
torment io-errors iotpi-hub faults::io_errors
torment full-disk iotpi-hub faults::full_disk
torment corruption iotpi-hub corruption
torment mutations iotpi-hub random_damage
torment network iotpi-hub network_faults
torment commands iotpi-hub module_crashes
torment outbox iotpi-core outbox
torment kills iotpi-hub-app kills
torment module-kills iotpi-demo killed
torment herd iotpi-demo herd

printf '\nSummary\n'
printf '  %s\n' "${summary[@]}"
exit $failed
