//! The program `iotpi-module` with its lamp on, and every signal that asks it to exit.

use iotpi_core::model::{command::CommandState, event::Event};
use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    demo::{Demo, Process, id, module_command},
    live::{event, receive, set, subscribe},
    wait::bounded,
};

const PORCH: &str = "id = \"porch\"\n[[device]]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n";

#[tokio::test]
async fn a_module_that_gets_a_stop_signal_switches_its_lamp_off_and_reports_it() {
    let demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = subscribe(&hub).await;
    let token = demo.token(&["--role", "module", "--module", "porch"]).await;
    let settings = demo.data.path().join("porch.toml");
    std::fs::write(&settings, PORCH).unwrap();
    let is_on = async || hub.module(&id("porch")).await.unwrap().state.unwrap()["on"] == true;

    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        let mut module = module_command(&settings, &demo.url, &token).spawn().unwrap();
        receive(&mut live, |message| match event(message)? {
            Event::Module { module } => {
                let is_ready = module.manifest.is_some() && module.state.is_some();
                (module.id.as_str() == "porch" && is_ready).then_some(())
            }
            _ => None,
        })
        .await;
        let command = set(&hub, &mut live, "porch", &json!({"on": true})).await;
        assert_eq!(command.state, CommandState::Succeeded);
        assert!(is_on().await);

        Process::of(&module).signal(signal);
        let status = bounded("the exit of the module", module.wait()).await.unwrap();

        assert!(status.success(), "{signal:?}: {status}");
        assert!(!is_on().await, "{signal:?}");
    }
    demo.stop().await;
}
