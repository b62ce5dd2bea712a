//! Password hashing with argon2id, one at a time.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, PasswordHash, Salt},
};
use tokio::sync::{OnceCell, Semaphore};

use crate::error::{HubError, Result};

/// The parameters OWASP recommends (Password Storage Cheat Sheet): 19 MiB, two passes, one lane. About 0.15 s
/// on a Pi 4.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The memory for argon2 is allocated as one block of more than 32 MiB, of which only the used part is
/// touched. glibc returns blocks of that size to the system when they are freed, but keeps smaller ones, 19
/// MiB for each thread that hashed (`M_MMAP_THRESHOLD` in mallopt(3); measured: 18 MB resident became 150 MB
/// by 17 logins, now it stays).
const RESERVED_KIB: usize = 33 * 1024;

/// The most logins that wait. At 0.15 s each, the last one waits 5 s.
const MAX_WAITING: usize = 32;
/// The `Retry-After` of a rejected login.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The allowed length of a password, in characters.
pub(crate) const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// Hashes and verifies passwords, one at a time, because each takes 19 MiB and a core of the Pi.
#[derive(Debug)]
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    /// One permit for each waiting login and for the running one.
    waiting: Arc<Semaphore>,
    /// The hash of a random password, so that an unknown user takes the same time as a wrong password.
    dummy_hash: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING + 1)),
            dummy_hash: OnceCell::new(),
        }
    }
}

impl Passwords {
    /// Hashes a new password for storage.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        if !LENGTH.contains(&password.chars().count()) {
            return Err(HubError::invalid_argument("A password has 8 to 256 characters.").at("/password"));
        }
        self.run_exclusively(move || {
            let salt = Salt::new(&super::random()?[..16]).map_err(failed)?;
            let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
            let hash = PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                hash: Some(compute(password.as_bytes(), &salt, params.clone())?),
                salt: Some(salt),
                params: params.try_into().map_err(failed)?,
            };
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether the password matches the hash. Without a hash, returns false after the same time.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        let dummy_hash =
            self.dummy_hash.get_or_try_init(|| self.hash("not the password of any user".to_owned())).await?;
        let has_hash = hash.is_some();
        let hash = hash.unwrap_or_else(|| dummy_hash.clone());
        let right = self
            .run_exclusively(move || {
                let stored = PasswordHash::new(&hash).map_err(failed)?;
                let params = Params::try_from(&stored).map_err(failed)?;
                let (Some(salt), Some(output)) = (stored.salt, stored.hash) else {
                    return Err(failed("the stored hash is incomplete"));
                };
                // Outputs are compared in constant time.
                Ok(compute(password.as_bytes(), &salt, params)? == output)
            })
            .await?;
        Ok(right && has_hash)
    }

    /// Runs the work once the semaphore is free. The permit belongs to the work and not to its caller, who
    /// may disconnect: work that has started runs to its end before the next starts.
    async fn run_exclusively<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| {
            HubError::unavailable("Too many logins at once. Try again in a few seconds.")
                .retry_after(RETRY_AFTER)
        })?;
        let permit = Arc::clone(&self.running).acquire_owned().await;
        let permit =
            permit.map_err(|error| HubError::internal("the semaphore is closed").caused_by(error))?;
        let work = move || {
            let done = work();
            drop((permit, waiting));
            done
        };
        tokio::task::spawn_blocking(work).await?
    }
}

fn compute(password: &[u8], salt: &[u8], params: Params) -> Result<Output> {
    let blocks = params.block_count();
    let mut memory = Vec::new();
    // Any client can attempt a login: if the memory is missing, the login fails, and not the hub.
    memory.try_reserve_exact(blocks.max(RESERVED_KIB)).map_err(|error| {
        HubError::unavailable("there is not enough memory to check a password; try again later")
            .retry_after(RETRY_AFTER)
            .caused_by(error)
    })?;
    memory.resize(blocks, Block::new());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, &mut output, &mut memory)
        .map_err(failed)?;
    Output::new(&output).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> HubError {
    HubError::internal("the password could not be checked").caused_by(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_of_an_existing_user_matches() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();

        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("not the password of any user".to_owned(), None).await.unwrap());
        // Computed by the reference implementation (argon2-cffi), salt `somesaltsomesalt`.
        let reference = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JV+9ZxztmHFTdb7J0WQsnj2V8bZaqyPptE";
        assert!(passwords.verify("password".to_owned(), Some(reference.to_owned())).await.unwrap());
    }

    #[tokio::test]
    async fn a_password_has_8_to_256_characters() {
        let passwords = Passwords::default();

        for password in ["seven77".to_owned(), "x".repeat(257)] {
            assert!(passwords.hash(password).await.is_err());
        }
    }

    #[tokio::test]
    async fn abandoned_work_keeps_its_permit() {
        let passwords = Passwords::default();
        let (started_tx, started) = tokio::sync::oneshot::channel();
        let (resume_tx, resume) = std::sync::mpsc::channel::<()>();
        let abandoned = passwords.run_exclusively(move || {
            let _ = started_tx.send(());
            let _ = resume.recv();
            Ok(())
        });

        tokio::select! {
            _ = abandoned => panic!("it waits"),
            _ = started => {}
        }
        assert_eq!(passwords.running.available_permits(), 0, "the work continues and keeps its permit");
        resume_tx.send(()).unwrap();

        passwords.run_exclusively(|| Ok(())).await.unwrap();
        // The thread of the abandoned work returns its second permit just after the first.
        let all = passwords.waiting.acquire_many(u32::try_from(MAX_WAITING + 1).unwrap());
        let all = tokio::time::timeout(Duration::from_secs(30), all).await;
        assert!(all.is_ok(), "a permit was lost");
    }

    #[tokio::test]
    async fn a_bounded_number_of_logins_waits() {
        let passwords = Passwords::default();
        let permit = Arc::clone(&passwords.running).acquire_owned().await.unwrap();

        let mut waiting: Vec<_> =
            (0..=MAX_WAITING).map(|_| Box::pin(passwords.run_exclusively(|| Ok(())))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        let refused = passwords.run_exclusively(|| Ok(())).await.unwrap_err();

        assert_eq!(refused.kind(), iotpi_core::model::error::ErrorKind::Unavailable);
        drop(permit);
        futures_util::future::join_all(waiting).await;
        passwords.run_exclusively(|| Ok(())).await.unwrap();
    }
}
