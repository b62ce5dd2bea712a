//! The last contacts of modules, in memory; saved to the store periodically.
//!
//! Silence is measured in steady time, so an adjusted clock makes no module late.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::Duration,
};

use iotpi_core::{Health, Manifest, ModuleId, Timestamp};

use crate::{
    lock::lock,
    store::{ModuleRecord, Now, Steady},
};

/// The last contacts of all modules, and the modules whose changes are not published yet.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    seen: Mutex<HashMap<ModuleId, LastContact>>,
    /// Modules that registered, reported a state or were removed since the last publication.
    changed: Mutex<BTreeSet<ModuleId>>,
}

#[derive(Debug)]
struct LastContact {
    heard: Option<(Timestamp, Steady)>,
    heartbeat: Duration,
    /// Whether it has a manifest.
    registered: bool,
    /// The last published health.
    told: Health,
    unsaved: bool,
}

impl LastContact {
    fn health(&self, now: Now) -> Health {
        Health::of(self.heard.map(|(_, at)| now.steady.0.since(at.0)), self.heartbeat)
    }
}

impl Presence {
    /// Loads a module from the store.
    pub(crate) fn restore(&self, record: &ModuleRecord, now: Now) {
        let mut seen = LastContact {
            heard: record.last_seen_at.map(|at| (at, Steady(at))),
            heartbeat: heartbeat(record.manifest.as_ref()),
            registered: record.manifest.is_some(),
            told: Health::Unknown,
            unsaved: false,
        };
        seen.told = seen.health(now);
        lock(&self.seen).insert(record.id.clone(), seen);
    }

    /// The number of modules.
    pub(crate) fn count(&self) -> u64 {
        lock(&self.seen).len() as u64
    }

    /// Whether the module is known.
    pub(crate) fn knows(&self, id: &ModuleId) -> bool {
        lock(&self.seen).contains_key(id)
    }

    /// Records a contact. Returns whether the health differs from the published one, in which case the module
    /// counts as changed.
    pub(crate) fn heard(&self, id: &ModuleId, now: Now) -> bool {
        let is_new_health = self.hear(id, now);
        if is_new_health {
            self.changed(id);
        }
        is_new_health
    }

    fn hear(&self, id: &ModuleId, now: Now) -> bool {
        let mut all = lock(&self.seen);
        let seen = all.entry(id.clone()).or_insert_with(|| LastContact {
            heard: None,
            heartbeat: heartbeat(None),
            registered: false,
            told: Health::Unknown,
            unsaved: false,
        });
        seen.heard = Some((now.wall, now.steady));
        seen.unsaved = true;
        seen.told != seen.health(now)
    }

    /// Records a registration and its heartbeat interval.
    pub(crate) fn registered(&self, id: &ModuleId, manifest: &Manifest) {
        if let Some(seen) = lock(&self.seen).get_mut(id) {
            seen.heartbeat = heartbeat(Some(manifest));
            seen.registered = true;
        }
    }

    /// Whether the module has a manifest.
    pub(crate) fn is_registered(&self, id: &ModuleId) -> bool {
        lock(&self.seen).get(id).is_some_and(|seen| seen.registered)
    }

    /// Removes a module.
    pub(crate) fn forget(&self, id: &ModuleId) {
        lock(&self.seen).remove(id);
    }

    /// The health and the last contact of a module.
    pub(crate) fn of(&self, id: &ModuleId, now: Now) -> (Health, Option<Timestamp>) {
        lock(&self.seen)
            .get(id)
            .map_or((Health::Unknown, None), |seen| (seen.health(now), seen.heard.map(|(at, _)| at)))
    }

    /// Records that the health is being published.
    pub(crate) fn told(&self, id: &ModuleId, now: Now) {
        if let Some(seen) = lock(&self.seen).get_mut(id) {
            seen.told = seen.health(now);
        }
    }

    /// Marks the module as changed.
    pub(crate) fn changed(&self, id: &ModuleId) {
        lock(&self.changed).insert(id.clone());
    }

    /// Takes the changed modules; they are not returned again.
    pub(crate) fn take_changed(&self) -> BTreeSet<ModuleId> {
        std::mem::take(&mut *lock(&self.changed))
    }

    /// The changed modules, and those whose health differs from the published one: checks every module.
    pub(crate) fn to_tell(&self, now: Now) -> BTreeSet<ModuleId> {
        let mut ids = self.take_changed();
        ids.extend(
            lock(&self.seen)
                .iter()
                .filter(|(_, seen)| seen.told != seen.health(now))
                .map(|(id, _)| id.clone()),
        );
        ids
    }

    /// The contacts since the last call.
    pub(crate) fn unsaved(&self) -> Vec<(ModuleId, Timestamp)> {
        lock(&self.seen)
            .iter_mut()
            .filter_map(|(id, seen)| {
                let unsaved = std::mem::take(&mut seen.unsaved);
                seen.heard.filter(|_| unsaved).map(|(at, _)| (id.clone(), at))
            })
            .collect()
    }
}

fn heartbeat(manifest: Option<&Manifest>) -> Duration {
    manifest.map_or_else(|| Manifest::default().heartbeat(), Manifest::heartbeat)
}
