#!/usr/bin/env bash
# Runs the stress tests at full size: thousands of power cuts, kills and damaged files. Takes a quarter of an hour or more.
# Runs every part even when an earlier one failed, then prints a summary. Each run uses fresh seeds; a failure prints its
# seed and the command that reproduces it.
#
#   scripts/torture.sh [PART...]   runs the parts below that start with one of the names; without names, all of them
set -uo pipefail
cd "$(dirname "$0")/.."
export IOTPI_TORTURE=1
trap 'exit 130' INT TERM
wanted=("$@")
summary=()
failed=0

# stress NAME PACKAGE TEST: runs one part and adds a line to the summary
stress() {
    local name=$1 began=$SECONDS verdict=ok part
    for part in "${wanted[@]:-$name}"; do [[ $name = "$part"* ]] && break; done
    [[ $name = "$part"* ]] || return 0
    printf '\n=== %s ===\n' "$name"
    cargo test --quiet --locked --package "$2" --test it -- --nocapture "$3" </dev/null || verdict=FAILED failed=1
    summary+=("$(printf '%-15s %-7s %5d s' "$name" "$verdict" $((SECONDS - began)))")
}

stress power-cuts iotpi-hub faults::power_cut
stress io-errors iotpi-hub faults::io_errors
stress full-disk iotpi-hub faults::full_disk
stress corruption iotpi-hub corruption
stress mutations iotpi-hub random_damage
stress network iotpi-hub network_faults
stress commands iotpi-hub module_crashes
stress outbox iotpi-core outbox
stress hub-kills iotpi-hub-app hub_kill
stress module-kills iotpi-demo module_kill
stress thundering-herd iotpi-demo thundering_herd

printf '\nSummary\n'
printf '  %s\n' "${summary[@]}"
exit $failed
