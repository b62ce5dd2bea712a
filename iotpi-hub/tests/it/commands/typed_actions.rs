//! Actions whose parameters are Rust types: the hub accepts their schemas and checks commands against them.

use std::time::Duration;

use iotpi_core::{
    ActionSpec, Actions, Actuator as _, ActuatorModule, AnyError, HubClient, Manifest, NewCommand, Runner,
    model::{command::CommandState, error::ErrorKind},
    module::NoParams,
};
use iotpi_hub::{auth::Role, schema::check_actions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{
    api::{Api, id},
    wait::{bounded, until},
};

/// Moves the blind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Move {
    /// The position in per cent.
    #[schemars(range(max = 100))]
    to: u8,
    speed: Option<Speed>,
    #[serde(default)]
    side: Side,
    #[serde(default)]
    #[schemars(length(max = 4))]
    stops: Vec<Stop>,
}

#[derive(Deserialize, JsonSchema)]
struct Speed {
    #[allow(dead_code)]
    metres_per_second: f64,
}

#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Side {
    /// At the window.
    #[default]
    Left,
    /// At the wall.
    Right,
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(dead_code)]
enum Stop {
    At { position: f32 },
    After { secs: u64 },
}

#[derive(Default)]
struct Blind {
    position: u8,
}

impl Blind {
    async fn move_to(&mut self, to: Move) -> Result<Value, AnyError> {
        self.position = to.to;
        Ok(json!({"side": to.side, "stops": to.stops.len(), "fast": to.speed.is_some()}))
    }
}

fn blind() -> Actions<Blind> {
    let move_to = ActionSpec::named("move").unwrap().hazardous().while_alive(Duration::from_secs(60));
    Actions::new(Blind::default())
        .action(move_to, Blind::move_to)
        .action("stop", async |_: &mut Blind, _: NoParams| Ok(()))
        .make_safe(async |_| Ok(()))
        .state(|blind| json!({"position": blind.position}))
}

fn command(name: &str, params: Value) -> NewCommand {
    NewCommand::new(name.parse().unwrap()).with_params(params).unwrap()
}

#[test]
fn the_schema_of_a_type_is_within_the_accepted_subset() {
    let manifest = Manifest::new().with_actions(blind().actions());

    check_actions(&manifest).unwrap();
}

#[tokio::test]
async fn a_typed_command_is_run_and_one_that_does_not_fit_is_refused() {
    let api = Api::start().await;
    let client = |token: String| HubClient::new(&api.hub.url()).unwrap().with_token(token);
    let (uplink, stop) = (client(api.module("blind").await).uplink(id("blind")), CancellationToken::new());
    let module = tokio::spawn(Runner::new(uplink).run_until(ActuatorModule::new(blind()), stop.clone()));
    let (hub, blind) = (client(api.token(Role::Operator).await), id("blind"));
    until("the registration", async || {
        hub.module(&blind).await.is_ok_and(|module| module.manifest.is_some())
    })
    .await;

    let full = json!({"to": 40, "speed": {"metres_per_second": 0.5}, "side": "right", "stops": [{"kind": "at", "position": 3.5}]});
    let run = bounded("the outcome", hub.control(&blind, &command("move", full)).wait()).await.unwrap();
    let plain =
        bounded("the outcome", hub.control(&blind, &command("move", json!({"to": 0}))).wait()).await.unwrap();
    let stopped =
        bounded("the outcome", hub.control(&blind, &command("stop", json!({}))).wait()).await.unwrap();

    assert_eq!(run.state, CommandState::Succeeded, "{run:?}");
    assert_eq!(run.result, Some(json!({"side": "right", "stops": 1, "fast": true})));
    assert_eq!(plain.result, Some(json!({"side": "left", "stops": 0, "fast": false})));
    assert_eq!((stopped.state, stopped.result), (CommandState::Succeeded, None));
    for refused in [
        command("move", json!({})),
        command("move", json!({"to": 101})),
        command("move", json!({"to": 1, "side": "up"})),
        command("move", json!({"to": 1, "tempo": 1})),
        command("move", json!({"to": 1, "stops": [{"kind": "never"}]})),
        command("stop", json!({"now": true})),
    ] {
        let error = hub.control(&blind, &refused).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Unprocessable, "{refused:?}");
    }
    stop.cancel();
    module.await.unwrap().unwrap();
    api.stop().await;
}
