//! The life of commands against a small model: whatever is done in whatever order, the store says what the model says.
//!
//! A failure prints the shortest sequence it was found with; `PROPTEST_RNG_SEED` reruns a whole run, `PROPTEST_CASES`
//! makes it longer.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    ActionName, Command, CommandOutcome, CommandReport, CommandState, ModuleId, NewCommand, Timestamp,
    UserName,
};
use proptest::prelude::*;

use super::open;
use crate::store::{CommandOrder, LeaseTerms, Now, PageRequest, Steady, Store, StoreError};

async fn report(
    store: &Arc<dyn Store>,
    id: usize,
    report: &CommandReport,
    now: u64,
) -> Result<Command, StoreError> {
    store
        .report(&module(id), None, Some(report), TERMS, at(now))
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
    /// `which` is counted round; `stale` shows the lease of an earlier claim, or none there ever was.
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
    Sweep,
    Advance {
        secs: u64,
    },
    /// The hub starts anew on the same file, its clock set by so many seconds meanwhile.
    Restart {
        jump: i64,
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
        3 => Just(Step::Sweep),
        3 => (1..40_u64).prop_map(|secs| Step::Advance { secs }),
        1 => (-200..200_i64).prop_map(|jump| Step::Restart { jump }),
    ]
}

/// A command as the model sees it. Times are seconds since the tests' beginning.
#[derive(Debug, Clone)]
struct Model {
    id: String,
    module: usize,
    secs: u64,
    target: Option<u8>,
    key: Option<u8>,
    state: CommandState,
    expires: u64,
    lease: Option<String>,
    lease_ends: u64,
    attempts: u32,
    started: bool,
    superseded_by: Option<String>,
}

impl Model {
    fn waits(&self) -> bool {
        !self.state.is_final()
    }

    fn holds(&self, lease: &str) -> bool {
        self.state == CommandState::Leased && self.lease.as_deref() == Some(lease)
    }

    fn agrees_with(&self, kept: &Command) -> bool {
        let said = (kept.id.as_str(), kept.state, kept.attempts, &kept.superseded_by);
        let expected = (self.id.as_str(), self.state, self.attempts, &self.superseded_by);
        said == expected
            && kept.started_at.is_some() == self.started
            && kept.finished_at.is_some() == self.state.is_final()
    }
}

/// Store and model side by side.
struct Pair {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    now: u64,
    all: Vec<Model>,
    /// Leases that were handed out and may be over.
    leases: Vec<(usize, String)>,
}

fn at(secs: u64) -> Now {
    let wall = Timestamp::from_micros(1_795_472_000_000_000).plus(Duration::from_secs(secs));
    Now { wall, steady: Steady(wall) }
}

fn module(index: usize) -> ModuleId {
    ModuleId::new(MODULES[index]).unwrap()
}

impl Pair {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(open(&folder.path().join("hub.db")).await.unwrap());
        // Far from the beginning, so that a clock may be set back.
        let now = 100_000;
        for index in 0..MODULES.len() {
            store.touch(&[(module(index), at(now).wall)], at(now)).await.unwrap();
        }
        Self { folder, store, now, all: Vec::new(), leases: Vec::new() }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Submit { module, secs, hazardous, target, key } => {
                self.submit(module, secs, hazardous, target, key).await;
            }
            Step::Claim { module, limit } => self.claim(module, limit).await,
            Step::Start { which, stale } => self.start(which, stale).await,
            Step::Finish { which, stale, outcome } => self.finish(which, stale, outcome).await,
            Step::Cancel { which } => self.cancel(which).await,
            Step::Sweep => self.sweep().await,
            Step::Advance { secs } => self.now += secs,
            Step::Restart { jump } => self.restart(jump).await,
        }
    }

    async fn submit(&mut self, of: usize, secs: u64, hazardous: bool, target: Option<u8>, key: Option<u8>) {
        let id = format!("c{}", self.all.len());
        let order = CommandOrder {
            id: id.clone(),
            module_id: module(of),
            command: NewCommand::new(ActionName::new("set").unwrap(), serde_json::Map::new()),
            time_to_live: Duration::from_secs(secs),
            issued_by: UserName::new("anna").unwrap(),
            issuer: None,
            idempotency_key: key.map(|key| key.to_string()),
            hazardous,
            target: target.map(|target| target.to_string()),
            while_alive: None,
        };
        let answer = self.store.submit(&order, MAX_WAITING as u64, at(self.now)).await;

        if let Some(first) = self.all.iter().find(|c| key.is_some() && c.key == key && c.module == of) {
            match answer {
                Ok(submission) => {
                    assert!(
                        first.secs == secs && !submission.is_new && first.agrees_with(&submission.command)
                    );
                }
                Err(error) => assert!(first.secs != secs && matches!(error, StoreError::Conflict(_))),
            }
            return;
        }
        let superseded = |c: &Model| {
            target.is_some() && c.module == of && c.target == target && c.state == CommandState::Queued
        };
        let waiting = self.all.iter().filter(|c| c.module == of && c.waits() && !superseded(c)).count();
        if waiting >= MAX_WAITING {
            assert!(matches!(answer, Err(StoreError::LimitReached { .. })), "{answer:?}");
            return;
        }
        let submission = answer.unwrap();
        let mut gone = Vec::new();
        for older in self.all.iter_mut().filter(|c| superseded(c)) {
            older.state = CommandState::Cancelled;
            older.superseded_by = Some(id.clone());
            gone.push(older.id.clone());
        }
        assert_eq!(submission.superseded.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), gone);
        let new = Model {
            id,
            module: of,
            secs,
            target,
            key,
            state: CommandState::Queued,
            expires: self.now + secs,
            lease: None,
            lease_ends: 0,
            attempts: 0,
            started: false,
            superseded_by: None,
        };
        assert!(submission.is_new && new.agrees_with(&submission.command));
        self.all.push(new);
    }

    async fn claim(&mut self, of: usize, limit: u32) {
        let claimed = self.store.claim(&module(of), limit, TERMS, at(self.now)).await.unwrap();

        let busy = self.all.iter().any(|c| c.module == of && c.state == CommandState::Leased);
        let limit = if busy { 0 } else { limit as usize };
        let now = self.now;
        let due = self
            .all
            .iter_mut()
            .enumerate()
            .filter(|(_, c)| c.module == of && c.state == CommandState::Queued && c.expires > now)
            .take(limit);
        let mut handed_over = claimed.iter();
        for (index, expected) in due {
            let leased = handed_over.next().expect("the store hands over what the model does");
            expected.state = CommandState::Leased;
            expected.attempts += 1;
            expected.lease = Some(leased.lease.clone());
            expected.lease_ends = now + LEASE;
            assert!(expected.agrees_with(&leased.command), "{expected:?} {leased:?}");
            assert_eq!(leased.expires_in, (expected.expires - now) as f64);
            self.leases.push((index, leased.lease.clone()));
        }
        assert_eq!(handed_over.next(), None);
    }

    /// A command and a lease to say something under: that of a claim there was, or one nobody gave.
    fn pick(&self, which: usize, stale: bool) -> Option<(usize, String)> {
        if stale {
            let (index, _) = self.leases.get(which % self.leases.len().max(1))?;
            return Some((*index, "nobody's".to_owned()));
        }
        self.leases.iter().rev().nth(which % self.leases.len().max(1)).cloned()
    }

    async fn start(&mut self, which: usize, stale: bool) {
        let Some((index, lease)) = self.pick(which, stale) else { return };
        let now = self.now;
        let command = &mut self.all[index];
        let answer = report(
            &self.store,
            command.module,
            &CommandReport { id: command.id.clone(), lease: lease.clone(), outcome: CommandOutcome::Started },
            now,
        )
        .await;

        let holds = command.holds(&lease);
        let begins = holds && !command.started && command.lease_ends > now && command.expires > now;
        if begins {
            command.started = true;
            command.lease_ends = now + LEASE;
        }
        match answer {
            Ok(kept) => assert!((begins || (holds && command.started)) && command.agrees_with(&kept)),
            Err(error) => {
                assert!(!(begins || (holds && command.started)) && matches!(error, StoreError::Conflict(_)));
            }
        }
    }

    async fn finish(&mut self, which: usize, stale: bool, outcome: u8) {
        let Some((index, lease)) = self.pick(which, stale) else { return };
        let command = &mut self.all[index];
        let error = "no power".to_owned();
        let outcome = match outcome {
            0 => CommandOutcome::Succeeded { result: None },
            1 => CommandOutcome::Failed { error },
            2 => CommandOutcome::Rejected { error },
            _ => CommandOutcome::UnknownOutcome { error },
        };
        let state = outcome.state();
        let report = CommandReport { id: command.id.clone(), lease: lease.clone(), outcome };
        let answer = self::report(&self.store, command.module, &report, self.now).await;

        let again = command.lease.as_deref() == Some(&lease) && command.state == state;
        if command.holds(&lease) {
            command.state = state;
        } else if !again {
            assert!(matches!(answer, Err(StoreError::Conflict(_))), "{answer:?}");
            return;
        }
        assert!(command.agrees_with(&answer.unwrap()));
    }

    async fn cancel(&mut self, which: usize) {
        if self.all.is_empty() {
            return;
        }
        let index = which % self.all.len();
        let command = &mut self.all[index];
        let answer = self.store.cancel(&command.id, at(self.now)).await;

        if command.state == CommandState::Queued {
            command.state = CommandState::Cancelled;
            assert!(command.agrees_with(&answer.unwrap()));
        } else {
            assert!(matches!(answer, Err(StoreError::Conflict(_))), "{answer:?}");
        }
    }

    async fn sweep(&mut self) {
        let swept = self.store.sweep_commands(TERMS, at(self.now)).await.unwrap();

        let now = self.now;
        let mut changed = Vec::new();
        for command in &mut self.all {
            let state = match command.state {
                CommandState::Leased if command.lease_ends > now => continue,
                CommandState::Leased if command.started => CommandState::UnknownOutcome,
                CommandState::Leased if command.attempts >= TERMS.max_attempts => CommandState::Dead,
                CommandState::Leased if command.expires > now => CommandState::Queued,
                CommandState::Queued if command.expires > now => continue,
                CommandState::Leased | CommandState::Queued => CommandState::Expired,
                _ => continue,
            };
            command.state = state;
            command.lease = None;
            changed.push(command.id.clone());
        }
        assert_eq!(swept.changed.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), changed);
        let due = |c: &Model| if c.state == CommandState::Leased { c.lease_ends } else { c.expires };
        let next = self.all.iter().filter(|c| c.waits()).map(due).min();
        assert_eq!(swept.next, next.map(|secs| at(secs).steady));
    }

    async fn restart(&mut self, jump: i64) {
        self.store.close().await.unwrap();
        self.now = self.now.saturating_add_signed(jump);
        self.store = Arc::new(open(&self.folder.path().join("hub.db")).await.unwrap());
        self.store.clamp_deadlines(TERMS, at(self.now)).await.unwrap();

        for command in self.all.iter_mut().filter(|c| c.waits()) {
            command.expires = command.expires.min(self.now + command.secs);
            command.lease_ends = command.lease_ends.min(self.now + LEASE);
        }
    }

    /// The store keeps what the model does, in its order.
    async fn compare(&self) {
        for index in 0..MODULES.len() {
            let page = PageRequest { limit: 1000, cursor: None };
            let kept = self.store.commands(&module(index), &page).await.unwrap().items;
            let expected: Vec<_> = self.all.iter().filter(|c| c.module == index).collect();
            assert_eq!(kept.len(), expected.len());
            for (kept, expected) in kept.iter().rev().zip(expected) {
                assert!(expected.agrees_with(kept), "{expected:?}\n{kept:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn commands_behave_like_the_model(steps in proptest::collection::vec(step(), 1..80)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut pair = Pair::new().await;
            for step in &steps {
                pair.take(step).await;
                pair.compare().await;
            }
        });
    }
}
