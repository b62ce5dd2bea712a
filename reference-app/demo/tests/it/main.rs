//! The shipped programs as processes, and who may import whom.

mod layers;
