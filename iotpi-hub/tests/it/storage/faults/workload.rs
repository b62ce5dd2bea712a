//! The workload of a store on a faulty disk: several modules make concurrent calls, each one call at a time.
//!
//! The same seed causes the same disk operations in the same order. The writer of the store commits all
//! queued calls in one group, and which calls are queued usually depends on timing. Here the disk is blocked
//! during one write while the calls of a group are queued. Threads of the engine that write by themselves are
//! not controlled.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use iotpi_core::{
    ActionName, Manifest, ModuleId, NewCommand, Reading, Sample,
    model::{
        command::{Command, CommandId, CommandOutcome, CommandReport, CommandState, LeaseId, LeasedCommand},
        id::UserName,
        reading::SeqNo,
    },
};
use iotpi_hub::store::{CommandSubmission, Now, Result, Store, StoreError};
use serde_json::{Map, Value, json};
use tokio::task::unconstrained;

use super::{
    disk::Disk,
    ledger::{
        BUSY_MODULE, Batch, Expectation, Ledger, ModuleLedger, QUANTITIES, TERMS, TrackedCommand,
        report_on_command,
    },
};
use crate::support::{seeded_random::SeededRandom, wait::bounded};

/// A limit that is never reached.
const NO_LIMIT: u64 = 1000;

/// A call of a module.
#[derive(Debug, Clone)]
pub enum Call {
    Record {
        readings: Vec<Reading>,
        plain: bool,
    },
    /// Numbered readings that were acknowledged before.
    RecordAgain(Vec<Reading>),
    Submit(CommandSubmission),
    Claim(u32),
    Finish(CommandReport),
    /// A report with an ended lease, which must be refused.
    FinishLate(CommandReport),
    Cancel(CommandId),
    Register(Manifest),
    State(Map<String, Value>),
}

/// The result of a call.
#[derive(Debug)]
enum Response {
    Done,
    Command(Box<Command>),
    Claimed(Vec<LeasedCommand>),
}

/// The calls of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Everything,
    Readings,
    Commands,
}

/// Whether numbered readings are sent again, acknowledged or not: a store stores each number once.
/// [`numbered`] sets it.
pub const SENDS_AGAIN: bool = true;

/// Sets the sequence number of a reading. The only function that does.
fn numbered(reading: Reading, seq: u64) -> Reading {
    reading.with_number(SeqNo { epoch: 1, seq })
}

fn command_order(id: &ModuleId, count: u64) -> CommandSubmission {
    CommandSubmission {
        id: uuid::Uuid::from_u128(u128::from(count)).to_string().into(),
        module_id: id.clone(),
        command: NewCommand::new(ActionName::new("set").unwrap())
            .with_params(json!({"level": count}))
            .unwrap(),
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

    fn batch(&mut self, index: usize, random: &mut SeededRandom) -> Call {
        let size = if random.one_in(8) { 20 + random.below(60) } else { 1 + random.below(5) };
        let (now, plain) = (self.now(), random.one_in(3));
        let mut readings = Vec::new();
        for _ in 0..size {
            let value = self.next();
            let module_ledger = &mut self.modules[index];
            let sample = Sample::new(QUANTITIES[random.index(QUANTITIES.len())].clone(), value as f64);
            // Some readings arrive late.
            let taken_at = now.wall.minus(Duration::from_millis(random.below(7_200_000)));
            let reading = Reading::new(module_ledger.id.clone(), sample, taken_at);
            readings.push(if plain {
                reading
            } else {
                module_ledger.seq += 1;
                numbered(reading, module_ledger.seq)
            });
        }
        Call::Record { readings, plain }
    }

    /// Sends the latest batches again, acknowledged or not: each is stored once afterwards.
    pub async fn send_again(&mut self, store: &dyn Store) {
        let now = self.now();
        for batch in
            self.modules.iter_mut().flat_map(|module_ledger| module_ledger.batches.iter_mut().rev().take(3))
        {
            if SENDS_AGAIN && !batch.plain {
                store.record(batch.readings.clone(), NO_LIMIT, now).await.unwrap();
                batch.expected = Expectation::Acknowledged;
            }
        }
    }

    /// The next call of a module; `None` if the chosen call is not possible now.
    fn choose(&mut self, index: usize, kind: Kind, random: &mut SeededRandom) -> Option<Call> {
        let module_ledger = &self.modules[index];
        let in_state = |state| {
            let is = move |tracked: &&TrackedCommand| tracked.state() == Some(state);
            module_ledger.commands.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        let registered = !module_ledger.manifests.contains(&None);
        let choice = match kind {
            Kind::Everything => random.below(14),
            Kind::Readings => 0,
            Kind::Commands => 5 + random.below(9),
        };
        match choice {
            0 if SENDS_AGAIN && random.one_in(3) => {
                let is_repeatable =
                    |batch: &&Batch| !batch.plain && batch.expected == Expectation::Acknowledged;
                let batches: Vec<_> = module_ledger.batches.iter().filter(is_repeatable).collect();
                Some(Call::RecordAgain(random.pick(&batches)?.readings.clone()))
            }
            0..5 => Some(self.batch(index, random)),
            5 | 6 if registered => {
                let id = module_ledger.id.clone();
                let count = self.next();
                Some(Call::Submit(command_order(&id, count)))
            }
            7 | 8 if registered => Some(Call::Claim(1 + u32::try_from(random.below(3)).unwrap())),
            9 | 10 => {
                let leased = in_state(CommandState::Leased);
                let tracked = random.pick(&leased)?;
                Some(Call::Finish(report(tracked, tracked.lease.clone()?, random.one_in(3))))
            }
            11 => {
                let leased = in_state(CommandState::Leased);
                let tracked = random.pick(&leased)?;
                Some(Call::FinishLate(report(tracked, tracked.old_leases.last().cloned()?, false)))
            }
            12 => {
                let queued = in_state(CommandState::Queued);
                Some(Call::Cancel(random.pick(&queued)?.id.clone()))
            }
            _ if random.one_in(2) || !registered => {
                let count = self.next();
                let manifest = Manifest::new().with_version(count.to_string());
                Some(Call::Register(manifest.with_heartbeat(Duration::from_secs(10))))
            }
            _ => {
                let count = self.next();
                Some(Call::State(json!({"level": count}).as_object().cloned().unwrap()))
            }
        }
    }

    /// Records that a call is made: from now on its change may be stored.
    fn record_call(&mut self, index: usize, call: &Call) {
        let module_ledger = &mut self.modules[index];
        match call {
            Call::Record { readings, plain } => {
                module_ledger.batches.push(Batch {
                    readings: readings.clone(),
                    plain: *plain,
                    expected: Expectation::Unknown,
                });
            }
            Call::RecordAgain(_) => {}
            Call::Submit(order) => module_ledger.commands.push(TrackedCommand {
                id: order.id.clone(),
                states: vec![None, Some(CommandState::Queued)],
                lease: None,
                old_leases: Vec::new(),
            }),
            Call::Claim(_) => {
                for tracked in &mut module_ledger.commands {
                    if tracked.states.contains(&Some(CommandState::Queued)) {
                        tracked.may_be(CommandState::Leased);
                    }
                }
            }
            Call::Finish(report) => module_ledger.tracked(report.id.as_str()).may_be(report.outcome.state()),
            Call::FinishLate(_) => {}
            Call::Cancel(id) => module_ledger.tracked(id.as_str()).may_be(CommandState::Cancelled),
            Call::Register(manifest) => module_ledger.manifests.push(Some(manifest.clone())),
            Call::State(state) => module_ledger.states.push(Some(state.clone())),
        }
    }

    /// Records the result of a call.
    fn record_result(&mut self, index: usize, call: Call, result: Result<Response>, fault: bool) {
        let module_ledger = &mut self.modules[index];
        let response = match result {
            Err(StoreError::Conflict(_)) if matches!(call, Call::FinishLate(_)) => return,
            Err(StoreError::Engine { .. } | StoreError::Full(_) | StoreError::Closed) if fault => return,
            Err(error) => panic!("{call:?} failed: {error:?}"),
            Ok(response) => response,
        };
        match (call, response) {
            (Call::Record { readings, .. }, _) => {
                let batch =
                    module_ledger.batches.iter_mut().rev().find(|batch| batch.readings == readings).unwrap();
                batch.expected = Expectation::Acknowledged;
            }
            (Call::RecordAgain(_), _) => {}
            (Call::FinishLate(report), _) => panic!("an ended lease was accepted: {report:?}"),
            (Call::Claim(_), Response::Claimed(leased)) => {
                // The commands that are not in the response were not claimed.
                for tracked in &mut module_ledger.commands {
                    if tracked.states.len() == 2 && tracked.states[0] == Some(CommandState::Queued) {
                        tracked.states.truncate(1);
                    }
                }
                for LeasedCommand { command, lease, .. } in leased {
                    let tracked = module_ledger.tracked(command.id.as_str());
                    tracked.set_state(CommandState::Leased);
                    tracked.lease = Some(lease);
                }
            }
            (_, Response::Command(command)) => {
                module_ledger.tracked(command.id.as_str()).set_state(command.state)
            }
            (Call::Register(manifest), _) => module_ledger.manifests = vec![Some(manifest)],
            (Call::State(state), _) => module_ledger.states = vec![Some(state)],
            (call, response) => panic!("{call:?} returned {response:?}"),
        }
    }

    /// One concurrent call of each module. `fault`: the store may fail.
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
            return self.expire_leases(store, fault).await;
        }
        let mut calls = Vec::new();
        for index in 0..self.modules.len() {
            if let Some(call) = self.choose(index, kind, random) {
                self.record_call(index, &call);
                calls.push((index, call));
            }
        }
        let now = self.now();
        for (index, call, result) in make_concurrent_calls(store, disk, calls, now).await {
            self.record_result(index, call, result, fault);
        }
    }

    /// Lets all leases end.
    async fn expire_leases(&mut self, store: &dyn Store, fault: bool) {
        self.secs += 31;
        let leased = |tracked: &&mut TrackedCommand| tracked.states.contains(&Some(CommandState::Leased));
        self.modules
            .iter_mut()
            .flat_map(|module_ledger| &mut module_ledger.commands)
            .filter(leased)
            .for_each(|tracked| tracked.may_be(CommandState::Queued));
        match store.apply_deadlines(TERMS, self.now()).await {
            Ok(_) => {
                let commands = self.modules.iter_mut().flat_map(|module_ledger| &mut module_ledger.commands);
                for tracked in commands.filter(leased) {
                    // A claim without a result has ended now, whether it was stored or not.
                    let queued = tracked
                        .states
                        .iter()
                        .all(|state| matches!(state, Some(CommandState::Leased | CommandState::Queued)));
                    if queued {
                        tracked.set_state(CommandState::Queued);
                    }
                }
            }
            Err(error) => assert!(fault, "{error:?}"),
        }
    }
}

impl ModuleLedger {
    fn tracked(&mut self, id: &str) -> &mut TrackedCommand {
        self.commands.iter_mut().find(|tracked| tracked.id == id).unwrap()
    }
}

fn report(tracked: &TrackedCommand, lease: LeaseId, failed: bool) -> CommandReport {
    let outcome = if failed {
        CommandOutcome::Failed { error: "stuck".to_owned() }
    } else {
        CommandOutcome::Succeeded { result: Some(json!({"done": true})) }
    };
    CommandReport::new(tracked.id.clone(), lease, outcome)
}

async fn perform(store: &dyn Store, module: &ModuleId, call: &Call, now: Now) -> Result<Response> {
    let command = |command| Response::Command(Box::new(command));
    match call {
        Call::Record { readings, .. } | Call::RecordAgain(readings) => {
            store.record(readings.clone(), NO_LIMIT, now).await.map(|_| Response::Done)
        }
        Call::Submit(order) => {
            store.submit(order, NO_LIMIT, now).await.map(|submitted| command(submitted.command))
        }
        Call::Claim(limit) => store.claim(module, *limit, TERMS, now).await.map(Response::Claimed),
        Call::Finish(report) | Call::FinishLate(report) => {
            report_on_command(store, module, report, now).await.map(command)
        }
        Call::Cancel(id) => store.cancel(id, now).await.map(command),
        Call::Register(manifest) => store.register(module, manifest, now).await.map(|_| Response::Done),
        Call::State(state) => {
            store.report(module, Some(state), None, TERMS, now).await.map(|_| Response::Done)
        }
    }
}

/// Makes calls while the writer is busy with another write, so that they are one group whatever the threads
/// do.
async fn make_concurrent_calls(
    store: &dyn Store,
    disk: &Disk,
    calls: Vec<(usize, Call)>,
    now: Now,
) -> Vec<(usize, Call, Result<Response>)> {
    let ids: Vec<ModuleId> = (0..4).map(|n| ModuleId::new(format!("m{n}")).unwrap()).collect();
    let seen = [(ModuleId::new(BUSY_MODULE).unwrap(), now.wall)];
    disk.block();
    let mut busy_write = pin!(store.touch(&seen, now));
    let mut busy_poll = poll_once(busy_write.as_mut()).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while busy_poll.is_pending() && !disk.wait_for_blocked(Duration::from_millis(2)) {
        assert!(Instant::now() < deadline, "a write neither reached the disk nor ended: {disk:?}");
        busy_poll = poll_once(busy_write.as_mut()).await;
    }
    let mut results = join_all(calls.iter().map(|(index, call)| perform(store, &ids[*index], call, now)));
    let first = poll_once(Pin::new(&mut results)).await;
    disk.release();
    if busy_poll.is_pending() {
        let _ = bounded("the end of the write that keeps the writer busy", busy_write).await;
    }
    let outcomes = match first {
        Poll::Ready(outcomes) => outcomes,
        Poll::Pending => bounded("the end of concurrent calls", &mut results).await,
    };
    drop(results);
    calls.into_iter().zip(outcomes).map(|((index, call), result)| (index, call, result)).collect()
}

/// Polls a future once, without the cooperative budget of tokio, which might return `Pending`.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    unconstrained(poll_fn(|context| Poll::Ready(future.as_mut().poll(context)))).await
}
