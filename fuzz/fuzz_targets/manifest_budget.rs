//! Any JSON as a manifest and the parameters of a command: refused or accepted in bounded time, and what is accepted checks any
//! parameters in bounded time. The input is a manifest, a newline, and the parameters.
#![no_main]

use std::time::{Duration, Instant};

use iotpi_core::Manifest;
use iotpi_hub::schema::{ParamsSchema, check_actions};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// The hub refuses in less than 50 ms; a machine that runs several fuzzers at once may pause a process for longer.
const MAX_TIME: Duration = Duration::from_secs(2);
/// What the hub takes of each.
const MAX_MANIFEST_BYTES: usize = 65_536;
const MAX_PARAMS_BYTES: usize = 16_384;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(manifest), params) = (parts.next(), parts.next().unwrap_or_default()) else { return };
    if manifest.len() > MAX_MANIFEST_BYTES || params.len() > MAX_PARAMS_BYTES {
        return;
    }
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else { return };
    let began = Instant::now();

    let checked = check_actions(&manifest);

    assert!(began.elapsed() < MAX_TIME, "the check took {:?}", began.elapsed());
    let Ok(params) = serde_json::from_slice::<Map<String, Value>>(params) else { return };
    for action in &manifest.actions {
        let schema = ParamsSchema::compile(&action.params);
        assert!(checked.is_err() || schema.is_ok(), "one schema costs no more than all of them");
        if let Ok(schema) = schema {
            let began = Instant::now();
            let _ = schema.check(&params);
            assert!(began.elapsed() < MAX_TIME, "a command took {:?}", began.elapsed());
        }
    }
});
