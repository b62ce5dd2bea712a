//! Users, sessions, tokens and the hub's secrets.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    Timestamp,
    model::{id::UserName, role::Role},
};

use super::{after, all_pages, module, page, start};
use crate::store::{Steady, Store, StoreError, TokenRecord, UserListing, UserRecord};

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn anna() -> UserRecord {
    UserRecord { name: name("anna"), role: Role::Admin, password_hash: "$argon2id$v=19$...".to_owned() }
}

/// A token named `text`, with an id derived from the name.
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

pub async fn the_first_user_can_be_added_only_once(store: Arc<dyn Store>) {
    assert!(!store.has_users().await.unwrap());
    assert_eq!(store.user(&name("anna")).await.unwrap(), None);

    store.add_first_user(&anna(), after(0)).await.unwrap();
    let second = store.add_first_user(&UserRecord { name: name("bert"), ..anna() }, after(1)).await;

    assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
    assert!(store.has_users().await.unwrap());
    assert_eq!(store.user(&name("anna")).await.unwrap(), Some(anna()));
    assert_eq!(store.user(&name("bert")).await.unwrap(), None);
}

pub async fn a_session_is_valid_until_its_end_in_steady_time(store: Arc<dyn Store>) {
    store.add_first_user(&anna(), after(0)).await.unwrap();
    store.open_session(&[1; 32], &name("anna"), in_secs(60), after(0)).await.unwrap();

    assert_eq!(store.session(&[1; 32], after(59)).await.unwrap(), Some(anna()));
    assert_eq!(store.session(&[1; 32], after(60)).await.unwrap(), None);
    assert_eq!(store.session(&[2; 32], after(0)).await.unwrap(), None);

    // The wall clock has no influence.
    let mut jumped = after(59);
    jumped.wall = Timestamp::END;
    assert_eq!(store.session(&[1; 32], jumped).await.unwrap(), Some(anna()));
}

pub async fn a_session_can_be_ended_before_its_end_time(store: Arc<dyn Store>) {
    store.add_first_user(&anna(), after(0)).await.unwrap();
    store.open_session(&[1; 32], &name("anna"), in_secs(60), after(0)).await.unwrap();
    store.open_session(&[2; 32], &name("anna"), in_secs(60), after(0)).await.unwrap();

    store.end_session(&[1; 32]).await.unwrap();
    store.end_session(&[1; 32]).await.unwrap();

    assert_eq!(store.session(&[1; 32], after(1)).await.unwrap(), None);
    assert_eq!(store.session(&[2; 32], after(1)).await.unwrap(), Some(anna()));
}

pub async fn a_session_of_an_unknown_user_is_refused(store: Arc<dyn Store>) {
    let result = store.open_session(&[1; 32], &name("unknown"), in_secs(60), after(0)).await;

    assert!(matches!(result, Err(StoreError::NotFound(_))), "{result:?}");
}

pub async fn a_token_is_found_by_its_secret(store: Arc<dyn Store>) {
    let (script, lamp) = (token("script", None), token("lamp", Some("led")));
    // The module of a token need not exist yet.
    store.add_token(&[1; 32], &script).await.unwrap();
    store.add_token(&[2; 32], &TokenRecord { last_used_at: Some(start()), ..lamp.clone() }).await.unwrap();

    assert_eq!(store.token(&[1; 32]).await.unwrap(), Some(script));
    assert_eq!(store.token(&[2; 32]).await.unwrap(), Some(lamp));
    assert_eq!(store.token(&[3; 32]).await.unwrap(), None);
}

pub async fn a_second_token_with_the_same_name_is_refused(store: Arc<dyn Store>) {
    store.add_token(&[1; 32], &token("script", None)).await.unwrap();

    let second = TokenRecord { id: "another".to_owned(), ..token("script", None) };
    let result = store.add_token(&[2; 32], &second).await;

    assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
    assert_eq!(store.token(&[2; 32]).await.unwrap(), None);
}

pub async fn the_last_use_of_a_token_is_stored_to_the_hour(store: Arc<dyn Store>) {
    store.add_token(&[1; 32], &token("script", None)).await.unwrap();

    store.touch_token("id-script", after(0)).await.unwrap();
    store.touch_token("unknown", after(0)).await.unwrap();

    let used = store.token(&[1; 32]).await.unwrap().unwrap().last_used_at.unwrap();
    assert_eq!(used.as_micros() % 3_600_000_000, 0);
    assert!(used <= start() && start().since(used) < Duration::from_secs(3600), "{used}");
}

pub async fn a_revoked_token_is_deleted(store: Arc<dyn Store>) {
    store.add_token(&[1; 32], &token("script", None)).await.unwrap();

    store.revoke_token("id-script").await.unwrap();
    let repeated = store.revoke_token("id-script").await;

    assert!(matches!(repeated, Err(StoreError::NotFound(_))), "{repeated:?}");
    assert_eq!(store.token(&[1; 32]).await.unwrap(), None);
    store.add_token(&[1; 32], &token("script", None)).await.unwrap();
}

pub async fn tokens_are_listed_by_name(store: Arc<dyn Store>) {
    for (n, text) in ["c", "a", "b"].into_iter().enumerate() {
        store.add_token(&[u8::try_from(n).unwrap(); 32], &token(text, None)).await.unwrap();
    }

    let (found, pages) = all_pages(2, async |page| store.tokens(&page).await.unwrap()).await;

    assert_eq!(found, ["a", "b", "c"].map(|text| token(text, None)));
    assert_eq!(pages, [2, 1]);
    assert_eq!(store.tokens(&page(3)).await.unwrap().next, None);
}

pub async fn users_have_unique_names_and_are_listed_by_name(store: Arc<dyn Store>) {
    let bert = UserRecord { name: name("bert"), role: Role::Viewer, ..anna() };
    store.add_user(&bert, after(1)).await.unwrap();
    store.add_user(&anna(), after(2)).await.unwrap();
    store.open_session(&[1; 32], &name("anna"), in_secs(60), after(3)).await.unwrap();
    store.open_session(&[2; 32], &name("anna"), in_secs(90), after(4)).await.unwrap();

    let repeated = store.add_user(&UserRecord { role: Role::Operator, ..bert.clone() }, after(5)).await;
    let first = store.add_first_user(&UserRecord { name: name("carl"), ..anna() }, after(5)).await;
    let (listed, pages) = all_pages(1, async |page| store.users(&page, after(70)).await.unwrap()).await;

    assert!(matches!(repeated, Err(StoreError::Conflict(_))), "{repeated:?}");
    assert!(matches!(first, Err(StoreError::Conflict(_))), "{first:?}");
    assert_eq!(store.user(&name("bert")).await.unwrap(), Some(bert));
    let listing = |text: &str, role, created_at, last_login_at, sessions| UserListing {
        name: name(text),
        role,
        created_at,
        last_login_at,
        sessions,
    };
    // One of the two sessions has ended.
    let anna = listing("anna", Role::Admin, after(2).wall, Some(after(4).wall), 1);
    assert_eq!(listed, [anna, listing("bert", Role::Viewer, after(1).wall, None, 0)]);
    assert_eq!(pages, [1, 1]);
}

pub async fn a_new_password_ends_the_sessions_of_its_user(store: Arc<dyn Store>) {
    store.add_user(&anna(), after(0)).await.unwrap();
    store.add_user(&UserRecord { name: name("bert"), ..anna() }, after(0)).await.unwrap();
    for (secret, user) in [([1; 32], "anna"), ([2; 32], "anna"), ([3; 32], "bert")] {
        store.open_session(&secret, &name(user), in_secs(60), after(0)).await.unwrap();
    }

    store.set_password(&name("anna"), "$argon2id$new").await.unwrap();
    let unknown = store.set_password(&name("carl"), "$argon2id$new").await;

    assert_eq!(store.user(&name("anna")).await.unwrap().unwrap().password_hash, "$argon2id$new");
    assert_eq!(store.user(&name("bert")).await.unwrap().unwrap().password_hash, anna().password_hash);
    assert_eq!(store.session(&[1; 32], after(1)).await.unwrap(), None);
    assert_eq!(store.session(&[2; 32], after(1)).await.unwrap(), None);
    assert!(store.session(&[3; 32], after(1)).await.unwrap().is_some());
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
}

pub async fn the_last_admin_can_be_neither_demoted_nor_removed(store: Arc<dyn Store>) {
    let refused = |result: Result<(), StoreError>| matches!(result, Err(StoreError::Conflict(_)));
    store.add_user(&anna(), after(0)).await.unwrap();
    store.add_user(&UserRecord { name: name("bert"), role: Role::Viewer, ..anna() }, after(0)).await.unwrap();
    store.open_session(&[1; 32], &name("anna"), in_secs(60), after(0)).await.unwrap();

    assert!(refused(store.set_role(&name("anna"), Role::Operator).await));
    assert!(refused(store.remove_user(&name("anna")).await));
    store.set_role(&name("anna"), Role::Admin).await.unwrap();
    store.set_role(&name("bert"), Role::Admin).await.unwrap();
    store.set_role(&name("anna"), Role::Viewer).await.unwrap();

    assert_eq!(store.session(&[1; 32], after(1)).await.unwrap().unwrap().role, Role::Viewer);
    assert!(refused(store.remove_user(&name("bert")).await));
    store.remove_user(&name("anna")).await.unwrap();
    assert_eq!(store.user(&name("anna")).await.unwrap(), None);
    assert_eq!(store.session(&[1; 32], after(1)).await.unwrap(), None);
    for result in [store.remove_user(&name("anna")).await, store.set_role(&name("anna"), Role::Viewer).await]
    {
        assert!(matches!(result, Err(StoreError::NotFound(_))), "{result:?}");
    }
}

pub async fn the_first_value_of_a_hub_secret_is_stored_and_returned(store: Arc<dyn Store>) {
    let first = store.hub_secret("jwt", [1; 32]).await.unwrap();
    let second = store.hub_secret("jwt", [2; 32]).await.unwrap();
    let other = store.hub_secret("other", [3; 32]).await.unwrap();

    assert_eq!((first, second, other), ([1; 32], [1; 32], [3; 32]));
}
