//! Passwords: argon2id, a few at a time.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::{OnceCell, Semaphore};

use crate::error::{HubError, Result};

/// The parameters OWASP recommends (Password Storage Cheat Sheet): 19 MiB, two passes, one lane. About 0.15 s on a Pi 4.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Characters a password may have.
pub(crate) const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// Hashes and checks passwords, one at a time: each takes 19 MiB, and a Pi has other things to do.
#[derive(Debug)]
pub(crate) struct Passwords {
    turn: Semaphore,
    /// The hash of a password nobody has, so that an unknown user costs the same time as a wrong password.
    nobody: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), nobody: OnceCell::new() }
    }
}

impl Passwords {
    /// The hash to keep of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        if !LENGTH.contains(&password.chars().count()) {
            return Err(HubError::invalid_argument("a password has 8 to 256 characters").at("/password"));
        }
        self.in_turn(move || {
            let hash: PasswordHash = argon2()?.hash_password(password.as_bytes()).map_err(failed)?;
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
                let hash = PasswordHash::new(&hash).map_err(failed)?;
                Ok(argon2()?.verify_password(password.as_bytes(), &hash).is_ok())
            })
            .await?;
        Ok(right && known)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.turn.acquire().await.map_err(|e| HubError::internal("no turn").caused_by(e))?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| HubError::internal("the password could not be checked").caused_by(error))?
    }
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| {
        HubError::internal("the password parameters are wrong").caused_by(error.to_string())
    })?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
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
    }

    #[tokio::test]
    async fn a_password_has_8_to_256_characters() {
        let passwords = Passwords::default();

        for password in ["seven77".to_owned(), "x".repeat(257)] {
            assert!(passwords.hash(password).await.is_err());
        }
    }
}
