//! Whose tokens were shown a moment ago, so that a camera's frames do not each ask the database.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use crate::{
    auth::Caller,
    lock::lock,
    store::{SecretHash, Steady},
};

/// So long a token that was good is good. One revoked by another program than the hub ends within this time; one revoked
/// through the hub at once.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// When there are so many the old ones go.
const MANY: usize = 1024;

/// Callers by the hash of what they showed.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<SecretHash, (Caller, Steady)>>);

impl Known {
    /// The caller, if it showed this a moment ago.
    pub(crate) fn get(&self, secret: &SecretHash, now: Steady) -> Option<Caller> {
        lock(&self.0).get(secret).filter(|(_, at)| is_good(*at, now)).map(|(caller, _)| caller.clone())
    }

    pub(crate) fn keep(&self, secret: SecretHash, caller: &Caller, now: Steady) {
        let mut all = lock(&self.0);
        if all.len() >= MANY {
            all.retain(|_, (_, at)| is_good(*at, now));
        }
        if all.len() < MANY {
            all.insert(secret, (caller.clone(), now));
        }
    }

    /// Some token was revoked.
    pub(crate) fn forget(&self) {
        lock(&self.0).clear();
    }
}

fn is_good(at: Steady, now: Steady) -> bool {
    now.0.since(at.0) < GOOD_FOR
}

#[cfg(test)]
mod tests {
    use iotpi_core::{Timestamp, UserName};

    use super::*;
    use crate::auth::Role;

    #[test]
    fn a_token_is_known_for_a_second_and_not_after_one_was_revoked() {
        let known = Known::default();
        let at = |ms: u64| Steady(Timestamp::MIN.plus(Duration::from_millis(ms)));
        let caller = Caller::known(UserName::new("anna").unwrap(), Role::Operator, None);
        assert_eq!(known.get(&[1; 32], at(0)), None);

        known.keep([1; 32], &caller, at(0));

        assert_eq!(known.get(&[1; 32], at(999)), Some(caller.clone()));
        assert_eq!(known.get(&[2; 32], at(0)), None);
        assert_eq!(known.get(&[1; 32], at(1000)), None);
        known.keep([1; 32], &caller, at(1000));
        known.forget();
        assert_eq!(known.get(&[1; 32], at(1000)), None);
    }

    #[test]
    fn who_shows_very_many_tokens_fills_no_memory() {
        let known = Known::default();
        let caller = Caller::known(UserName::new("anna").unwrap(), Role::Operator, None);

        for i in 0..5000_u32 {
            let mut secret = [0; 32];
            secret[..4].copy_from_slice(&i.to_be_bytes());
            known.keep(secret, &caller, Steady(Timestamp::MIN.plus(Duration::from_millis(u64::from(i)))));
        }

        assert!(lock(&known.0).len() <= MANY);
    }
}
