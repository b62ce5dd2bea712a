//! The outside ledger: what was sent to a store, what it said, and what it may therefore have.
//!
//! Whatever was acknowledged is there. What was not answered, or was answered with a failure of the engine,
//! may be there or not, but wholly: so each fact has the values it may have, one when it is known. Nothing
//! else is there.

use std::{collections::BTreeMap, time::Duration};

use iotpi_core::{
    Command, CommandId, CommandOutcome, CommandReport, CommandState, LeaseId, Manifest, ModuleId, Quantity,
    Reading, SensorType, Timestamp,
};
use iotpi_hub::store::{
    LeaseTerms, Now, PageRequest, ReadingQuery, Result, SeriesKey, Steady, Store, StoreError,
};
use serde_json::{Map, Value};

/// A lease is over after 30 s; nothing dies of too many.
pub const TERMS: LeaseTerms = LeaseTerms { lease: Duration::from_secs(30), max_attempts: 1_000_000 };

/// What is measured.
pub const QUANTITIES: [Quantity; 2] = [Quantity::Temperature, Quantity::Humidity];

/// A module that writes only to keep the writer busy.
pub const PLUG: &str = "plug";

/// Everything sent, by module.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub modules: Vec<Known>,
    /// The next value, command or time: no two are the same.
    pub count: u64,
    /// Seconds since the beginning.
    pub secs: u64,
}

/// What one module's part of the store may be.
#[derive(Debug, Clone)]
pub struct Known {
    pub id: ModuleId,
    pub batches: Vec<Batch>,
    pub commands: Vec<Tracked>,
    pub manifests: Vec<Option<Manifest>>,
    pub states: Vec<Option<Map<String, Value>>>,
    /// The number of the next reading that is numbered.
    pub seq: u64,
}

/// Readings sent in one call.
#[derive(Debug, Clone)]
pub struct Batch {
    pub readings: Vec<Reading>,
    /// Without numbers: must not be sent again.
    pub plain: bool,
    pub fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is there.
    Acknowledged,
    /// It is there or not.
    Unknown,
    /// It is not there.
    Absent,
}

/// One command.
#[derive(Debug, Clone)]
pub struct Tracked {
    pub id: CommandId,
    /// What it may be; nothing: it may not be there.
    pub states: Vec<Option<CommandState>>,
    pub lease: Option<LeaseId>,
    pub old_leases: Vec<LeaseId>,
}

impl Tracked {
    /// Its state, if it is known.
    pub fn state(&self) -> Option<CommandState> {
        if let [Some(state)] = self.states[..] { Some(state) } else { None }
    }

    /// It may have become this meanwhile.
    pub fn may_be(&mut self, state: CommandState) {
        if !self.states.contains(&Some(state)) {
            self.states.push(Some(state));
        }
    }

    pub fn is(&mut self, state: CommandState) {
        self.states = vec![Some(state)];
        if state != CommandState::Leased {
            self.old_leases.extend(self.lease.take());
        }
    }
}

impl Ledger {
    pub fn new() -> Self {
        let known = |n| Known {
            id: ModuleId::new(format!("m{n}")).unwrap(),
            batches: Vec::new(),
            commands: Vec::new(),
            manifests: vec![None],
            states: vec![None],
            seq: 1,
        };
        Self { modules: (0..4).map(known).collect(), count: 0, secs: 0 }
    }

    pub fn now(&self) -> Now {
        let wall = Timestamp::from_micros(1_795_472_000_000_000).plus(Duration::from_secs(self.secs));
        Now { wall, steady: Steady(wall) }
    }

    /// How many readings must be there.
    pub fn acknowledged(&self) -> usize {
        let batches = self.modules.iter().flat_map(|known| &known.batches);
        batches.filter(|batch| batch.fate == Fate::Acknowledged).map(|batch| batch.readings.len()).sum()
    }

    /// Checks that a store has what it must and may have, and nothing else. What was unknown is known
    /// afterwards.
    pub async fn check(&mut self, store: &dyn Store) {
        self.check_readings(store).await;
        self.check_modules(store).await;
        self.check_commands(store).await;
    }

    async fn check_readings(&mut self, store: &dyn Store) {
        let mut found: BTreeMap<(ModuleId, SensorType), BTreeMap<u64, Vec<Reading>>> = BTreeMap::new();
        for quantity in QUANTITIES {
            let query = ReadingQuery {
                sensor: quantity.name(),
                module_id: None,
                since: None,
                until: None,
                not_after: None,
                ascending: true,
            };
            let readings = all(async |page| {
                let page = store.readings(&query, &page).await.unwrap();
                (page.items, page.next)
            });
            for reading in readings.await {
                let series = (reading.module_id.clone(), quantity.name());
                let value = reading.outcome.value().unwrap() as u64;
                found.entry(series).or_default().entry(value).or_default().push(reading);
            }
            // What is summed up is what is there.
            let buckets = all(async |page| {
                let page = store.buckets(&query, Duration::from_secs(3600), &page).await.unwrap();
                (page.items, page.next)
            });
            let mut sums: BTreeMap<ModuleId, u64> = BTreeMap::new();
            for bucket in buckets.await {
                *sums.entry(bucket.module_id.clone()).or_default() += bucket.count.unwrap_or_default();
            }
            for ((module, sensor), values) in
                found.iter().filter(|((_, sensor), _)| *sensor == quantity.name())
            {
                let there: usize = values.values().map(Vec::len).sum();
                assert_eq!(sums.get(module).copied(), Some(there as u64), "the sums of {module} {sensor}");
                let series = SeriesKey { module_id: module.clone(), sensor: sensor.clone() };
                let recent = store.recent(&series, 3, None).await.unwrap();
                assert_eq!(recent.len(), there.min(3), "the newest of {module} {sensor}");
            }
        }
        for known in &mut self.modules {
            for batch in &mut known.batches {
                let there = batch.readings.iter().filter(|sent| {
                    let series = (sent.module_id.clone(), sent.quantity.name());
                    let value = sent.outcome.value().unwrap() as u64;
                    match found.get_mut(&series).and_then(|values| values.remove(&value)) {
                        None => false,
                        Some(kept) => {
                            assert_eq!(kept.len(), 1, "kept more than once: {sent:?}");
                            assert_eq!(kept[0].taken_at, sent.taken_at, "{sent:?}");
                            true
                        }
                    }
                });
                let there = there.count();
                let sent = batch.readings.len();
                assert!(there == 0 || there == sent, "{there} of {sent} are there: {batch:?}");
                match batch.fate {
                    Fate::Acknowledged => assert_eq!(there, sent, "acknowledged and lost: {batch:?}"),
                    Fate::Absent => assert_eq!(there, 0, "known to be absent, and there: {batch:?}"),
                    Fate::Unknown => {}
                }
                batch.fate = if there == 0 { Fate::Absent } else { Fate::Acknowledged };
            }
        }
        found.retain(|_, values| !values.is_empty());
        assert!(found.is_empty(), "nobody sent {found:?}");
    }

    async fn check_modules(&mut self, store: &dyn Store) {
        let there = all(async |page| {
            let page = store.modules(&page).await.unwrap();
            (page.items, page.next)
        });
        for module in there.await {
            let ours = self.modules.iter().any(|known| known.id == module.id);
            assert!(ours || module.id.as_str() == PLUG, "nobody spoke of {module:?}");
        }
        for known in &mut self.modules {
            let module = store.module(&known.id).await.unwrap();
            let (manifest, state) = match module {
                Some(module) => (module.manifest, module.state.map(|(state, _)| state)),
                None => (None, None),
            };
            assert!(
                known.manifests.contains(&manifest),
                "{}: {manifest:?}, not {:?}",
                known.id,
                known.manifests
            );
            assert!(known.states.contains(&state), "{}: {state:?}, not {:?}", known.id, known.states);
            known.manifests = vec![manifest];
            known.states = vec![state];
        }
    }

    async fn check_commands(&mut self, store: &dyn Store) {
        for known in &mut self.modules {
            let there = all(async |page| {
                let page = store.commands(&known.id, &page).await.unwrap();
                (page.items, page.next)
            });
            let mut there: BTreeMap<_, _> =
                there.await.into_iter().map(|command| (command.id, command.state)).collect();
            for tracked in &mut known.commands {
                let state = there.remove(&tracked.id);
                assert!(tracked.states.contains(&state), "it is {state:?}: {tracked:?}");
                match state {
                    Some(state) => tracked.is(state),
                    None => tracked.states = vec![None],
                }
            }
            assert!(there.is_empty(), "nobody submitted {there:?}");
            known.commands.retain(|tracked| tracked.states != [None]);
        }
    }

    /// Every lease that was given out still holds, and no other does. Ends the commands that are leased.
    pub async fn check_leases(&mut self, store: &dyn Store) {
        let now = self.now();
        for known in &mut self.modules {
            for tracked in &mut known.commands {
                let (Some(CommandState::Leased), Some(lease)) = (tracked.state(), tracked.lease.clone())
                else {
                    continue;
                };
                let outcome = CommandOutcome::Succeeded { result: None };
                let report =
                    |lease| CommandReport { id: tracked.id.clone(), lease, outcome: outcome.clone() };
                for old in tracked.old_leases.iter().cloned().chain(["nobody's".to_owned()]) {
                    let refused = report_on_command(store, &known.id, &report(old), now).await;
                    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
                }
                report_on_command(store, &known.id, &report(lease), now).await.unwrap();
                tracked.is(CommandState::Succeeded);
            }
        }
    }
}

/// Stores a module's report on a command.
pub async fn report_on_command(
    store: &dyn Store,
    module: &ModuleId,
    report: &CommandReport,
    now: Now,
) -> Result<Command> {
    store.report(module, None, Some(report), TERMS, now).await?.unwrap().map(|reported| reported.command)
}

/// Follows a list to its end.
async fn all<T>(mut next: impl AsyncFnMut(PageRequest) -> (Vec<T>, Option<String>)) -> Vec<T> {
    let mut request = PageRequest { limit: 1000, cursor: None };
    let mut items = Vec::new();
    loop {
        let (page, cursor) = next(request).await;
        items.extend(page);
        match cursor {
            None => return items,
            cursor => request = PageRequest { limit: 1000, cursor },
        }
    }
}
