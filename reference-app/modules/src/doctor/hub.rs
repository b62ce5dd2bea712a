//! The hub: reachable, and its answer to the module's token.

use std::time::Duration;

use iotpi_core::{HubClient, ModuleId, UplinkError, model::error::ErrorKind};

use super::finding::Finding;

const AREA: &str = "hub";
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks the hub for its time, then with the token for the readings that it has of the module.
pub async fn check(hub: &HubClient, module: &ModuleId, token: anyhow::Result<String>) -> Vec<Finding> {
    let hub = hub.clone().with_deadline(DEADLINE).with_retries(0);
    let url = hub.url().to_owned();
    if let Err(error) = hub.health().await {
        let fix = format!("check the address, and that the hub runs: curl {url}/health");
        return vec![Finding::fail(AREA, chain(&error), fix)];
    }
    let reachable = Finding::ok(AREA, format!("{url} answers"));
    let new_token = format!("iotpi-hub token add --role module --module {module}, on the hub's machine");
    let token = match token {
        Ok(token) => token,
        Err(error) => return vec![reachable, Finding::fail("token", format!("{error:#}"), new_token)],
    };
    let answer = hub.with_token(token).delivery(module).await;
    vec![reachable, of_answer(answer.err(), new_token)]
}

fn of_answer(error: Option<UplinkError>, new_token: String) -> Finding {
    match error {
        // A module that never registered is not known yet.
        None => Finding::ok("token", "the hub accepts it"),
        Some(UplinkError::Problem(problem)) if problem.kind == ErrorKind::NotFound => {
            Finding::ok("token", "the hub accepts it; the module has not registered yet")
        }
        Some(error) => Finding::fail("token", chain(&error), new_token),
    }
}

/// The text of an error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    #[tokio::test]
    async fn a_hub_that_is_not_there_fails_with_a_command_to_look_at_it() {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let hub = HubClient::new(&url).unwrap();

        let found = check(&hub, &"attic".parse().unwrap(), Ok("token".to_owned())).await;

        assert_eq!((found.len(), found[0].level), (1, Level::Fail));
        assert!(found[0].fix.as_ref().unwrap().contains(&url), "{found:?}");
    }
}
