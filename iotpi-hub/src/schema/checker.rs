//! Compiles schemas and checks parameters, on threads of their own.
//!
//! A computing thread cannot be stopped, so its work is bounded beforehand ([`Budget`](super::Budget),
//! [`MAX_STEPS`](super::MAX_STEPS)). The deadline is for a machine that is busy with other work.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use iotpi_core::{ActionName, Manifest, ModuleId};
use serde_json::{Map, Value};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{ParamsSchema, check_actions};
use crate::{
    error::{HubError, Result},
    lock::lock,
};

/// The maximum time that a request waits for a check.
const DEADLINE: Duration = Duration::from_secs(2);
/// The time after which a request that waited in vain should be retried.
const COME_BACK: Duration = Duration::from_secs(5);
/// The number of commands checked at the same time. Manifests are checked one after another, so that they
/// delay no command.
const CHECKS_AT_ONCE: usize = 2;
/// The maximum [`weight`] of the compiled schemas that are kept: at most 16 MiB of memory.
const MAX_KEPT: u64 = 32_768;

/// Checks manifests and the parameters of commands, and keeps the compiled schemas.
#[derive(Debug)]
pub(crate) struct Checker {
    manifests: Arc<Semaphore>,
    commands: Arc<Semaphore>,
    kept: Mutex<CompiledSchemas>,
}

#[derive(Debug, Default)]
struct CompiledSchemas {
    schemas: HashMap<(ModuleId, ActionName), CacheEntry>,
    weight: u64,
    uses: u64,
}

#[derive(Debug)]
struct CacheEntry {
    source: Map<String, Value>,
    schema: Arc<ParamsSchema>,
    used: u64,
}

impl Default for Checker {
    fn default() -> Self {
        Self {
            manifests: Arc::new(Semaphore::new(1)),
            commands: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            kept: Mutex::default(),
        }
    }
}

impl Checker {
    /// Checks the schemas of a manifest.
    ///
    /// # Errors
    /// As [`check_actions`]; `Unavailable` after the deadline.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn check_manifest(&self, manifest: &Manifest) -> Result<()> {
        if manifest.actions.is_empty() {
            return Ok(());
        }
        let manifest = manifest.clone();
        in_time(&self.manifests, move || check_actions(&manifest)).await
    }

    /// Checks a command's parameters against the schema of its action.
    ///
    /// # Errors
    /// As [`ParamsSchema::check`]; `Unprocessable` when the schema was stored by an earlier version of the
    /// hub and exceeds a limit; `Unavailable` after the deadline.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn check_params(
        self: &Arc<Self>,
        module: &ModuleId,
        action: &ActionName,
        source: &Map<String, Value>,
        params: &Map<String, Value>,
    ) -> Result<()> {
        let kept = lock(&self.kept).get(module, action, source);
        let (checker, key) = (Arc::clone(self), (module.clone(), action.clone()));
        let (source, params) = (kept.is_none().then(|| source.clone()), params.clone());
        in_time(&self.commands, move || {
            let schema = match (kept, source) {
                (Some(schema), _) => schema,
                (None, source) => checker.compile(key, source.unwrap_or_default())?,
            };
            schema.check(&params)
        })
        .await
    }

    fn compile(&self, key: (ModuleId, ActionName), source: Map<String, Value>) -> Result<Arc<ParamsSchema>> {
        let schema = ParamsSchema::compile(&source).map_err(|error| {
            let place = error.pointer().unwrap_or_default();
            HubError::unprocessable(format!(
                "The schema that module `{}` registered for `{}` is not accepted (at `{place}`: {error}). The module has to \
                 register again with another one.",
                key.0, key.1
            ))
            .at("/action")
        })?;
        let schema = Arc::new(schema);
        lock(&self.kept).put(key, source, Arc::clone(&schema));
        Ok(schema)
    }

    /// Removes the schemas of a module.
    pub(crate) fn forget(&self, module: &ModuleId) {
        lock(&self.kept).remove_where(|(id, _)| id == module);
    }
}

impl CompiledSchemas {
    fn get(
        &mut self,
        module: &ModuleId,
        action: &ActionName,
        source: &Map<String, Value>,
    ) -> Option<Arc<ParamsSchema>> {
        self.uses += 1;
        let entry = self.schemas.get_mut(&(module.clone(), action.clone()))?;
        entry.used = self.uses;
        (entry.source == *source).then(|| Arc::clone(&entry.schema))
    }

    fn put(&mut self, key: (ModuleId, ActionName), source: Map<String, Value>, schema: Arc<ParamsSchema>) {
        self.remove_where(|other| *other == key);
        self.uses += 1;
        self.weight += weight(&schema);
        self.schemas.insert(key, CacheEntry { source, schema, used: self.uses });
        while self.weight > MAX_KEPT {
            let oldest = self.schemas.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            self.remove_where(|key| *key == oldest);
        }
    }

    fn remove_where(&mut self, gone: impl Fn(&(ModuleId, ActionName)) -> bool) {
        let weight = &mut self.weight;
        self.schemas.retain(|key, entry| {
            let keep = !gone(key);
            if !keep {
                *weight -= self::weight(&entry.schema);
            }
            keep
        });
    }
}

/// The weight of a compiled schema in the cache.
fn weight(schema: &ParamsSchema) -> u64 {
    let cost = schema.cost();
    32 + cost.checks + cost.states + schema.bytes() / 32
}

/// Runs `work` on a blocking thread, with a permit.
async fn in_time<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = async {
        let permit = Arc::clone(permits).acquire_owned().await;
        let permit = permit.map_err(|error| HubError::internal("no check is possible").caused_by(error))?;
        // The permit is released when the work ends, even if no request waits for it any more.
        let work = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        work.await?
    };
    match tokio::time::timeout(DEADLINE, done).await {
        Ok(done) => done,
        Err(_) => Err(HubError::unavailable(format!(
            "Checking against the schema took longer than {} s, because the hub is busy. Try again.",
            DEADLINE.as_secs()
        ))
        .retry_after(COME_BACK)),
    }
}
