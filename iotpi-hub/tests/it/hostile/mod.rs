//! What callers with few rights, or none, can do to others: nothing.

mod answers;
mod authorization;
mod bodies;
mod connections;
