//! The triggers of all cameras.

use std::{collections::HashMap, sync::Arc};

use iotpi_core::{ModuleId, model::recording::RecordingTrigger};

use super::Camera;

/// The triggers of all cameras.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    /// By the module whose reading or command they match.
    by_module: HashMap<ModuleId, Vec<(Arc<Camera>, RecordingTrigger)>>,
    /// Whether the task that evaluates them runs.
    is_running: bool,
}

impl Triggers {
    /// Replaces the triggers of a camera. Returns whether the task must be started.
    pub(crate) fn replace(&mut self, camera: &Arc<Camera>, new: &[RecordingTrigger]) -> bool {
        self.remove(&camera.id);
        for trigger in new {
            let of_module = self.by_module.entry(trigger.module_id.clone()).or_default();
            of_module.push((Arc::clone(camera), trigger.clone()));
        }
        !self.by_module.is_empty() && !std::mem::replace(&mut self.is_running, true)
    }

    /// Removes the triggers of a camera.
    pub(crate) fn remove(&mut self, camera: &ModuleId) {
        for of_module in self.by_module.values_mut() {
            of_module.retain(|(other, _)| other.id != *camera);
        }
        self.by_module.retain(|_, of_module| !of_module.is_empty());
    }

    /// Whether there are no triggers; the task ends then.
    pub(crate) fn end_if_empty(&mut self) -> bool {
        self.is_running = !self.by_module.is_empty();
        !self.is_running
    }

    /// All triggers.
    pub(crate) fn all(&self) -> impl Iterator<Item = &RecordingTrigger> {
        self.by_module.values().flatten().map(|(_, trigger)| trigger)
    }

    /// Whether a camera has triggers on the module.
    pub(crate) fn has(&self, module_id: &ModuleId) -> bool {
        self.by_module.contains_key(module_id)
    }

    /// The cameras with a matching trigger on the module.
    pub(crate) fn matching(
        &self,
        module_id: &ModuleId,
        matches: impl Fn(&RecordingTrigger) -> bool,
    ) -> Vec<Arc<Camera>> {
        let of_module = self.by_module.get(module_id).into_iter().flatten();
        of_module.filter(|(_, trigger)| matches(trigger)).map(|(camera, _)| Arc::clone(camera)).collect()
    }
}
