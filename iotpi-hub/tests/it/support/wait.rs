//! Bounded waits: a test awaits an event or a condition, and fails if it does not occur.

use std::time::Duration;

/// How long a test waits. It is far longer than a slow machine needs.
const LIMIT: Duration = Duration::from_secs(30);

/// Awaits an event.
pub async fn bounded<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Waits until the condition is true.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let poll = async {
        let mut interval = tokio::time::interval(Duration::from_millis(10));
        while !condition().await {
            interval.tick().await;
        }
    };
    bounded(what, poll).await;
}
