//! A ledger of the calls to a store and their results, with the contents that the store may therefore have.
//!
//! A change that was acknowledged must be stored. A change without a result, or with an engine error, may be
//! stored or not, but not in part. So the ledger has all possible values of each item, and only one when it
//! is known. Nothing else may be stored.

use std::{collections::BTreeMap, time::Duration};

use iotpi_core::{
    Manifest, ModuleId, Quantity, Reading, SensorType, Timestamp,
    model::command::{Command, CommandId, CommandOutcome, CommandReport, CommandState, LeaseId},
};
use iotpi_hub::store::{
    LeaseTerms, Now, PageRequest, ReadingQuery, Result, SeriesKey, Steady, Store, StoreError,
};
use serde_json::{Map, Value};

/// A lease ends after 30 s. The number of attempts is practically unlimited.
pub const TERMS: LeaseTerms = LeaseTerms { lease: Duration::from_secs(30), max_attempts: 1_000_000 };

/// The quantities of the readings.
pub const QUANTITIES: [Quantity; 2] = [Quantity::Temperature, Quantity::Humidity];

/// The module whose writes only keep the writer busy.
pub const BUSY_MODULE: &str = "busy";

/// All calls, by module.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub modules: Vec<ModuleLedger>,
    /// A counter for values and commands, so that no two are equal.
    pub count: u64,
    /// Seconds since the start.
    pub secs: u64,
}

/// The possible contents of the store for one module.
#[derive(Debug, Clone)]
pub struct ModuleLedger {
    pub id: ModuleId,
    pub batches: Vec<Batch>,
    pub commands: Vec<TrackedCommand>,
    pub manifests: Vec<Option<Manifest>>,
    pub states: Vec<Option<Map<String, Value>>>,
    /// The sequence number of the next reading.
    pub seq: u64,
}

/// Readings sent in one call.
#[derive(Debug, Clone)]
pub struct Batch {
    pub readings: Vec<Reading>,
    /// The readings have no sequence numbers, so they must not be sent again.
    pub plain: bool,
    pub expected: Expectation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// It must be stored.
    Acknowledged,
    /// It may be stored.
    Unknown,
    /// It must not be stored.
    Absent,
}

/// A command and its possible states.
#[derive(Debug, Clone)]
pub struct TrackedCommand {
    pub id: CommandId,
    /// The possible states; `None`: the command may be missing.
    pub states: Vec<Option<CommandState>>,
    pub lease: Option<LeaseId>,
    pub old_leases: Vec<LeaseId>,
}

impl TrackedCommand {
    /// Its state, if it is known.
    pub fn state(&self) -> Option<CommandState> {
        if let [Some(state)] = self.states[..] { Some(state) } else { None }
    }

    /// Adds a possible state.
    pub fn may_be(&mut self, state: CommandState) {
        if !self.states.contains(&Some(state)) {
            self.states.push(Some(state));
        }
    }

    /// Sets the only possible state.
    pub fn set_state(&mut self, state: CommandState) {
        self.states = vec![Some(state)];
        if state != CommandState::Leased {
            self.old_leases.extend(self.lease.take());
        }
    }
}

impl Ledger {
    pub fn new() -> Self {
        let ledger = |n| ModuleLedger {
            id: ModuleId::new(format!("m{n}")).unwrap(),
            batches: Vec::new(),
            commands: Vec::new(),
            manifests: vec![None],
            states: vec![None],
            seq: 1,
        };
        Self { modules: (0..4).map(ledger).collect(), count: 0, secs: 0 }
    }

    pub fn now(&self) -> Now {
        let wall = Timestamp::from_micros(1_795_472_000_000_000).plus(Duration::from_secs(self.secs));
        Now { wall, steady: Steady(wall) }
    }

    /// The number of acknowledged readings.
    pub fn acknowledged(&self) -> usize {
        let batches = self.modules.iter().flat_map(|module_ledger| &module_ledger.batches);
        batches
            .filter(|batch| batch.expected == Expectation::Acknowledged)
            .map(|batch| batch.readings.len())
            .sum()
    }

    /// Checks that a store has everything it must have and nothing that it may not have. Afterwards every
    /// state is known.
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
                channel: None,
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
            // The counts of the buckets match the readings.
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
                let stored: usize = values.values().map(Vec::len).sum();
                assert_eq!(sums.get(module).copied(), Some(stored as u64), "the sums of {module} {sensor}");
                let series = SeriesKey { module_id: module.clone(), sensor: sensor.clone(), channel: None };
                let recent = store.recent(&series, 3, None).await.unwrap();
                assert_eq!(recent.len(), stored.min(3), "the newest of {module} {sensor}");
            }
        }
        for module_ledger in &mut self.modules {
            for batch in &mut module_ledger.batches {
                let stored = batch.readings.iter().filter(|sent| {
                    let series = (sent.module_id.clone(), sent.quantity.name());
                    let value = sent.outcome.value().unwrap() as u64;
                    match found.get_mut(&series).and_then(|values| values.remove(&value)) {
                        None => false,
                        Some(found) => {
                            assert_eq!(found.len(), 1, "stored more than once: {sent:?}");
                            assert_eq!(found[0].taken_at, sent.taken_at, "{sent:?}");
                            true
                        }
                    }
                });
                let stored = stored.count();
                let sent = batch.readings.len();
                assert!(stored == 0 || stored == sent, "{stored} of {sent} are stored: {batch:?}");
                match batch.expected {
                    Expectation::Acknowledged => assert_eq!(stored, sent, "acknowledged and lost: {batch:?}"),
                    Expectation::Absent => assert_eq!(stored, 0, "absent before and stored now: {batch:?}"),
                    Expectation::Unknown => {}
                }
                batch.expected = if stored == 0 { Expectation::Absent } else { Expectation::Acknowledged };
            }
        }
        found.retain(|_, values| !values.is_empty());
        assert!(found.is_empty(), "never sent: {found:?}");
    }

    async fn check_modules(&mut self, store: &dyn Store) {
        let modules = all(async |page| {
            let page = store.modules(&page).await.unwrap();
            (page.items, page.next)
        });
        for module in modules.await {
            let ours = self.modules.iter().any(|module_ledger| module_ledger.id == module.id);
            assert!(ours || module.id.as_str() == BUSY_MODULE, "an unknown module: {module:?}");
        }
        for module_ledger in &mut self.modules {
            let module = store.module(&module_ledger.id).await.unwrap();
            let (manifest, state) = match module {
                Some(module) => (module.manifest, module.state.map(|(state, _)| state)),
                None => (None, None),
            };
            assert!(
                module_ledger.manifests.contains(&manifest),
                "{}: {manifest:?}, not {:?}",
                module_ledger.id,
                module_ledger.manifests
            );
            assert!(
                module_ledger.states.contains(&state),
                "{}: {state:?}, not {:?}",
                module_ledger.id,
                module_ledger.states
            );
            module_ledger.manifests = vec![manifest];
            module_ledger.states = vec![state];
        }
    }

    async fn check_commands(&mut self, store: &dyn Store) {
        for module_ledger in &mut self.modules {
            let commands = all(async |page| {
                let page = store.commands(&module_ledger.id, &page).await.unwrap();
                (page.items, page.next)
            });
            let mut stored: BTreeMap<_, _> =
                commands.await.into_iter().map(|command| (command.id, command.state)).collect();
            for tracked in &mut module_ledger.commands {
                let state = stored.remove(&tracked.id);
                assert!(tracked.states.contains(&state), "the state is {state:?}: {tracked:?}");
                match state {
                    Some(state) => tracked.set_state(state),
                    None => tracked.states = vec![None],
                }
            }
            assert!(stored.is_empty(), "never submitted: {stored:?}");
            module_ledger.commands.retain(|tracked| tracked.states != [None]);
        }
    }

    /// Checks that every current lease is valid and every ended one is not. Finishes the leased commands.
    pub async fn check_leases(&mut self, store: &dyn Store) {
        let now = self.now();
        for module_ledger in &mut self.modules {
            for tracked in &mut module_ledger.commands {
                let (Some(CommandState::Leased), Some(lease)) = (tracked.state(), tracked.lease.clone())
                else {
                    continue;
                };
                let outcome = CommandOutcome::Succeeded { result: None };
                let report = |lease| CommandReport::new(tracked.id.clone(), lease, outcome.clone());
                for old in tracked.old_leases.iter().cloned().chain(["never-issued".into()]) {
                    let refused = report_on_command(store, &module_ledger.id, &report(old), now).await;
                    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
                }
                report_on_command(store, &module_ledger.id, &report(lease), now).await.unwrap();
                tracked.set_state(CommandState::Succeeded);
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

/// All pages of a list.
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
