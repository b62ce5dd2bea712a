//! Registering, describing and removing modules.

use std::collections::HashSet;

use iotpi_core::{
    Manifest, ModuleId,
    model::{
        event::Event,
        frame::MAX_FRAME_SIDE,
        manifest::{MAX_MANIFEST_ENTRIES, ModuleInfo},
        protocol::ProtocolVersion,
    },
};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    quotas::json_bytes,
    store::ModuleRecord,
};

impl Hub {
    /// Stores a module's manifest. Idempotent.
    ///
    /// # Errors
    /// `PermissionDenied`, `TooLarge`, `Unprocessable` (an action's `params` is not an accepted JSON Schema),
    /// `Unavailable` (the hub is too busy to check it), the store's.
    ///
    /// # Cancel safety
    /// Stored completely or not at all.
    pub async fn register(&self, caller: &Caller, id: &ModuleId, manifest: &Manifest) -> Result<ModuleInfo> {
        caller.may_register(id)?;
        self.check_registration(caller, id)?;
        check(manifest, self.config().limits.manifest_bytes)?;
        self.check_new_modules(caller, [id])?;
        self.inner.commands.checker.check_manifest(manifest).await?;
        let now = self.now();
        let record = self.inner.store.register(id, manifest, now).await?;
        if manifest.protocol != ProtocolVersion::CURRENT {
            let (protocol, own) = (manifest.protocol, ProtocolVersion::CURRENT);
            tracing::info!(module = %id, %protocol, %own, "the module uses another version of the protocol");
        }
        self.inner.commands.checker.forget(id);
        // A registration by an admin is not a contact with the module.
        if caller.module_id() == Some(id) {
            self.inner.presence.touch(id, now);
        } else if !self.inner.presence.knows(id) {
            self.inner.presence.restore(&record, now);
        }
        self.inner.presence.registered(id, manifest);
        self.changed(id);
        Ok(self.describe(record))
    }

    /// Removes a module with its series, commands, tokens and recordings.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound`, the store's.
    ///
    /// # Cancel safety
    /// Once started it runs to its end, even if cancelled.
    pub async fn remove_module(&self, caller: &Caller, id: &ModuleId) -> Result<()> {
        caller.may_administer()?;
        let (hub, id) = (self.clone(), id.clone());
        let removal = self.inner.tasks.spawn(async move { hub.remove(&id).await });
        removal.await.map_err(|error| HubError::internal("the removal broke off").caused_by(error))?
    }

    async fn remove(&self, id: &ModuleId) -> Result<()> {
        // Frames written after the index was deleted would be indexed at the next start.
        let ended = self.suspend_recording(id).await;
        let tokens = self.tokens_of(id).await?;
        self.inner.store.remove_module(id).await?;
        self.revoked_with_module(id, &tokens);
        ended.commit();
        self.inner.presence.forget(id);
        self.inner.frames.remove(id);
        self.inner.quotas.forget(id);
        self.inner.commands.forget(id);
        self.remove_recordings(id).await;
        self.changed(id);
        Ok(())
    }

    /// A stored module with its health.
    pub(crate) fn describe(&self, record: ModuleRecord) -> ModuleInfo {
        let (health, heard_at) = self.inner.presence.of(&record.id, self.now());
        let (state, state_at) = record.state.unzip();
        let mut info = ModuleInfo::new(record.id, record.registered_at);
        info.manifest = record.manifest;
        info.health = health;
        info.last_seen_at = heard_at.or(record.last_seen_at);
        (info.state, info.state_at) = (state, state_at);
        info.delivery = record.delivery;
        info
    }

    /// Marks a module as changed, so that an event is published.
    pub(crate) fn changed(&self, id: &ModuleId) {
        self.inner.presence.changed(id);
        self.inner.module_changed.notify_one();
    }

    /// Publishes an event with a module's current state. Only the one task that watches modules calls this,
    /// and it reads the module again, so that two simultaneous writes cannot be published in the wrong order.
    pub(crate) async fn publish_module(&self, id: &ModuleId) -> Result<()> {
        let event = match self.inner.store.module(id).await? {
            Some(record) => {
                let module = self.describe(record);
                self.inner.presence.mark_published(id, module.health);
                Event::Module { module }
            }
            None => {
                self.inner.presence.forget(id);
                Event::ModuleRemoved { module_id: id.clone() }
            }
        };
        self.events().publish(event);
        Ok(())
    }
}

fn check(manifest: &Manifest, max_bytes: u64) -> Result<()> {
    let entries = [("/measures", manifest.measures.len()), ("/actions", manifest.actions.len())];
    if let Some((list, count)) = entries.into_iter().find(|(_, count)| *count > MAX_MANIFEST_ENTRIES) {
        return Err(HubError::too_large(format!("{count} entries; {MAX_MANIFEST_ENTRIES} may be")).at(list));
    }
    let bytes = json_bytes(manifest);
    if bytes > max_bytes {
        return Err(HubError::too_large(format!(
            "this manifest has {bytes} bytes; a manifest has up to {max_bytes} (`limits.manifest_bytes`)"
        )));
    }
    for (field, text, max) in
        [("/version", &manifest.version, 64), ("/description", &manifest.description, 500)]
    {
        short_enough(text.as_deref(), max, field)?;
    }
    if manifest.protocol < ProtocolVersion::FIRST {
        return Err(HubError::invalid_argument("a protocol is 1 or more").at("/protocol"));
    }
    if manifest.heartbeat_secs.is_some_and(|secs| !(1.0..=3600.0).contains(&secs)) {
        return Err(HubError::invalid_argument("a heartbeat is 1 to 3,600 seconds").at("/heartbeat_secs"));
    }
    if let Some(camera) = &manifest.camera {
        let side = 1..=MAX_FRAME_SIDE;
        if !side.contains(&camera.width) || !side.contains(&camera.height) {
            return Err(HubError::invalid_argument("a camera has 1 to 8,192 pixels a side").at("/camera"));
        }
        if !(camera.fps > 0.0 && camera.fps <= 1000.0) {
            return Err(HubError::invalid_argument(
                "a camera aims at more than 0 and up to 1,000 frames a second",
            )
            .at("/camera/fps"));
        }
    }
    let mut measured = HashSet::new();
    for (i, measure) in manifest.measures.iter().enumerate() {
        if !measured.insert((&measure.kind, &measure.channel)) {
            let on = measure.channel.as_ref().map_or(String::new(), |channel| format!(" on `{channel}`"));
            return Err(HubError::unprocessable(format!(
                "`{}` is measured twice{on}; sensors of one type have a `channel` each",
                measure.kind
            ))
            .at(format!("/measures/{i}/type")));
        }
        if measure.every_secs.is_some_and(|secs| secs <= 0.0) {
            return Err(HubError::invalid_argument("a timing is more than 0 seconds")
                .at(format!("/measures/{i}/every_secs")));
        }
    }
    let mut named = HashSet::new();
    for (i, action) in manifest.actions.iter().enumerate() {
        let at = |field: &str| format!("/actions/{i}/{field}");
        if !named.insert(&action.name) {
            return Err(
                HubError::unprocessable(format!("there are two actions `{}`", action.name)).at(at("name"))
            );
        }
        short_enough(action.description.as_deref(), 500, &at("description"))?;
        if action.while_alive.is_some_and(|secs| !(1.0..=3600.0).contains(&secs)) {
            return Err(
                HubError::invalid_argument("`while_alive` is 1 to 3,600 seconds").at(at("while_alive"))
            );
        }
        if let Some(target) = &action.target {
            if !action.absolute {
                return Err(
                    HubError::unprocessable("only an `absolute` action has a `target`").at(at("target"))
                );
            }
            if !(1..=64).contains(&target.chars().count()) {
                return Err(HubError::invalid_argument("1 to 64 characters").at(at("target")));
            }
        }
    }
    Ok(())
}

fn short_enough(text: Option<&str>, max: usize, pointer: &str) -> Result<()> {
    if text.is_some_and(|text| text.chars().count() > max) {
        return Err(HubError::invalid_argument(format!("up to {max} characters")).at(pointer));
    }
    Ok(())
}
