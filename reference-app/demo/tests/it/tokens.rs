//! Tokens created and revoked on the command line while the hub runs.

use iotpi_core::{HubClient, NewCommand, model::error::ErrorKind};

use crate::support::{
    demo::{Demo, id},
    wait::bounded,
};

#[tokio::test]
async fn a_token_is_valid_from_its_creation_until_its_revocation() {
    let demo = Demo::start().await;
    let token = demo.token(&["--role", "viewer", "wall-screen"]).await;
    let screen = HubClient::new(&demo.url).unwrap().with_token(token);

    let allowed = screen.modules().await;
    let list = demo.hub_command(&["token", "list"]).await;
    demo.hub_command(&["token", "revoke", "wall-screen"]).await;
    // The token may still be valid for a second.
    let refused = bounded("the refusal of the revoked token", async {
        loop {
            if let Err(error) = screen.modules().await {
                return error.kind();
            }
        }
    })
    .await;

    assert!(allowed.is_ok(), "{allowed:?}");
    assert!(String::from_utf8_lossy(&list.stdout).contains("wall-screen"));
    assert_eq!(refused, ErrorKind::Unauthenticated);

    demo.stop().await;
}

#[tokio::test]
async fn a_viewer_may_not_switch_the_lamp() {
    let demo = Demo::start().await;
    let token = demo.token(&["--role", "viewer", "wall-screen"]).await;
    let screen = HubClient::new(&demo.url).unwrap().with_token(token);

    let refused = screen.control(&id("led"), &NewCommand::new("set".parse().unwrap())).await;

    assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));

    demo.stop().await;
}
