//! Several modules under one id: a device that measures and runs actions.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    model::manifest::Manifest,
    module::{Module, ModuleError},
    uplink::Uplink,
};

/// Runs several parts as one module, whose manifest combines theirs. If one part fails, all are stopped.
///
/// At most one part may run commands: two would claim each other's.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::{CompositeModule, Module, Quantity, SensorModule, measure};
///
/// let every = |secs| Duration::from_secs(secs);
/// let supply = measure(Quantity::Temperature, async || Ok(61.5));
/// let light = measure(Quantity::Illuminance, async || Ok(250.0));
/// let module = CompositeModule::new()
///     .with(SensorModule::new(supply, every(60)))
///     .with(SensorModule::new(light, every(1)));
/// assert_eq!(module.manifest().measures.len(), 2);
/// ```
#[derive(Default)]
pub struct CompositeModule {
    parts: Vec<Box<dyn Module>>,
}

impl std::fmt::Debug for CompositeModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompositeModule").field("parts", &self.parts.len()).finish()
    }
}

impl CompositeModule {
    /// Creates a module without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, part: impl Module + 'static) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    fn check(&self) -> Result<(), ModuleError> {
        let obeying = self.parts.iter().filter(|part| !part.manifest().actions.is_empty()).count();
        if obeying > 1 {
            return Err(ModuleError::Other(format!("{obeying} parts of the module take commands; one may")));
        }
        Ok(())
    }
}

#[async_trait]
impl Module for CompositeModule {
    fn manifest(&self) -> Manifest {
        self.parts.iter().map(|part| part.manifest()).fold(Manifest::default(), Manifest::and)
    }

    async fn run(self: Box<Self>, up: Arc<dyn Uplink>, stop: CancellationToken) -> Result<(), ModuleError> {
        self.check()?;
        let mut running = JoinSet::new();
        for part in self.parts {
            running.spawn(part.run(up.clone(), stop.clone()));
        }
        let mut first_error = None;
        while let Some(ended) = running.join_next().await {
            let error = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(panicked) => ModuleError::Other(format!("a part of the module ended: {panicked}")),
            };
            // The other parts can put their devices into the safe state.
            stop.cancel();
            first_error.get_or_insert(error);
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn run_once(self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        self.check()?;
        let mut first_error = None;
        for part in self.parts {
            if let Err(error) = part.run_once(up.clone()).await {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}
