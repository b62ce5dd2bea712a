//! The units of `deploy/`: the hub and each module run as separate users, and a module cannot read the data
//! of the hub.

use std::{collections::BTreeMap, fs, path::Path};

/// The settings of a unit; the last value of each.
fn unit(name: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
    let text = fs::read_to_string(path).unwrap();
    let settings = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_hub_and_each_module_run_as_separate_users() {
    let (hub, module) = (unit("iotpi-hub.service"), unit("iotpi-module@.service"));

    assert_eq!((hub["User"].as_str(), hub["Group"].as_str()), ("iotpi", "iotpi"));
    assert_eq!((module["User"].as_str(), module["Group"].as_str()), ("iotpi-%i", "iotpi-%i"));
    for unit in [&hub, &module] {
        assert_eq!((unit["StateDirectoryMode"].as_str(), unit["UMask"].as_str()), ("0700", "0077"));
        for setting in ["NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictSUIDSGID", "LockPersonality"]
        {
            assert_eq!(unit[setting], "yes", "{setting}");
        }
        assert_eq!((unit["ProtectSystem"].as_str(), unit["CapabilityBoundingSet"].as_str()), ("strict", ""));
        assert_eq!(unit["ProtectProc"], "invisible");
    }
    assert_ne!(hub["StateDirectory"], module["StateDirectory"]);
    assert!(module["InaccessiblePaths"].split(' ').any(|path| path == "-/var/lib/iotpi"));
    // Only modules may access devices.
    assert_eq!(hub["PrivateDevices"], "yes");
    assert!(!hub.contains_key("SupplementaryGroups"));
}
