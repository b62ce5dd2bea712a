//! The allowed dependencies between the crates of the workspace, checked against `cargo metadata`, and those
//! between the modules of the hub, read from its source.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

/// Each crate of the workspace with the others that it may import, in its tests too.
const ALLOWED_IMPORTS: [(&str, &[&str]); 9] = [
    ("iotpi-core", &[]),
    ("iotpi-hal", &["iotpi-core"]),
    ("iotpi-hub", &["iotpi-core"]),
    ("iotpi-py", &["iotpi-core", "iotpi-hal"]),
    // A hub never imports hardware, a module never imports a hub, and the demo only starts processes.
    ("iotpi-hub-app", &["iotpi-core", "iotpi-hub"]),
    ("iotpi-modules", &["iotpi-core", "iotpi-hal"]),
    ("iotpi-demo", &["iotpi-core"]),
    ("iotpi-examples", &["iotpi-core", "iotpi-hal", "iotpi-hub"]),
    ("iotpi-benches", &["iotpi-core", "iotpi-hal", "iotpi-hub"]),
];

/// Crates the core must not depend on, directly or indirectly: it defines the types of programs that use none
/// of these.
const NOT_IN_CORE: [&str; 14] = [
    "axum",
    "tower",
    "tungstenite",
    "rusqlite",
    "libsqlite3-sys",
    "sqlx",
    "rppal",
    "embedded-hal",
    "gpiocdev",
    "linux-embedded-hal",
    "nokhwa",
    "jpeg-encoder",
    "pyo3",
    "iotpi-hub",
];

/// The modules of the hub. Each may import those before it, and no other.
const HUB_MODULES: [&str; 25] = [
    "sabotage",
    "lock",
    "durable_file",
    "ticks",
    "store",
    "error",
    "config",
    "wrong_clock",
    "clock",
    "events",
    "metrics",
    "schema",
    "commands",
    "auth",
    "admission",
    "quotas",
    "frames",
    "presence",
    "issuer_presence",
    "maintenance",
    "recording",
    "hub",
    "ops",
    "http",
    "server",
];

/// The violations in the dependencies of a workspace, as `cargo metadata` describes it; one sentence each.
fn broken_layers(metadata: &Value) -> Vec<String> {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let packages = items(&metadata["packages"]);
    let ours: Vec<String> = packages.iter().map(name).collect();
    let mut broken = Vec::new();
    for package in &packages {
        let importer = name(package);
        let Some((_, allowed)) = ALLOWED_IMPORTS.iter().find(|(listed, _)| *listed == importer) else {
            broken.push(format!("{importer} is not in the table of allowed imports"));
            continue;
        };
        for imported in items(&package["dependencies"]).iter().map(name) {
            // A crate may import itself in its tests, with other features.
            if ours.contains(&imported) && imported != importer && !allowed.contains(&imported.as_str()) {
                broken.push(format!("{importer} must not import {imported}"));
            }
        }
    }
    broken.extend(
        ALLOWED_IMPORTS
            .iter()
            .filter(|(listed, _)| !ours.iter().any(|name| name == listed))
            .map(|(listed, _)| format!("{listed} is in the table and not in the workspace")),
    );
    broken
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn metadata() -> Value {
    let json = cargo(&["metadata", "--no-deps", "--format-version", "1", "--locked"]);
    serde_json::from_str(&json).unwrap()
}

/// The names of all dependencies of a crate with its default features, including itself.
fn tree(package: &str) -> Vec<String> {
    let tree = cargo(&["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--locked"]);
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The source files below a folder, without tests.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() && name != "tests" && name != "contract" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let code = code.lines().map(|line| line.split("//").next().unwrap_or_default());
            found.push((path.display().to_string(), code.collect::<Vec<_>>().join("\n")));
        }
    }
}

/// The first names of all paths that begin with `crate::`.
fn imports(code: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        let Some(group) = path.strip_prefix('{') else {
            names.extend(path.split(|c: char| !c.is_alphanumeric() && c != '_').next());
            continue;
        };
        let (mut depth, mut begin) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                ',' | '}' if depth == 0 => {
                    names.extend(group[begin..at].trim().split([':', ' ']).next());
                    begin = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    names.remove("");
    names
}

/// The module from which `lib.rs` exports a name; the name itself if it is a module.
fn exporter<'a>(lib: &'a str, name: &'a str) -> &'a str {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    lib.split("pub use ")
        .skip(1)
        .filter_map(|export| export.split(';').next()?.split_once("::"))
        .find(|(_, names)| names.split(|c| !is_word(c)).any(|exported| exported == name))
        .map_or(name, |(module, _)| module)
}

/// The imports of the hub's modules that point upwards, one sentence each. `src` ends with a slash.
fn upward_imports(src: &str) -> Vec<String> {
    let mut files = Vec::new();
    sources(Path::new(src), &mut files);
    let lib = fs::read_to_string(format!("{src}lib.rs")).unwrap();
    let level = |name: &str| HUB_MODULES.iter().position(|listed| *listed == name);
    let mut upward = Vec::new();
    for (path, code) in &files {
        let path = path.strip_prefix(src).unwrap_or(path);
        let module = path.split(['/', '.']).next().unwrap_or_default();
        // Both use the whole hub.
        if ["lib", "testing"].contains(&module) {
            continue;
        }
        for imported in imports(code).into_iter().map(|name| exporter(&lib, name)) {
            if imported != module && (level(imported).is_none() || level(imported) >= level(module)) {
                upward.push(format!("{path} must not import {imported}"));
            }
        }
    }
    upward.sort();
    upward
}

#[test]
fn no_module_of_the_hub_imports_a_higher_one() {
    let src = concat!(env!("CARGO_MANIFEST_DIR"), "/../../iotpi-hub/src/");

    assert_eq!(upward_imports(src), Vec::<String>::new());
}

#[test]
fn an_upward_import_in_the_hub_is_reported() {
    let home = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = home.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub use hub::Hub;\npub use config::{Config, Limits};\n");
    write("store/mod.rs", "use crate::{\n    lock::{lock},\n    ops::{a, b},\n};\n// crate::http\n");
    write("ops/auth.rs", "use crate::{Hub, Limits};\nfn f() { crate::server::g() }\n");
    write("http/mod.rs", "use crate::ops;\n#[cfg(test)]\nmod tests { use crate::server; }\n");

    assert_eq!(
        upward_imports(&format!("{}/", home.path().display())),
        ["ops/auth.rs must not import server", "store/mod.rs must not import ops"]
    );
}

#[test]
fn every_crate_imports_only_the_crates_it_is_allowed_to() {
    let broken = broken_layers(&metadata());

    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn a_forbidden_import_is_reported() {
    let mut metadata = metadata();
    let packages = metadata["packages"].as_array_mut().unwrap();

    for package in packages.iter_mut().filter(|package| package["name"] == "iotpi-modules") {
        let imports = package["dependencies"].as_array_mut().unwrap();
        imports.push(serde_json::json!({"name": "iotpi-hub", "kind": "dev"}));
    }
    packages.push(serde_json::json!({"name": "iotpi-new", "dependencies": []}));
    packages.retain(|package| package["name"] != "iotpi-py");

    assert_eq!(
        broken_layers(&metadata),
        [
            "iotpi-modules must not import iotpi-hub",
            "iotpi-new is not in the table of allowed imports",
            "iotpi-py is in the table and not in the workspace",
        ]
    );
}

#[test]
fn the_core_depends_on_no_server_database_or_hardware() {
    let dependencies = tree("iotpi-core");

    // The same query finds a dependency that exists, so an empty result of the next one is meaningful.
    assert!(dependencies.iter().any(|name| name == "hyper"), "{dependencies:?}");
    assert!(tree("iotpi-hub").iter().any(|name| name == "rusqlite"));
    let forbidden: Vec<_> = dependencies.iter().filter(|name| NOT_IN_CORE.contains(&name.as_str())).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

#[test]
fn no_program_depends_on_the_library_of_another_even_indirectly() {
    assert!(!tree("iotpi-modules").iter().any(|name| name == "iotpi-hub"));
    assert!(!tree("iotpi-hub-app").iter().any(|name| name == "iotpi-hal"));
    assert!(!tree("iotpi-demo").iter().any(|name| name == "iotpi-hub" || name == "iotpi-hal"));
}
