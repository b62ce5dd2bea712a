//! The last contacts of modules, in memory; saved to the store periodically.
//!
//! Silence is measured in steady time, so an adjusted clock makes no module late.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::Duration,
};

use iotpi_core::{Manifest, ModuleId, Timestamp, model::manifest::Health};

use crate::{
    lock::lock,
    store::{ModuleRecord, Now, Steady},
};

/// The last contacts of all modules, and the modules whose changes are not published yet.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    modules: Mutex<HashMap<ModuleId, LastContact>>,
    /// Modules that registered, reported a state or were removed since the last publication.
    changed: Mutex<BTreeSet<ModuleId>>,
}

#[derive(Debug)]
struct LastContact {
    last_seen: Option<(Timestamp, Steady)>,
    heartbeat: Duration,
    /// Whether it has a manifest.
    registered: bool,
    /// The last published health.
    published: Health,
    unsaved: bool,
}

impl LastContact {
    fn health(&self, now: Now) -> Health {
        Health::of(self.last_seen.map(|(_, at)| now.steady.0.since(at.0)), self.heartbeat)
    }
}

impl Presence {
    /// Loads a module from the store.
    pub(crate) fn restore(&self, record: &ModuleRecord, now: Now) {
        let mut contact = LastContact {
            last_seen: record.last_seen_at.map(|at| (at, Steady(at))),
            heartbeat: heartbeat(record.manifest.as_ref()),
            registered: record.manifest.is_some(),
            published: Health::Unknown,
            unsaved: false,
        };
        contact.published = contact.health(now);
        lock(&self.modules).insert(record.id.clone(), contact);
    }

    /// The number of modules.
    pub(crate) fn count(&self) -> u64 {
        lock(&self.modules).len() as u64
    }

    /// Whether the module is known.
    pub(crate) fn knows(&self, id: &ModuleId) -> bool {
        lock(&self.modules).contains_key(id)
    }

    /// Records a contact. Returns whether the health differs from the published one, in which case the module
    /// counts as changed.
    pub(crate) fn touch(&self, id: &ModuleId, now: Now) -> bool {
        let is_new_health = self.record(id, now);
        if is_new_health {
            self.changed(id);
        }
        is_new_health
    }

    fn record(&self, id: &ModuleId, now: Now) -> bool {
        let mut all = lock(&self.modules);
        let contact = all.entry(id.clone()).or_insert_with(|| LastContact {
            last_seen: None,
            heartbeat: heartbeat(None),
            registered: false,
            published: Health::Unknown,
            unsaved: false,
        });
        contact.last_seen = Some((now.wall, now.steady));
        contact.unsaved = true;
        contact.published != contact.health(now)
    }

    /// Records a registration and its heartbeat interval.
    pub(crate) fn registered(&self, id: &ModuleId, manifest: &Manifest) {
        if let Some(contact) = lock(&self.modules).get_mut(id) {
            contact.heartbeat = heartbeat(Some(manifest));
            contact.registered = true;
        }
    }

    /// Whether the module has a manifest.
    pub(crate) fn is_registered(&self, id: &ModuleId) -> bool {
        lock(&self.modules).get(id).is_some_and(|contact| contact.registered)
    }

    /// Removes a module.
    pub(crate) fn forget(&self, id: &ModuleId) {
        lock(&self.modules).remove(id);
    }

    /// The health and the last contact of a module.
    pub(crate) fn of(&self, id: &ModuleId, now: Now) -> (Health, Option<Timestamp>) {
        lock(&self.modules).get(id).map_or((Health::Unknown, None), |contact| {
            (contact.health(now), contact.last_seen.map(|(at, _)| at))
        })
    }

    /// Records that this health is being published.
    pub(crate) fn mark_published(&self, id: &ModuleId, health: Health) {
        if let Some(contact) = lock(&self.modules).get_mut(id) {
            contact.published = health;
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
    pub(crate) fn take_unpublished(&self, now: Now) -> BTreeSet<ModuleId> {
        let mut ids = self.take_changed();
        ids.extend(
            lock(&self.modules)
                .iter()
                .filter(|(_, contact)| contact.published != contact.health(now))
                .map(|(id, _)| id.clone()),
        );
        ids
    }

    /// The contacts since the last call.
    pub(crate) fn unsaved(&self) -> Vec<(ModuleId, Timestamp)> {
        lock(&self.modules)
            .iter_mut()
            .filter_map(|(id, contact)| {
                let unsaved = std::mem::take(&mut contact.unsaved);
                contact.last_seen.filter(|_| unsaved).map(|(at, _)| (id.clone(), at))
            })
            .collect()
    }
}

fn heartbeat(manifest: Option<&Manifest>) -> Duration {
    manifest.map_or_else(|| Manifest::default().heartbeat(), Manifest::heartbeat)
}
