//! The live protocol over WebSocket.

mod client;
mod frames;
mod protocol;
