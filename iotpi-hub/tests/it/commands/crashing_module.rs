//! A module that kills itself (SIGKILL) at a given point. The tests of commands start it repeatedly.
//!
//! It is the real `ActuatorModule`. The crash points are in the uplink and the device, which this test
//! implements. `open` is hazardous, `set` may run twice. Both write a line to a file and sync it before they
//! return.
//!
//! Environment: `HUB`, `TOKEN`, `FOLDER`; `KILL_AT`: a point such as `after_started`, which is passed
//! `KILL_AFTER` times before; `FORGETFUL`: does not report `started` and keeps no command log, which the
//! tests must detect.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use iotpi_core::{
    Action, ActionName, ActionSpec, Actuator, ActuatorModule, DeviceError, Frame, HubClient, Manifest,
    ModuleId, Reading, Runner, Timestamp, Uplink, UplinkError, async_trait,
    client::HubUplink,
    model::{
        camera::FrameReceipt,
        command::{CommandOutcome, LeasedCommand, StatusReceipt, StatusReport},
        gap::NewGap,
        manifest::ModuleInfo,
        reading::{NewReading, Stored},
    },
};
use serde_json::{Value, json};

/// The crash point, and how often it is passed before the crash.
#[derive(Clone)]
struct CrashPoint {
    at: Arc<str>,
    passes: Arc<AtomicU32>,
}

impl CrashPoint {
    fn reach(&self, point: &str) {
        if &*self.at == point && self.passes.fetch_sub(1, Ordering::Relaxed) == 0 {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            // The signal is delivered before the thread continues.
            std::thread::park();
        }
    }
}

struct Device {
    log: PathBuf,
    crash: CrashPoint,
}

impl Device {
    fn act(&self, action: &Action) {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        writeln!(log, "{} {}", action.name, action.params["n"]).unwrap();
        log.sync_all().unwrap();
    }
}

#[async_trait]
impl Actuator for Device {
    fn actions(&self) -> Vec<ActionSpec> {
        let spec =
            |name: &str| ActionSpec::new(ActionName::new(name).unwrap(), "", json!({"type": "object"}));
        vec![spec("open").hazardous(), spec("set")]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        self.crash.reach("before_perform");
        self.act(action);
        self.crash.reach("in_perform");
        // An action takes time, and other tasks run meanwhile.
        tokio::task::yield_now().await;
        self.crash.reach("after_perform");
        Ok(action.params["n"].clone())
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

struct CrashingUplink {
    hub: HubUplink,
    crash: CrashPoint,
    forgetful: bool,
}

#[async_trait]
impl Uplink for CrashingUplink {
    fn module_id(&self) -> &ModuleId {
        self.hub.module_id()
    }

    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError> {
        self.hub.register(manifest).await
    }

    async fn record(&self, readings: Vec<Reading>) -> Result<(), UplinkError> {
        self.hub.record(readings).await
    }

    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError> {
        self.hub.deliver(readings).await
    }

    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError> {
        self.hub.report_gap(gap).await
    }

    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError> {
        self.hub.publish(frame).await
    }

    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError> {
        // The reports of the previous process were sent.
        println!("claiming");
        let claimed = self.hub.claim(wait).await?;
        if !claimed.is_empty() {
            self.crash.reach("claimed");
        }
        Ok(claimed)
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        let (before, after) = match report.command.as_ref().map(|command| &command.outcome) {
            None => return self.hub.report(report).await,
            Some(CommandOutcome::Started) => ("before_started", "after_started"),
            Some(_) => ("before_report", "after_report"),
        };
        self.crash.reach(before);
        let receipt = if self.forgetful && before == "before_started" {
            StatusReceipt::new(Timestamp::MIN)
        } else {
            self.hub.report(report).await?
        };
        self.crash.reach(after);
        Ok(receipt)
    }
}

#[tokio::test]
#[ignore = "no test: a process that the tests of commands start"]
async fn the_module() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let folder = PathBuf::from(variable("FOLDER"));
    let passes = Arc::new(AtomicU32::new(variable("KILL_AFTER").parse().unwrap()));
    let crash = CrashPoint { at: variable("KILL_AT").into(), passes };
    let forgetful = std::env::var_os("FORGETFUL").is_some();
    let hub = HubClient::new(&variable("HUB")).unwrap().with_token(variable("TOKEN"));
    let uplink =
        CrashingUplink { hub: hub.uplink(ModuleId::new("led").unwrap()), crash: crash.clone(), forgetful };
    let mut module = ActuatorModule::new(Device { log: folder.join("done.log"), crash });
    if !forgetful {
        module = module.with_command_log(folder.join("commands.json"));
    }
    Runner::new(uplink).run(module).await.unwrap();
}
