//! What callers with few rights, or none, can do to others: nothing.

mod answers;
mod bodies;
mod connections;
