//! Durability and maintenance: faults, corruption, replaced files, backups, retention.

mod corruption;
mod faults;
mod maintenance;
mod random_damage;
mod replaced_files;
