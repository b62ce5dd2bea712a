//! People, sessions, tokens, secrets.

use std::{sync::Arc, time::Duration};

use iotpi_core::{Timestamp, UserName};

use super::{after, all, module, page, start};
use crate::{
    auth::Role,
    store::{Steady, Store, StoreError, TokenRecord, UserRecord},
};

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn anna() -> UserRecord {
    UserRecord { name: name("anna"), role: Role::Admin, password_hash: "$argon2id$v=19$...".to_owned() }
}

/// A token of that name, also its id.
pub(super) fn token(text: &str, of: Option<&str>) -> TokenRecord {
    TokenRecord {
        id: format!("id-{text}"),
        name: name(text),
        role: if of.is_some() { Role::Module } else { Role::Viewer },
        module_id: of.map(module),
        created_at: start(),
        last_used_at: None,
    }
}

fn in_secs(secs: u64) -> Steady {
    after(secs).steady
}

pub async fn only_one_user_is_the_first(store: Arc<dyn Store>) {
    assert!(!store.has_users().await.unwrap());
    assert_eq!(store.user(&name("anna")).await.unwrap(), None);

    store.add_first_user(&anna(), after(0)).await.unwrap();
    let second = store.add_first_user(&UserRecord { name: name("bert"), ..anna() }, after(1)).await;

    assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
    assert!(store.has_users().await.unwrap());
    assert_eq!(store.user(&name("anna")).await.unwrap(), Some(anna()));
    assert_eq!(store.user(&name("bert")).await.unwrap(), None);
}

pub async fn a_session_lasts_until_it_ends(store: Arc<dyn Store>) {
    store.add_first_user(&anna(), after(0)).await.unwrap();
    store.open_session(&[1; 32], &name("anna"), in_secs(60), after(0)).await.unwrap();

    assert_eq!(store.session(&[1; 32], after(59)).await.unwrap(), Some(anna()));
    assert_eq!(store.session(&[1; 32], after(60)).await.unwrap(), None);
    assert_eq!(store.session(&[2; 32], after(0)).await.unwrap(), None);

    // Only steady time counts.
    let mut jumped = after(59);
    jumped.wall = Timestamp::END;
    assert_eq!(store.session(&[1; 32], jumped).await.unwrap(), Some(anna()));
}

pub async fn a_session_can_be_ended_early(store: Arc<dyn Store>) {
    store.add_first_user(&anna(), after(0)).await.unwrap();
    store.open_session(&[1; 32], &name("anna"), in_secs(60), after(0)).await.unwrap();
    store.open_session(&[2; 32], &name("anna"), in_secs(60), after(0)).await.unwrap();

    store.end_session(&[1; 32]).await.unwrap();
    store.end_session(&[1; 32]).await.unwrap();

    assert_eq!(store.session(&[1; 32], after(1)).await.unwrap(), None);
    assert_eq!(store.session(&[2; 32], after(1)).await.unwrap(), Some(anna()));
}

pub async fn a_session_needs_a_user(store: Arc<dyn Store>) {
    let answer = store.open_session(&[1; 32], &name("nobody"), in_secs(60), after(0)).await;

    assert!(matches!(answer, Err(StoreError::NotFound(_))), "{answer:?}");
}

pub async fn a_token_is_found_by_its_secret(store: Arc<dyn Store>) {
    let (script, lamp) = (token("script", None), token("lamp", Some("led")));
    // The module may register later.
    store.add_token(&[1; 32], &script).await.unwrap();
    store.add_token(&[2; 32], &TokenRecord { last_used_at: Some(start()), ..lamp.clone() }).await.unwrap();

    assert_eq!(store.token(&[1; 32]).await.unwrap(), Some(script));
    assert_eq!(store.token(&[2; 32]).await.unwrap(), Some(lamp));
    assert_eq!(store.token(&[3; 32]).await.unwrap(), None);
}

pub async fn token_names_are_taken_once(store: Arc<dyn Store>) {
    store.add_token(&[1; 32], &token("script", None)).await.unwrap();

    let second = TokenRecord { id: "another".to_owned(), ..token("script", None) };
    let answer = store.add_token(&[2; 32], &second).await;

    assert!(matches!(answer, Err(StoreError::Conflict(_))), "{answer:?}");
    assert_eq!(store.token(&[2; 32]).await.unwrap(), None);
}

pub async fn a_tokens_use_is_kept_to_the_hour(store: Arc<dyn Store>) {
    store.add_token(&[1; 32], &token("script", None)).await.unwrap();

    store.touch_token("id-script", after(0)).await.unwrap();
    store.touch_token("nobodys", after(0)).await.unwrap();

    let used = store.token(&[1; 32]).await.unwrap().unwrap().last_used_at.unwrap();
    assert_eq!(used.as_micros() % 3_600_000_000, 0);
    assert!(used <= start() && start().since(used) < Duration::from_secs(3600), "{used}");
}

pub async fn a_revoked_token_is_gone(store: Arc<dyn Store>) {
    store.add_token(&[1; 32], &token("script", None)).await.unwrap();

    store.revoke_token("id-script").await.unwrap();
    let again = store.revoke_token("id-script").await;

    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    assert_eq!(store.token(&[1; 32]).await.unwrap(), None);
    store.add_token(&[1; 32], &token("script", None)).await.unwrap();
}

pub async fn tokens_are_listed_by_name(store: Arc<dyn Store>) {
    for (n, text) in ["c", "a", "b"].into_iter().enumerate() {
        store.add_token(&[u8::try_from(n).unwrap(); 32], &token(text, None)).await.unwrap();
    }

    let (found, pages) = all(2, async |page| store.tokens(&page).await.unwrap()).await;

    assert_eq!(found, ["a", "b", "c"].map(|text| token(text, None)));
    assert_eq!(pages, [2, 1]);
    assert_eq!(store.tokens(&page(3)).await.unwrap().next, None);
}

pub async fn a_secret_of_the_hub_stays_what_it_was(store: Arc<dyn Store>) {
    let first = store.hub_secret("jwt", [1; 32]).await.unwrap();
    let second = store.hub_secret("jwt", [2; 32]).await.unwrap();
    let other = store.hub_secret("other", [3; 32]).await.unwrap();

    assert_eq!((first, second, other), ([1; 32], [1; 32], [3; 32]));
}
