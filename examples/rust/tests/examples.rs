//! Every example runs as a process against a real hub.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use iotpi_core::{
    HubClient, ModuleId,
    model::event::{LiveMessage, Subscription},
};
use iotpi_hub::{auth::Role, testing::TestHub};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// The modules with their ids, and the path of each program.
const MODULES: [(&str, &str); 7] = [
    ("attic", env!("CARGO_BIN_EXE_sensor")),
    ("boiler", env!("CARGO_BIN_EXE_custom_sensor")),
    ("hall-lamp", env!("CARGO_BIN_EXE_actuator")),
    ("heater", env!("CARGO_BIN_EXE_heater")),
    ("door", env!("CARGO_BIN_EXE_camera")),
    ("shed", env!("CARGO_BIN_EXE_composite")),
    ("lab", env!("CARGO_BIN_EXE_simulated")),
];
const SCRIPTS: [&str; 3] =
    [env!("CARGO_BIN_EXE_record"), env!("CARGO_BIN_EXE_control"), env!("CARGO_BIN_EXE_live")];

fn start(program: &str, hub: &TestHub, token: &str, folder: &Path) -> Child {
    Command::new(program)
        .current_dir(folder)
        .env("IOTPI_URL", hub.url())
        .env("IOTPI_TOKEN", token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn finish(child: Child) -> Output {
    timeout(DEADLINE, child.wait_with_output()).await.expect("the example ends in time").unwrap()
}

/// Waits until the modules have delivered everything that their manifests name.
async fn until_all_delivered(client: &HubClient, ids: BTreeSet<ModuleId>) {
    let mut live = client.live(&Subscription::new()).await.unwrap();
    let mut waiting = ids;
    while !waiting.is_empty() {
        let modules = client.modules().await.unwrap();
        let (newest, cameras) = (client.newest(None).await.unwrap(), client.cameras().await.unwrap());
        for module in modules {
            let Some(manifest) = &module.manifest else { continue };
            let delivered = |kind: &iotpi_core::SensorType| {
                newest.iter().any(|one| one.module_id == module.id && one.quantity.name() == *kind)
            };
            let is_complete = manifest.measures.iter().all(|measure| delivered(&measure.kind))
                && (manifest.camera.is_none() || cameras.iter().any(|one| one.camera.module_id == module.id));
            if is_complete {
                waiting.remove(&module.id);
            }
        }
        // The next event may complete a module.
        if !waiting.is_empty() {
            let event =
                timeout(DEADLINE, live.next()).await.unwrap_or_else(|_| panic!("not complete: {waiting:?}"));
            assert!(!matches!(event.unwrap(), None | Some(LiveMessage::Problem { .. })));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_runs_against_a_real_hub() {
    let hub = TestHub::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let viewer = HubClient::new(&hub.url()).unwrap().with_token(hub.token(Role::Viewer).await.unwrap());
    let mut running = Vec::new();
    for (id, program) in MODULES {
        let token = hub.module_token(&id.parse().unwrap()).await.unwrap();
        running.push((program, start(program, &hub, &token, folder.path())));
    }

    until_all_delivered(&viewer, MODULES.iter().map(|(id, _)| id.parse().unwrap()).collect()).await;
    let operator = hub.token(Role::Operator).await.unwrap();
    for script in SCRIPTS {
        let output = finish(start(script, &hub, &operator, folder.path())).await;

        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{script} prints something");
    }

    for (program, child) in running {
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = finish(child).await;
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
    hub.stop().await.unwrap();
}
