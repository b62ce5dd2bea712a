//! What is done to a store while things go wrong: several modules at once, each one thing after the other.
//!
//! The same seed does the same again, operation by operation. The store's writer groups what waits, and what
//! waits is usually chance; here the disk is held while one write is under way, what goes together is handed
//! in, and only then the disk is let go. What this cannot govern: threads of the engine that write on their
//! own.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use iotpi_core::{
    ActionName, Command, CommandOutcome, CommandReport, CommandState, LeasedCommand, Manifest, ModuleId,
    NewCommand, Reading, Sample, SeqNo, UserName,
};
use iotpi_hub::store::{CommandOrder, Now, Result, Store, StoreError};
use serde_json::{Map, Value, json};
use tokio::task::unconstrained;

use super::{
    disk::Disk,
    ledger::{Batch, Fate, Known, Ledger, PLUG, QUANTITIES, TERMS, Tracked, report_on_command},
};
use crate::support::seeded_random::SeededRandom;

/// Series are not what is limited here.
const MANY: u64 = 1000;

/// One thing a module does.
#[derive(Debug, Clone)]
pub enum Deed {
    Record {
        readings: Vec<Reading>,
        plain: bool,
    },
    /// What was acknowledged before, numbered.
    RecordAgain(Vec<Reading>),
    Submit(CommandOrder),
    Claim(u32),
    Finish(CommandReport),
    /// With a lease that is over: must be refused.
    FinishLate(CommandReport),
    Cancel(String),
    Register(Manifest),
    State(Map<String, Value>),
}

/// What the store said.
#[derive(Debug)]
enum Said {
    Done,
    Command(Box<Command>),
    Claimed(Vec<LeasedCommand>),
}

/// Which deeds there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Everything,
    Readings,
    Commands,
}

/// Whether numbered readings are sent again, those that were acknowledged and those nobody knows of: a store
/// keeps a number once. [`numbered`] gives it.
pub const SENDS_AGAIN: bool = true;

/// Gives a reading its number. The one place that knows how.
fn numbered(reading: Reading, seq: u64) -> Reading {
    Reading { number: Some(SeqNo { epoch: 1, seq }), ..reading }
}

fn order(id: &ModuleId, count: u64) -> CommandOrder {
    let params = json!({"level": count}).as_object().cloned().unwrap();
    CommandOrder {
        id: uuid::Uuid::from_u128(u128::from(count)).to_string(),
        module_id: id.clone(),
        command: NewCommand::new(ActionName::new("set").unwrap(), params),
        time_to_live: Duration::from_secs(86_400),
        issued_by: UserName::new("operator").unwrap(),
        hazardous: false,
        issuer: None,
        idempotency_key: None,
        target: None,
        while_alive: None,
    }
}

impl Ledger {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn batch(&mut self, of: usize, random: &mut SeededRandom) -> Deed {
        let size = if random.one_in(8) { 20 + random.below(60) } else { 1 + random.below(5) };
        let (now, plain) = (self.now(), random.one_in(3));
        let mut readings = Vec::new();
        for _ in 0..size {
            let value = self.next();
            let known = &mut self.modules[of];
            let sample = Sample::new(QUANTITIES[random.index(QUANTITIES.len())].clone(), value as f64);
            // Some come late.
            let taken_at = now.wall.minus(Duration::from_millis(random.below(7_200_000)));
            let reading = Reading::new(known.id.clone(), sample, taken_at);
            readings.push(if plain {
                reading
            } else {
                known.seq += 1;
                numbered(reading, known.seq)
            });
        }
        Deed::Record { readings, plain }
    }

    /// Sends again what nobody answered, and some of what was: it is there once afterwards.
    pub async fn send_again(&mut self, store: &dyn Store) {
        let now = self.now();
        for batch in self.modules.iter_mut().flat_map(|known| known.batches.iter_mut().rev().take(3)) {
            if SENDS_AGAIN && !batch.plain {
                store.record(batch.readings.clone(), MANY, now).await.unwrap();
                batch.fate = Fate::Acknowledged;
            }
        }
    }

    /// What a module does next; nothing, when what it might do makes no sense now.
    fn choose(&mut self, of: usize, kind: Kind, random: &mut SeededRandom) -> Option<Deed> {
        let known = &self.modules[of];
        let in_state = |state| {
            let is = move |tracked: &&Tracked| tracked.state() == Some(state);
            known.commands.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        let registered = !known.manifests.contains(&None);
        let what = match kind {
            Kind::Everything => random.below(14),
            Kind::Readings => 0,
            Kind::Commands => 5 + random.below(9),
        };
        match what {
            0 if SENDS_AGAIN && random.one_in(3) => {
                let known = known.batches.iter().filter(|b| !b.plain && b.fate == Fate::Acknowledged);
                Some(Deed::RecordAgain(random.pick(&known.collect::<Vec<_>>())?.readings.clone()))
            }
            0..5 => Some(self.batch(of, random)),
            5 | 6 if registered => {
                let id = known.id.clone();
                let count = self.next();
                Some(Deed::Submit(order(&id, count)))
            }
            7 | 8 if registered => Some(Deed::Claim(1 + u32::try_from(random.below(3)).unwrap())),
            9 | 10 => {
                let leased = in_state(CommandState::Leased);
                let tracked = random.pick(&leased)?;
                Some(Deed::Finish(report(tracked, tracked.lease.clone()?, random.one_in(3))))
            }
            11 => {
                let leased = in_state(CommandState::Leased);
                let tracked = random.pick(&leased)?;
                Some(Deed::FinishLate(report(tracked, tracked.old_leases.last().cloned()?, false)))
            }
            12 => {
                let queued = in_state(CommandState::Queued);
                Some(Deed::Cancel(random.pick(&queued)?.id.clone()))
            }
            _ if random.one_in(2) || !registered => {
                let count = self.next();
                Some(Deed::Register(Manifest {
                    version: Some(format!("{count}")),
                    heartbeat_secs: Some(10.0),
                    ..Manifest::default()
                }))
            }
            _ => {
                let count = self.next();
                Some(Deed::State(json!({"level": count}).as_object().cloned().unwrap()))
            }
        }
    }

    /// It is sent: what it would change may have changed from now on.
    fn sent(&mut self, of: usize, deed: &Deed) {
        let known = &mut self.modules[of];
        match deed {
            Deed::Record { readings, plain } => {
                known.batches.push(Batch { readings: readings.clone(), plain: *plain, fate: Fate::Unknown });
            }
            Deed::RecordAgain(_) => {}
            Deed::Submit(order) => known.commands.push(Tracked {
                id: order.id.clone(),
                states: vec![None, Some(CommandState::Queued)],
                lease: None,
                old_leases: Vec::new(),
            }),
            Deed::Claim(_) => {
                for tracked in &mut known.commands {
                    if tracked.states.contains(&Some(CommandState::Queued)) {
                        tracked.may_be(CommandState::Leased);
                    }
                }
            }
            Deed::Finish(report) => known.tracked(&report.id).may_be(report.outcome.state()),
            Deed::FinishLate(_) => {}
            Deed::Cancel(id) => known.tracked(id).may_be(CommandState::Cancelled),
            Deed::Register(manifest) => known.manifests.push(Some(manifest.clone())),
            Deed::State(state) => known.states.push(Some(state.clone())),
        }
    }

    /// It is answered.
    fn answered(&mut self, of: usize, deed: Deed, answer: Result<Said>, fault: bool) {
        let known = &mut self.modules[of];
        let said = match answer {
            Err(StoreError::Conflict(_)) if matches!(deed, Deed::FinishLate(_)) => return,
            Err(StoreError::Engine { .. } | StoreError::Full(_) | StoreError::Closed) if fault => return,
            Err(error) => panic!("{deed:?} was answered with {error:?}"),
            Ok(said) => said,
        };
        match (deed, said) {
            (Deed::Record { readings, .. }, _) => {
                let batch = known.batches.iter_mut().rev().find(|batch| batch.readings == readings).unwrap();
                batch.fate = Fate::Acknowledged;
            }
            (Deed::RecordAgain(_), _) => {}
            (Deed::FinishLate(report), _) => panic!("a lease that is over was taken: {report:?}"),
            (Deed::Claim(_), Said::Claimed(leased)) => {
                // It is known now which were claimed, and that the others were not.
                for tracked in &mut known.commands {
                    if tracked.states.len() == 2 && tracked.states[0] == Some(CommandState::Queued) {
                        tracked.states.truncate(1);
                    }
                }
                for LeasedCommand { command, lease, .. } in leased {
                    let tracked = known.tracked(&command.id);
                    tracked.is(CommandState::Leased);
                    tracked.lease = Some(lease);
                }
            }
            (_, Said::Command(command)) => known.tracked(&command.id).is(command.state),
            (Deed::Register(manifest), _) => known.manifests = vec![Some(manifest)],
            (Deed::State(state), _) => known.states = vec![Some(state)],
            (deed, said) => panic!("{deed:?} was answered with {said:?}"),
        }
    }

    /// Several modules do something at once. `fault` says that the store may fail.
    pub async fn round(
        &mut self,
        store: &dyn Store,
        disk: &Disk,
        kind: Kind,
        random: &mut SeededRandom,
        fault: bool,
    ) {
        self.secs += 1;
        if kind != Kind::Readings && random.one_in(8) {
            return self.sweep(store, fault).await;
        }
        let mut deeds = Vec::new();
        for of in 0..self.modules.len() {
            if let Some(deed) = self.choose(of, kind, random) {
                self.sent(of, &deed);
                deeds.push((of, deed));
            }
        }
        let now = self.now();
        for (of, deed, answer) in at_once(store, disk, deeds, now).await {
            self.answered(of, deed, answer, fault);
        }
    }

    /// Leases run out.
    async fn sweep(&mut self, store: &dyn Store, fault: bool) {
        self.secs += 31;
        let leased = |tracked: &&mut Tracked| tracked.states.contains(&Some(CommandState::Leased));
        self.modules
            .iter_mut()
            .flat_map(|known| &mut known.commands)
            .filter(leased)
            .for_each(|tracked| tracked.may_be(CommandState::Queued));
        match store.sweep_commands(TERMS, self.now()).await {
            Ok(_) => {
                let commands = self.modules.iter_mut().flat_map(|known| &mut known.commands);
                for tracked in commands.filter(leased) {
                    // A claim nobody answered is over now, whether it came to be or not.
                    let queued = tracked
                        .states
                        .iter()
                        .all(|state| matches!(state, Some(CommandState::Leased | CommandState::Queued)));
                    if queued {
                        tracked.is(CommandState::Queued);
                    }
                }
            }
            Err(error) => assert!(fault, "{error:?}"),
        }
    }
}

impl Known {
    fn tracked(&mut self, id: &str) -> &mut Tracked {
        self.commands.iter_mut().find(|tracked| tracked.id == id).unwrap()
    }
}

fn report(tracked: &Tracked, lease: String, failed: bool) -> CommandReport {
    let outcome = if failed {
        CommandOutcome::Failed { error: "it is stuck".to_owned() }
    } else {
        CommandOutcome::Succeeded { result: Some(json!({"done": true})) }
    };
    CommandReport { id: tracked.id.clone(), lease, outcome }
}

async fn perform(store: &dyn Store, module: &ModuleId, deed: &Deed, now: Now) -> Result<Said> {
    let command = |command| Said::Command(Box::new(command));
    match deed {
        Deed::Record { readings, .. } | Deed::RecordAgain(readings) => {
            store.record(readings.clone(), MANY, now).await.map(|_| Said::Done)
        }
        Deed::Submit(order) => {
            store.submit(order, MANY, now).await.map(|submitted| command(submitted.command))
        }
        Deed::Claim(limit) => store.claim(module, *limit, TERMS, now).await.map(Said::Claimed),
        Deed::Finish(report) | Deed::FinishLate(report) => {
            report_on_command(store, module, report, now).await.map(command)
        }
        Deed::Cancel(id) => store.cancel(id, now).await.map(command),
        Deed::Register(manifest) => store.register(module, manifest, now).await.map(|_| Said::Done),
        Deed::State(state) => store.report(module, Some(state), None, TERMS, now).await.map(|_| Said::Done),
    }
}

/// Hands everything in while the writer is busy with something else, so that it is one group whatever the
/// threads do.
async fn at_once(
    store: &dyn Store,
    disk: &Disk,
    deeds: Vec<(usize, Deed)>,
    now: Now,
) -> Vec<(usize, Deed, Result<Said>)> {
    let ids: Vec<ModuleId> = (0..4).map(|n| ModuleId::new(format!("m{n}")).unwrap()).collect();
    let seen = [(ModuleId::new(PLUG).unwrap(), now.wall)];
    disk.hold();
    let mut plug = pin!(store.touch(&seen, now));
    let mut plugged = poll_once(plug.as_mut()).await;
    let until = Instant::now() + Duration::from_secs(30);
    while plugged.is_pending() && !disk.somebody_waits(Duration::from_millis(2)) {
        assert!(Instant::now() < until, "a write came neither to the disk nor to an end: {disk:?}");
        plugged = poll_once(plug.as_mut()).await;
    }
    let mut all = join_all(deeds.iter().map(|(of, deed)| perform(store, &ids[*of], deed, now)));
    let first = poll_once(Pin::new(&mut all)).await;
    disk.release();
    if plugged.is_pending() {
        let _ = plug.await;
    }
    let answers = match first {
        Poll::Ready(answers) => answers,
        Poll::Pending => (&mut all).await,
    };
    drop(all);
    deeds.into_iter().zip(answers).map(|((of, deed), answer)| (of, deed, answer)).collect()
}

/// Lets a future begin, or look whether it is done. Not told to wait by tokio's budget: nothing is awaited in
/// between.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    unconstrained(poll_fn(|context| Poll::Ready(future.as_mut().poll(context)))).await
}
