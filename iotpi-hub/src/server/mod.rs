//! The HTTP server: hyper behind an accept loop of our own, because a hub has to bound its connections, disconnect slow
//! clients and stop in time.
//!
//! This module imports `http`, which never imports it. Deliberately absent: routes. What a route demands of its connection it
//! states through the [`ConnectionPermit`](crate::admission::ConnectionPermit) in the request's extensions.

mod accept;
mod connection;
mod fast_frames;
mod limits;
mod response_body;
mod socket;
