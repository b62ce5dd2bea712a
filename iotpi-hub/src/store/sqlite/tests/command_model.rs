//! The life cycle of commands compared with a model: after any sequence of steps the store and the model
//! agree.
//!
//! A failure prints the shortest sequence that causes it. `PROPTEST_RNG_SEED` repeats a run, `PROPTEST_CASES`
//! sets the number of cases.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    ActionName, ModuleId, NewCommand, Timestamp,
    model::{
        command::{Command, CommandId, CommandOutcome, CommandReport, CommandState, LeaseId},
        id::UserName,
    },
};
use proptest::prelude::*;

use super::open;
use crate::store::{CommandSubmission, LeaseTerms, Now, PageRequest, Steady, Store, StoreError};

/// Reports on a command as the module with this index.
async fn report(
    store: &Arc<dyn Store>,
    module_index: usize,
    report: &CommandReport,
    now: u64,
) -> Result<Command, StoreError> {
    store
        .report(&module(module_index), None, Some(report), TERMS, at(now))
        .await?
        .unwrap()
        .map(|reported| reported.command)
}

const LEASE: u64 = 30;
const TERMS: LeaseTerms = LeaseTerms { lease: Duration::from_secs(LEASE), max_attempts: 3 };
const MAX_WAITING: usize = 6;
const MODULES: [&str; 2] = ["led", "door"];

#[derive(Debug, Clone)]
enum Step {
    Submit {
        module: usize,
        secs: u64,
        hazardous: bool,
        target: Option<u8>,
        key: Option<u8>,
    },
    Claim {
        module: usize,
        limit: u32,
    },
    /// `which` is an index modulo the number of leases. With `stale`, the report has a lease that was never
    /// given.
    Start {
        which: usize,
        stale: bool,
    },
    Finish {
        which: usize,
        stale: bool,
        outcome: u8,
    },
    Cancel {
        which: usize,
    },
    ApplyDeadlines,
    Advance {
        secs: u64,
    },
    /// Opens the file again after the clock was set by `jump_secs` seconds.
    Restart {
        jump_secs: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..64_usize;
    prop_oneof![
        4 => (0..2_usize, 1..100_u64, any::<bool>(), proptest::option::of(0..2_u8), proptest::option::weighted(0.2, 0..2_u8))
            .prop_map(|(module, secs, hazardous, target, key)| Step::Submit { module, secs, hazardous, target, key }),
        4 => (0..2_usize, 1..4_u32).prop_map(|(module, limit)| Step::Claim { module, limit }),
        3 => (which.clone(), proptest::bool::weighted(0.2)).prop_map(|(which, stale)| Step::Start { which, stale }),
        3 => (which.clone(), proptest::bool::weighted(0.2), 0..4_u8)
            .prop_map(|(which, stale, outcome)| Step::Finish { which, stale, outcome }),
        1 => which.prop_map(|which| Step::Cancel { which }),
        3 => Just(Step::ApplyDeadlines),
        3 => (1..40_u64).prop_map(|secs| Step::Advance { secs }),
        1 => (-200..200_i64).prop_map(|jump_secs| Step::Restart { jump_secs }),
    ]
}

/// A command of the model. Times are in seconds.
#[derive(Debug, Clone)]
struct ModelCommand {
    id: CommandId,
    module: usize,
    lifetime: u64,
    target: Option<u8>,
    key: Option<u8>,
    state: CommandState,
    expires_at: u64,
    lease: Option<LeaseId>,
    lease_ends_at: u64,
    attempts: u32,
    started: bool,
    superseded_by: Option<CommandId>,
}

impl ModelCommand {
    fn is_unfinished(&self) -> bool {
        !self.state.is_final()
    }

    fn has_lease(&self, lease: &LeaseId) -> bool {
        self.state == CommandState::Leased && self.lease.as_ref() == Some(lease)
    }

    fn agrees_with(&self, stored: &Command) -> bool {
        let found = (stored.id.as_str(), stored.state, stored.attempts, &stored.superseded_by);
        let expected = (self.id.as_str(), self.state, self.attempts, &self.superseded_by);
        found == expected
            && stored.started_at.is_some() == self.started
            && stored.finished_at.is_some() == self.state.is_final()
    }
}

/// The store and the model, to which the same steps are applied.
struct Harness {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    now: u64,
    model: Vec<ModelCommand>,
    /// All leases that were given, by index of the command; most have ended.
    leases: Vec<(usize, LeaseId)>,
}

fn at(secs: u64) -> Now {
    let wall = Timestamp::from_micros(1_795_472_000_000_000).plus(Duration::from_secs(secs));
    Now { wall, steady: Steady(wall) }
}

fn module(index: usize) -> ModuleId {
    ModuleId::new(MODULES[index]).unwrap()
}

impl Harness {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(open(&folder.path().join("hub.db")).await.unwrap());
        // Not zero, so that the clock can be set back.
        let now = 100_000;
        for index in 0..MODULES.len() {
            store.touch(&[(module(index), at(now).wall)], at(now)).await.unwrap();
        }
        Self { folder, store, now, model: Vec::new(), leases: Vec::new() }
    }

    async fn apply(&mut self, step: &Step) {
        match *step {
            Step::Submit { module, secs, hazardous, target, key } => {
                self.submit(module, secs, hazardous, target, key).await;
            }
            Step::Claim { module, limit } => self.claim(module, limit).await,
            Step::Start { which, stale } => self.start(which, stale).await,
            Step::Finish { which, stale, outcome } => self.finish(which, stale, outcome).await,
            Step::Cancel { which } => self.cancel(which).await,
            Step::ApplyDeadlines => self.apply_deadlines().await,
            Step::Advance { secs } => self.now += secs,
            Step::Restart { jump_secs } => self.restart(jump_secs).await,
        }
    }

    async fn submit(&mut self, of: usize, secs: u64, hazardous: bool, target: Option<u8>, key: Option<u8>) {
        let id = CommandId::from(format!("c{}", self.model.len()));
        let new = CommandSubmission {
            id: id.clone(),
            module_id: module(of),
            command: NewCommand::new(ActionName::new("set").unwrap()),
            time_to_live: Duration::from_secs(secs),
            issued_by: UserName::new("anna").unwrap(),
            issuer: None,
            idempotency_key: key.map(|key| key.to_string()),
            hazardous,
            target: target.map(|target| target.to_string()),
            while_alive: None,
        };
        let result = self.store.submit(&new, MAX_WAITING as u64, at(self.now)).await;

        if let Some(first) = self.model.iter().find(|c| key.is_some() && c.key == key && c.module == of) {
            match result {
                Ok(submission) => {
                    assert!(
                        first.lifetime == secs
                            && !submission.is_new
                            && first.agrees_with(&submission.command)
                    );
                }
                Err(error) => assert!(first.lifetime != secs && matches!(error, StoreError::Conflict(_))),
            }
            return;
        }
        let superseded = |c: &ModelCommand| {
            target.is_some() && c.module == of && c.target == target && c.state == CommandState::Queued
        };
        let waiting =
            self.model.iter().filter(|c| c.module == of && c.is_unfinished() && !superseded(c)).count();
        if waiting >= MAX_WAITING {
            assert!(matches!(result, Err(StoreError::LimitReached { .. })), "{result:?}");
            return;
        }
        let submission = result.unwrap();
        let mut superseded_ids = Vec::new();
        for older in self.model.iter_mut().filter(|c| superseded(c)) {
            older.state = CommandState::Cancelled;
            older.superseded_by = Some(id.clone());
            superseded_ids.push(older.id.clone());
        }
        assert_eq!(submission.superseded.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), superseded_ids);
        let new = ModelCommand {
            id,
            module: of,
            lifetime: secs,
            target,
            key,
            state: CommandState::Queued,
            expires_at: self.now + secs,
            lease: None,
            lease_ends_at: 0,
            attempts: 0,
            started: false,
            superseded_by: None,
        };
        assert!(submission.is_new && new.agrees_with(&submission.command));
        self.model.push(new);
    }

    async fn claim(&mut self, of: usize, limit: u32) {
        let claimed = self.store.claim(&module(of), limit, TERMS, at(self.now)).await.unwrap();

        let busy = self.model.iter().any(|c| c.module == of && c.state == CommandState::Leased);
        let limit = if busy { 0 } else { limit as usize };
        let now = self.now;
        let due = self
            .model
            .iter_mut()
            .enumerate()
            .filter(|(_, c)| c.module == of && c.state == CommandState::Queued && c.expires_at > now)
            .take(limit);
        let mut claimed = claimed.iter();
        for (index, expected) in due {
            let leased = claimed.next().expect("the store leases every command that the model leases");
            expected.state = CommandState::Leased;
            expected.attempts += 1;
            expected.lease = Some(leased.lease.clone());
            expected.lease_ends_at = now + LEASE;
            assert!(expected.agrees_with(&leased.command), "{expected:?} {leased:?}");
            assert_eq!(leased.expires_in, (expected.expires_at - now) as f64);
            self.leases.push((index, leased.lease.clone()));
        }
        assert_eq!(claimed.next(), None);
    }

    /// A command and a lease to report with: a lease that was given, or with `stale` one that never was.
    fn pick(&self, which: usize, stale: bool) -> Option<(usize, LeaseId)> {
        if stale {
            let (index, _) = self.leases.get(which % self.leases.len().max(1))?;
            return Some((*index, "invalid".into()));
        }
        self.leases.iter().rev().nth(which % self.leases.len().max(1)).cloned()
    }

    async fn start(&mut self, which: usize, stale: bool) {
        let Some((index, lease)) = self.pick(which, stale) else { return };
        let now = self.now;
        let command = &mut self.model[index];
        let result = report(
            &self.store,
            command.module,
            &CommandReport::new(command.id.clone(), lease.clone(), CommandOutcome::Started),
            now,
        )
        .await;

        let has_lease = command.has_lease(&lease);
        let starts = has_lease && !command.started && command.lease_ends_at > now && command.expires_at > now;
        if starts {
            command.started = true;
            command.lease_ends_at = now + LEASE;
        }
        match result {
            Ok(stored) => assert!((starts || (has_lease && command.started)) && command.agrees_with(&stored)),
            Err(error) => {
                assert!(
                    !(starts || (has_lease && command.started)) && matches!(error, StoreError::Conflict(_))
                );
            }
        }
    }

    async fn finish(&mut self, which: usize, stale: bool, outcome: u8) {
        let Some((index, lease)) = self.pick(which, stale) else { return };
        let command = &mut self.model[index];
        let error = "no power".to_owned();
        let outcome = match outcome {
            0 => CommandOutcome::Succeeded { result: None },
            1 => CommandOutcome::Failed { error },
            2 => CommandOutcome::Rejected { error },
            _ => CommandOutcome::UnknownOutcome { error },
        };
        let state = outcome.state();
        let report = CommandReport::new(command.id.clone(), lease.clone(), outcome);
        let result = self::report(&self.store, command.module, &report, self.now).await;

        let is_repeated = command.lease.as_ref() == Some(&lease) && command.state == state;
        if command.has_lease(&lease) {
            command.state = state;
        } else if !is_repeated {
            assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
            return;
        }
        assert!(command.agrees_with(&result.unwrap()));
    }

    async fn cancel(&mut self, which: usize) {
        if self.model.is_empty() {
            return;
        }
        let index = which % self.model.len();
        let command = &mut self.model[index];
        let result = self.store.cancel(&command.id, at(self.now)).await;

        if command.state == CommandState::Queued {
            command.state = CommandState::Cancelled;
            assert!(command.agrees_with(&result.unwrap()));
        } else {
            assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
        }
    }

    async fn apply_deadlines(&mut self) {
        let changes = self.store.apply_deadlines(TERMS, at(self.now)).await.unwrap();

        let now = self.now;
        let mut changed = Vec::new();
        for command in &mut self.model {
            let state = match command.state {
                CommandState::Leased if command.lease_ends_at > now => continue,
                CommandState::Leased if command.started => CommandState::UnknownOutcome,
                CommandState::Leased if command.attempts >= TERMS.max_attempts => CommandState::Dead,
                CommandState::Leased if command.expires_at > now => CommandState::Queued,
                CommandState::Queued if command.expires_at > now => continue,
                CommandState::Leased | CommandState::Queued => CommandState::Expired,
                _ => continue,
            };
            command.state = state;
            command.lease = None;
            changed.push(command.id.clone());
        }
        assert_eq!(changes.changed.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), changed);
        let due =
            |c: &ModelCommand| if c.state == CommandState::Leased { c.lease_ends_at } else { c.expires_at };
        let next = self.model.iter().filter(|c| c.is_unfinished()).map(due).min();
        assert_eq!(changes.next, next.map(|secs| at(secs).steady));
    }

    async fn restart(&mut self, jump_secs: i64) {
        self.store.close().await.unwrap();
        self.now = self.now.saturating_add_signed(jump_secs);
        self.store = Arc::new(open(&self.folder.path().join("hub.db")).await.unwrap());
        self.store.clamp_deadlines(TERMS, at(self.now)).await.unwrap();

        for command in self.model.iter_mut().filter(|c| c.is_unfinished()) {
            command.expires_at = command.expires_at.min(self.now + command.lifetime);
            command.lease_ends_at = command.lease_ends_at.min(self.now + LEASE);
        }
    }

    /// Asserts that the store has the commands of the model, in the same order.
    async fn compare(&self) {
        for index in 0..MODULES.len() {
            let page = PageRequest { limit: 1000, cursor: None };
            let stored = self.store.commands(&module(index), &page).await.unwrap().items;
            let expected: Vec<_> = self.model.iter().filter(|c| c.module == index).collect();
            assert_eq!(stored.len(), expected.len());
            for (stored, expected) in stored.iter().rev().zip(expected) {
                assert!(expected.agrees_with(stored), "{expected:?}\n{stored:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn commands_behave_like_the_model(steps in proptest::collection::vec(step(), 1..80)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut harness = Harness::new().await;
            for step in &steps {
                harness.apply(step).await;
                harness.compare().await;
            }
        });
    }
}
