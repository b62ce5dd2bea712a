//! The contacts of modules: recorded, saved, and published when they change a module's health.

use std::{collections::BTreeSet, time::Duration};

use iotpi_core::ModuleId;

use crate::{Hub, auth::Caller, error::Result, ticks::Ticks};

/// The interval at which the last contacts of modules are saved.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// The number of modules in one such write, which takes a few milliseconds.
const SAVE_STEP: usize = 250;
/// The interval of the check for modules that became silent.
const CHECK_EVERY: Duration = Duration::from_secs(1);

impl Hub {
    /// Records a contact with the module, and creates it if it was unknown.
    pub(crate) async fn touch_module(&self, caller: &Caller, id: &ModuleId) -> Result<()> {
        let now = self.now();
        let new = !self.inner.presence.knows(id);
        if new {
            self.check_new_modules(caller, [id])?;
            self.inner.store.touch(&[(id.clone(), now.wall)], now).await?;
        }
        if self.inner.presence.touch(id, now) {
            self.inner.module_changed.notify_one();
        }
        Ok(())
    }

    /// Records a contact with the module, if it is known.
    pub(crate) fn touch_known_module(&self, id: &ModuleId) {
        if self.inner.presence.knows(id) && self.inner.presence.touch(id, self.now()) {
            self.inner.module_changed.notify_one();
        }
    }

    /// The background task that publishes changes and silence of modules, and saves their last contacts.
    pub(super) async fn watch_modules(self) {
        let mut save = Ticks::new(SAVE_EVERY, self.stopping());
        let mut check = Ticks::new(CHECK_EVERY, self.stopping());
        loop {
            tokio::select! {
                biased;
                () = self.stopping().cancelled() => break,
                _ = save.next() => self.save_state().await,
                _ = check.next() => {
                    self.detect_clock_step();
                    self.detect_lost_cameras();
                    self.publish_modules(self.inner.presence.take_unpublished(self.now())).await;
                }
                // Only the changed ones: checking every module after each report would grow quadratically.
                () = self.inner.module_changed.notified() => {
                    self.publish_modules(self.inner.presence.take_changed()).await;
                }
            }
        }
        // Requests in progress may still add contacts; those are lost at the next start.
        self.save_state().await;
    }

    async fn save_state(&self) {
        self.save_presence().await;
        self.save_clock().await;
        self.save_credential_time().await;
    }

    async fn publish_modules(&self, ids: BTreeSet<ModuleId>) {
        for id in ids {
            if let Err(error) = self.publish_module(&id).await {
                tracing::warn!(module = %id, error = &error as &dyn std::error::Error, "a change could not be published");
                // Retried at the next check.
                self.inner.presence.changed(&id);
            }
        }
    }

    async fn save_presence(&self) {
        // In steps, so that no other write waits long, however many modules there are.
        for step in self.inner.presence.unsaved().chunks(SAVE_STEP) {
            if let Err(error) = self.inner.store.touch(step, self.now()).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "last_seen could not be saved");
            }
        }
    }
}
