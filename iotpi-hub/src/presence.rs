//! When modules were last heard, in memory; written to the store now and then.
//!
//! Silence is measured in steady time, so that a stepped clock makes nobody late.

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

/// Who was heard when, and of whom there is something to tell.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    seen: Mutex<HashMap<ModuleId, LastContact>>,
    /// Modules that registered, reported a state or were removed since everybody was told.
    changed: Mutex<BTreeSet<ModuleId>>,
}

#[derive(Debug)]
struct LastContact {
    heard: Option<(Timestamp, Steady)>,
    heartbeat: Duration,
    /// Whether it has said what it offers.
    registered: bool,
    /// The health everybody was last told of.
    told: Health,
    unsaved: bool,
}

impl LastContact {
    fn health(&self, now: Now) -> Health {
        Health::of(self.heard.map(|(_, at)| now.steady.0.since(at.0)), self.heartbeat)
    }
}

impl Presence {
    /// Takes a module over from the store.
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

    /// How many modules there are.
    pub(crate) fn count(&self) -> u64 {
        lock(&self.seen).len() as u64
    }

    /// Whether there is such a module.
    pub(crate) fn knows(&self, id: &ModuleId) -> bool {
        lock(&self.seen).contains_key(id)
    }

    /// The module was heard. Answers whether its health is no longer what was published last: it then counts as changed.
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

    /// The module promised another heartbeat.
    pub(crate) fn registered(&self, id: &ModuleId, manifest: &Manifest) {
        if let Some(seen) = lock(&self.seen).get_mut(id) {
            seen.heartbeat = heartbeat(Some(manifest));
            seen.registered = true;
        }
    }

    /// Whether the module has said what it offers.
    pub(crate) fn is_registered(&self, id: &ModuleId) -> bool {
        lock(&self.seen).get(id).is_some_and(|seen| seen.registered)
    }

    /// The module was removed.
    pub(crate) fn forget(&self, id: &ModuleId) {
        lock(&self.seen).remove(id);
    }

    /// Its health and when it was last heard.
    pub(crate) fn of(&self, id: &ModuleId, now: Now) -> (Health, Option<Timestamp>) {
        lock(&self.seen)
            .get(id)
            .map_or((Health::Unknown, None), |seen| (seen.health(now), seen.heard.map(|(at, _)| at)))
    }

    /// Its health, of which everybody is being told.
    pub(crate) fn told(&self, id: &ModuleId, now: Now) {
        if let Some(seen) = lock(&self.seen).get_mut(id) {
            seen.told = seen.health(now);
        }
    }

    /// The module is not what it was when everybody was told.
    pub(crate) fn changed(&self, id: &ModuleId) {
        lock(&self.changed).insert(id.clone());
    }

    /// The modules that changed. Asked again, they are not named again.
    pub(crate) fn take_changed(&self) -> BTreeSet<ModuleId> {
        std::mem::take(&mut *lock(&self.changed))
    }

    /// The modules that changed, and those whose health is no longer what was published last: looks at every module.
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

    /// Who was heard since the last time this was asked.
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
