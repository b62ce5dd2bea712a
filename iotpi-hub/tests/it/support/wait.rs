//! Bounded waits: a test awaits an event or a condition, and fails if it does not occur. The tests of the
//! programs use them too.

use std::time::Duration;

/// The longest wait. It is far longer than a slow machine needs, so that a wait this long is a failure. It is
/// also longer than every timeout of the hub, because some tests advance the time of tokio to such a timeout.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Awaits an event.
pub async fn bounded<T>(what: &str, event: impl Future<Output = T>) -> T {
    bounded_by(LIMIT, what, event).await
}

/// Awaits an event of a test that does much work, with a longer limit.
pub async fn bounded_by<T>(limit: Duration, what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, event).await.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

/// Waits until the condition is true.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    bounded(what, poll(condition)).await;
}

/// Evaluates the condition every 10 ms until it is true. The wait has no limit: pass it to [`bounded_by`].
pub async fn poll(condition: impl AsyncFn() -> bool) {
    let mut interval = tokio::time::interval(Duration::from_millis(10));
    while !condition().await {
        interval.tick().await;
    }
}
