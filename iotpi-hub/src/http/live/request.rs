//! Parsing and checking the messages of a live client.

use std::collections::HashSet;

use iotpi_core::{
    ModuleId,
    model::event::{
        LiveRequest, MAX_LIVE_MESSAGE_BYTES, MAX_RECENT, MAX_SUBSCRIPTION_NAMES, MAX_WATCHED_CAMERAS,
        MAX_WATCHED_FPS, Subscription, WatchRequest,
    },
};

use serde::Deserialize;
use serde_json::Value;

use super::super::extract::deserialize;
use crate::error::{HubError, Result};

/// The values of `type` in messages.
const TYPES: [&str; 4] = ["subscribe", "watch", "shown", "time"];

pub(super) fn parse(text: &str) -> Result<LiveRequest> {
    if text.len() > MAX_LIVE_MESSAGE_BYTES {
        return Err(HubError::too_large("a live message has up to 16 KiB"));
    }
    let request = serde_json::from_str(text).or_else(|_| by_type(text))?;
    match &request {
        LiveRequest::Subscribe(subscription) => check_subscription(subscription)?,
        LiveRequest::Watch { cameras } => check_cameras(cameras)?,
        LiveRequest::Shown { .. } | LiveRequest::Time { .. } => {}
    }
    Ok(request)
}

/// Parses a message that has an error again, by its type, so that the problem names the field.
fn by_type(text: &str) -> Result<LiveRequest> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Watch {
        cameras: Vec<WatchRequest>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shown {
        module_id: ModuleId,
        seq: u64,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Time {
        client_time: f64,
    }

    let mut message: Value = serde_json::from_str(text)
        .map_err(|error| HubError::invalid_argument(format!("the message is not JSON: {error}")))?;
    let Some(fields) = message.as_object_mut() else {
        return Err(HubError::invalid_argument("a message has to be a JSON object with a `type`"));
    };
    let kind = fields.remove("type");
    match kind.as_ref().and_then(Value::as_str) {
        Some("subscribe") => deserialize(message, "").map(LiveRequest::Subscribe),
        Some("watch") => deserialize(message, "").map(|Watch { cameras }| LiveRequest::Watch { cameras }),
        Some("shown") => {
            deserialize(message, "").map(|Shown { module_id, seq }| LiveRequest::Shown { module_id, seq })
        }
        Some("time") => {
            deserialize(message, "").map(|Time { client_time }| LiveRequest::Time { client_time })
        }
        _ => {
            let wrong = HubError::invalid_argument("`type` has to be subscribe, watch, shown or time");
            Err(wrong.at("/type").with_choices(TYPES.map(str::to_owned).to_vec()))
        }
    }
}

fn check_subscription(subscription: &Subscription) -> Result<()> {
    if subscription.recent > MAX_RECENT {
        return Err(HubError::invalid_argument("`recent` is 0 to 1,000").at("/recent"));
    }
    let lists = [
        ("/kinds", subscription.kinds.as_ref().map(Vec::len)),
        ("/modules", subscription.modules.as_ref().map(Vec::len)),
        ("/sensors", subscription.sensors.as_ref().map(Vec::len)),
    ];
    match lists.into_iter().find(|(_, len)| len.is_some_and(|len| len > MAX_SUBSCRIPTION_NAMES)) {
        Some((list, _)) => Err(HubError::too_large("a list has up to 64 names").at(list)),
        None => Ok(()),
    }
}

fn check_cameras(cameras: &[WatchRequest]) -> Result<()> {
    if cameras.len() > MAX_WATCHED_CAMERAS {
        return Err(HubError::too_large("up to 64 cameras are watched at once").at("/cameras"));
    }
    let mut named = HashSet::new();
    for (i, camera) in cameras.iter().enumerate() {
        if !named.insert(&camera.module_id) {
            let twice = format!("`{}` is in the list twice", camera.module_id);
            return Err(HubError::invalid_argument(twice).at(format!("/cameras/{i}/module_id")));
        }
        if camera.max_fps.is_some_and(|fps| fps.is_nan() || fps <= 0.0 || fps > MAX_WATCHED_FPS) {
            let limit = HubError::invalid_argument("`max_fps` is over 0, to 60");
            return Err(limit.at(format!("/cameras/{i}/max_fps")));
        }
    }
    Ok(())
}
