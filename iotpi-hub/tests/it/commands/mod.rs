//! Commands: their life, idempotency, issuer presence, and modules that crash.

mod crashing_module;
mod idempotency;
mod issuer_presence;
mod lifecycle;
mod module_crashes;
mod typed_actions;
