//! Modules: registration, health, removal.

mod registration;
