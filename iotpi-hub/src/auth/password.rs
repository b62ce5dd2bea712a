//! Passwords: argon2id, a few at a time.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, PasswordHash, Salt},
};
use tokio::sync::{OnceCell, Semaphore};

use crate::error::{HubError, Result};

/// The parameters OWASP recommends (Password Storage Cheat Sheet): 19 MiB, two passes, one lane. About 0.15 s on a Pi 4.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Argon2's memory is reserved as a piece of more than 32 MiB, of which only what is used is ever touched. glibc gives
/// pieces of that size back when they are freed; smaller ones it keeps, 19 MiB for each thread that ever hashed
/// (`M_MMAP_THRESHOLD` in mallopt(3); measured: 18 MB resident became 150 MB by 17 logins, now it stays).
const RESERVED_KIB: usize = 33 * 1024;

/// So many logins wait for their turn at most: with 0.15 s each, the last one waits 5 s.
const MAX_WAITING: usize = 32;
/// After how long one that was sent away may come back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Characters a password may have.
pub(crate) const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// Hashes and checks passwords, one at a time: each takes 19 MiB, and a Pi has other things to do.
#[derive(Debug)]
pub(crate) struct Passwords {
    turn: Arc<Semaphore>,
    /// Room for those that wait and the one whose turn it is.
    waiting: Arc<Semaphore>,
    /// The hash of a password nobody has, so that an unknown user costs the same time as a wrong password.
    nobody: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING + 1)),
            nobody: OnceCell::new(),
        }
    }
}

impl Passwords {
    /// The hash to keep of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        if !LENGTH.contains(&password.chars().count()) {
            return Err(HubError::invalid_argument("A password needs 8 to 256 characters.").at("/password"));
        }
        self.in_turn(move || {
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

    /// Whether it is the password of that hash; without one, takes as long to say no.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        let nobody = self.nobody.get_or_try_init(|| self.hash("nobody has this one".to_owned())).await?;
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| nobody.clone());
        let right = self
            .in_turn(move || {
                let kept = PasswordHash::new(&hash).map_err(failed)?;
                let params = Params::try_from(&kept).map_err(failed)?;
                let (Some(salt), Some(output)) = (kept.salt, kept.hash) else {
                    return Err(failed("the kept hash is not whole"));
                };
                // Outputs are compared in constant time.
                Ok(compute(password.as_bytes(), &salt, params)? == output)
            })
            .await?;
        Ok(right && known)
    }

    /// Works on a password when its turn comes. The turn belongs to the work and not to its caller, who may hang up: work that has
    /// begun goes on to its end, and the next begins after it.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| {
            HubError::unavailable("too many logins at once; try again in a few seconds")
                .retry_after(RETRY_AFTER)
        })?;
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(|error| HubError::internal("no turn").caused_by(error))?;
        let work = move || {
            let done = work();
            drop((turn, place));
            done
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| HubError::internal("the password could not be checked").caused_by(error))?
    }
}

fn compute(password: &[u8], salt: &[u8], params: Params) -> Result<Output> {
    let blocks = params.block_count();
    let mut memory = Vec::new();
    // Anybody may log in: without memory for it the login fails, and not the hub.
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
    async fn only_the_right_password_of_somebody_is_right() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();

        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("nobody has this one".to_owned(), None).await.unwrap());
        // Made by the reference implementation (argon2-cffi), salt `somesaltsomesalt`.
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
    async fn work_that_nobody_waits_for_any_more_keeps_its_turn() {
        let passwords = Passwords::default();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        let hung_up = passwords.in_turn(move || {
            let _ = begun.send(());
            let _ = goes_on.recv();
            Ok(())
        });

        tokio::select! {
            _ = hung_up => panic!("it waits"),
            _ = begins => {}
        }
        assert_eq!(passwords.turn.available_permits(), 0, "the work goes on, and so does its turn");
        go_on.send(()).unwrap();

        passwords.in_turn(|| Ok(())).await.unwrap();
        assert_eq!(passwords.waiting.available_permits(), MAX_WAITING + 1);
    }

    #[tokio::test]
    async fn a_bounded_number_of_logins_waits() {
        let passwords = Passwords::default();
        let turn = Arc::clone(&passwords.turn).acquire_owned().await.unwrap();

        let mut waiting: Vec<_> = (0..=MAX_WAITING).map(|_| Box::pin(passwords.in_turn(|| Ok(())))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        let refused = passwords.in_turn(|| Ok(())).await.unwrap_err();

        assert_eq!(refused.kind(), iotpi_core::ErrorKind::Unavailable);
        drop(turn);
        futures_util::future::join_all(waiting).await;
        passwords.in_turn(|| Ok(())).await.unwrap();
    }
}
