//! The live protocol over WebSocket.

mod frames;
mod protocol;
