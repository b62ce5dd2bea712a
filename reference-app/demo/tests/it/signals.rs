//! The program `iotpi-module` with its lamp on, and every signal that asks it to exit.

use std::process::Stdio;

use iotpi_core::{CommandState, Event, NewCommand};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::demo::{DEADLINE, Demo, event, id, live, program, until};

const PORCH: &str = "id = \"porch\"\n[[device]]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n";

#[tokio::test]
async fn each_signal_makes_a_module_switch_its_lamp_off_and_say_so() {
    let demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = live(&hub).await;
    let token = demo.token(&["--role", "module", "--module", "porch"]).await;
    let settings = demo.data.path().join("porch.toml");
    std::fs::write(&settings, PORCH).unwrap();
    let is_on = async || hub.module(&id("porch")).await.unwrap().state.unwrap()["on"] == true;

    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        // The parent of the tests may ignore some signals, and children inherit that.
        let mut module = Command::new("env")
            .arg("--default-signal")
            .arg(program("iotpi-module"))
            .arg("run")
            .arg(&settings)
            .args(["--hub", &demo.url])
            .env("IOTPI_TOKEN", &token)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until(&mut live, |message| match event(message)? {
            Event::Module { module } => {
                let is_ready = module.manifest.is_some() && module.state.is_some();
                (module.id.as_str() == "porch" && is_ready).then_some(())
            }
            _ => None,
        })
        .await;
        let params = serde_json::from_str(r#"{"on": true}"#).unwrap();
        let command =
            hub.control(&id("porch"), &NewCommand::new("set".parse().unwrap(), params)).await.unwrap();
        let done = until(&mut live, |message| match event(message)? {
            Event::Command { command: known } if known.id == command.id && known.state.is_final() => {
                Some(known.state)
            }
            _ => None,
        })
        .await;
        assert_eq!(done, CommandState::Succeeded);
        assert!(is_on().await);

        let pid = module.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
        kill_process(pid, signal).unwrap();
        let ended = tokio::time::timeout(DEADLINE, module.wait()).await.expect("it ends").unwrap();

        assert!(ended.success(), "{signal:?}: {ended}");
        assert!(!is_on().await, "{signal:?}");
    }
    demo.end().await;
}
