//! Users, sessions, tokens, and the hub's own secrets. Secrets of clients are stored only as hashes.

use async_trait::async_trait;
use iotpi_core::{
    Timestamp,
    model::{id::UserName, role::Role},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Sqlite,
    columns::{maybe_moment, maybe_parsed, moment, parsed, role},
    failure::EngineResult,
    writer::WriteContext,
};
use crate::store::{
    Now, Page, PageRequest, ReadUsers, Result, SecretHash, Steady, StoreError, TokenRecord, UserListing,
    UserRecord, WriteUsers,
    cursor::{self, List},
};

const HOUR_US: i64 = 3_600_000_000;

/// See [`WriteUsers::add_first_user`](crate::store::WriteUsers::add_first_user).
pub(super) fn add_first_user(db: &Connection, user: &UserRecord, now: Now) -> EngineResult<()> {
    if has_users(db)? {
        return Err(StoreError::Conflict("there is already a user".to_owned()).into());
    }
    add_user(db, user, now)
}

/// See [`WriteUsers::add_user`](crate::store::WriteUsers::add_user).
pub(super) fn add_user(db: &Connection, user: &UserRecord, now: Now) -> EngineResult<()> {
    // Logs identify callers by name alone.
    if db.prepare_cached("SELECT 1 FROM tokens WHERE name = ?1")?.exists([user.name.as_str()])? {
        return Err(StoreError::Conflict(format!("there is a token named {}", user.name)).into());
    }
    let row = params![user.name.as_str(), user.role.as_str(), user.password_hash, now.wall.as_micros()];
    let sql = "INSERT INTO users (name, role, password_hash, created_at_us) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (name) DO NOTHING";
    match db.prepare_cached(sql)?.execute(row)? {
        0 => Err(StoreError::Conflict(format!("there is already a user named {}", user.name)).into()),
        _ => Ok(()),
    }
}

/// See [`WriteUsers::set_password`](crate::store::WriteUsers::set_password).
pub(super) fn set_password(db: &Connection, name: &UserName, password_hash: &str) -> EngineResult<()> {
    let sql = "UPDATE users SET password_hash = ?2 WHERE name = ?1";
    changed(db.prepare_cached(sql)?.execute(params![name.as_str(), password_hash])?)?;
    db.prepare_cached("DELETE FROM sessions WHERE user = ?1")?.execute([name.as_str()])?;
    Ok(())
}

/// See [`WriteUsers::set_role`](crate::store::WriteUsers::set_role).
pub(super) fn set_role(db: &Connection, name: &UserName, role: Role) -> EngineResult<()> {
    if role != Role::Admin {
        check_another_admin(db, name)?;
    }
    let sql = "UPDATE users SET role = ?2 WHERE name = ?1";
    changed(db.prepare_cached(sql)?.execute(params![name.as_str(), role.as_str()])?)
}

/// See [`WriteUsers::remove_user`](crate::store::WriteUsers::remove_user). Their sessions go with them (`ON DELETE CASCADE`).
pub(super) fn remove_user(db: &Connection, name: &UserName) -> EngineResult<()> {
    check_another_admin(db, name)?;
    changed(db.prepare_cached("DELETE FROM users WHERE name = ?1")?.execute([name.as_str()])?)
}

fn changed(users: usize) -> EngineResult<()> {
    if users == 0 { Err(StoreError::NotFound("user").into()) } else { Ok(()) }
}

/// Refuses to remove the last admin.
fn check_another_admin(db: &Connection, name: &UserName) -> EngineResult<()> {
    let sql = "SELECT 1 FROM users WHERE name = ?1 AND role = 'admin'
               AND NOT EXISTS (SELECT 1 FROM users WHERE name <> ?1 AND role = 'admin')";
    if db.prepare_cached(sql)?.exists([name.as_str()])? {
        return Err(
            StoreError::Conflict(format!("{name} is the only admin: make another user admin first")).into()
        );
    }
    Ok(())
}

/// See [`ReadUsers::users`](crate::store::ReadUsers::users).
pub(super) fn users(db: &Connection, page: &PageRequest, now: Now) -> EngineResult<Page<UserListing>> {
    let list = List::new("users", &());
    let after = list.key::<String>(page)?.unwrap_or_default();
    let sql = "SELECT name, role, created_at_us, max(opened_at_us), count(secret)
               FROM users LEFT JOIN sessions ON user = name AND ends_steady_us > ?3
               WHERE name > ?1 GROUP BY name ORDER BY name LIMIT ?2";
    let mut statement = db.prepare_cached(sql)?;
    let query = params![after, cursor::limit(page) + 1, now.steady.0.as_micros()];
    let rows = statement.query_map(query, |row| {
        Ok(UserListing {
            name: parsed(row, 0)?,
            role: role(row, 1)?,
            created_at: moment(row, 2)?,
            last_login_at: maybe_moment(row, 3)?,
            sessions: row.get(4)?,
        })
    })?;
    Ok(list.page(rows.collect::<Result<_, _>>()?, page, |user| user.name.to_string()))
}

/// See [`ReadUsers::has_users`](crate::store::ReadUsers::has_users).
pub(super) fn has_users(db: &Connection) -> EngineResult<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM users LIMIT 1")?.exists([])?)
}

/// See [`ReadUsers::user`](crate::store::ReadUsers::user).
pub(super) fn user(db: &Connection, name: &UserName) -> EngineResult<Option<UserRecord>> {
    let sql = "SELECT name, role, password_hash FROM users WHERE name = ?1";
    Ok(db.prepare_cached(sql)?.query_row([name.as_str()], read_user).optional()?)
}

fn read_user(row: &Row<'_>) -> rusqlite::Result<UserRecord> {
    Ok(UserRecord { name: parsed(row, 0)?, role: role(row, 1)?, password_hash: row.get(2)? })
}

/// See [`WriteUsers::open_session`](crate::store::WriteUsers::open_session). Those that have ended are forgotten on the way.
pub(super) fn open_session(
    db: &Connection,
    secret: &SecretHash,
    user: &UserName,
    ends: Steady,
    now: Now,
) -> EngineResult<()> {
    db.prepare_cached("DELETE FROM sessions WHERE ends_steady_us <= ?1")?
        .execute([now.steady.0.as_micros()])?;
    if !db.prepare_cached("SELECT 1 FROM users WHERE name = ?1")?.exists([user.as_str()])? {
        return Err(StoreError::NotFound("user").into());
    }
    let row = params![secret, user.as_str(), ends.0.as_micros(), now.wall.as_micros()];
    let sql = "INSERT INTO sessions (secret, user, ends_steady_us, opened_at_us) VALUES (?1, ?2, ?3, ?4)";
    db.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// See [`ReadUsers::session`](crate::store::ReadUsers::session).
pub(super) fn session(db: &Connection, secret: &SecretHash, now: Now) -> EngineResult<Option<UserRecord>> {
    let sql = "SELECT name, role, password_hash FROM sessions JOIN users ON name = user
               WHERE secret = ?1 AND ends_steady_us > ?2";
    let query = params![secret, now.steady.0.as_micros()];
    Ok(db.prepare_cached(sql)?.query_row(query, read_user).optional()?)
}

/// See [`WriteUsers::clamp_sessions`](crate::store::WriteUsers::clamp_sessions).
pub(super) fn clamp_sessions(db: &Connection, latest: Steady) -> EngineResult<()> {
    db.prepare_cached("UPDATE sessions SET ends_steady_us = ?1 WHERE ends_steady_us > ?1")?
        .execute([latest.0.as_micros()])?;
    Ok(())
}

/// See [`WriteUsers::end_session`](crate::store::WriteUsers::end_session).
pub(super) fn end_session(db: &Connection, secret: &SecretHash) -> EngineResult<()> {
    db.prepare_cached("DELETE FROM sessions WHERE secret = ?1")?.execute([secret])?;
    Ok(())
}

/// See [`WriteUsers::add_token`](crate::store::WriteUsers::add_token).
pub(super) fn add_token(db: &Connection, secret: &SecretHash, token: &TokenRecord) -> EngineResult<()> {
    if db.prepare_cached("SELECT 1 FROM users WHERE name = ?1")?.exists([token.name.as_str()])? {
        return Err(StoreError::Conflict(format!("there is a user named {}", token.name)).into());
    }
    let sql = "INSERT INTO tokens (id, secret, name, role, module_id, created_at_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING";
    let row = params![
        token.id,
        secret,
        token.name.as_str(),
        token.role.as_str(),
        token.module_id.as_ref().map(AsRef::<str>::as_ref),
        token.created_at.as_micros(),
    ];
    match db.prepare_cached(sql)?.execute(row)? {
        0 => Err(StoreError::Conflict(format!("there is already a token named {}", token.name)).into()),
        _ => Ok(()),
    }
}

const TOKEN: &str = "SELECT id, name, role, module_id, created_at_us, last_used_at_us FROM tokens";

fn read_token(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        id: row.get(0)?,
        name: parsed(row, 1)?,
        role: role(row, 2)?,
        module_id: maybe_parsed(row, 3)?,
        created_at: moment(row, 4)?,
        last_used_at: maybe_moment(row, 5)?,
    })
}

/// See [`ReadUsers::token`](crate::store::ReadUsers::token).
pub(super) fn token(db: &Connection, secret: &SecretHash) -> EngineResult<Option<TokenRecord>> {
    let sql = format!("{TOKEN} WHERE secret = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([secret], read_token).optional()?)
}

/// See [`WriteUsers::touch_token`](crate::store::WriteUsers::touch_token). Writes at most once an hour.
pub(super) fn touch_token(db: &Connection, id: &str, now: Now) -> EngineResult<()> {
    let wall = now.wall.as_micros();
    let hour = Timestamp::from_micros(wall - wall.rem_euclid(HOUR_US));
    let sql = "UPDATE tokens SET last_used_at_us = ?2 WHERE id = ?1 AND last_used_at_us IS NOT ?2";
    db.prepare_cached(sql)?.execute(params![id, hour.as_micros()])?;
    Ok(())
}

/// See [`ReadUsers::tokens`](crate::store::ReadUsers::tokens).
pub(super) fn tokens(db: &Connection, page: &PageRequest) -> EngineResult<Page<TokenRecord>> {
    let list = List::new("tokens", &());
    let after = list.key::<String>(page)?.unwrap_or_default();
    let sql = format!("{TOKEN} WHERE name > ?1 ORDER BY name LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![after, cursor::limit(page) + 1], read_token)?;
    Ok(list.page(rows.collect::<Result<_, _>>()?, page, |token| token.name.to_string()))
}

/// See [`WriteUsers::revoke_token`](crate::store::WriteUsers::revoke_token).
pub(super) fn revoke_token(db: &Connection, id: &str) -> EngineResult<()> {
    match db.prepare_cached("DELETE FROM tokens WHERE id = ?1")?.execute([id])? {
        0 => Err(StoreError::NotFound("token").into()),
        _ => Ok(()),
    }
}

/// See [`MaintainStore::hub_secret`](crate::store::MaintainStore::hub_secret).
pub(super) fn hub_secret(db: &Connection, name: &str, fresh: [u8; 32]) -> EngineResult<[u8; 32]> {
    let sql = "INSERT INTO hub_secrets (name, secret) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    db.prepare_cached(sql)?.execute(params![name, fresh])?;
    Ok(db
        .prepare_cached("SELECT secret FROM hub_secrets WHERE name = ?1")?
        .query_row([name], |row| row.get(0))?)
}

/// See [`MaintainStore::read_hub_secret`](crate::store::MaintainStore::read_hub_secret).
pub(super) fn read_hub_secret(db: &Connection, name: &str) -> EngineResult<Option<[u8; 32]>> {
    let sql = "SELECT secret FROM hub_secrets WHERE name = ?1";
    Ok(db.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
}

/// See [`MaintainStore::replace_hub_secret`](crate::store::MaintainStore::replace_hub_secret).
pub(super) fn replace_hub_secret(db: &Connection, name: &str, fresh: [u8; 32]) -> EngineResult<()> {
    let sql = "INSERT INTO hub_secrets (name, secret) VALUES (?1, ?2)
               ON CONFLICT (name) DO UPDATE SET secret = excluded.secret";
    db.prepare_cached(sql)?.execute(params![name, fresh])?;
    Ok(())
}

#[async_trait]
impl ReadUsers for Sqlite {
    async fn has_users(&self) -> Result<bool> {
        self.look_up("look for users", has_users).await
    }

    async fn user(&self, name: &UserName) -> Result<Option<UserRecord>> {
        let name = name.clone();
        self.look_up("read a user", move |db| user(db, &name)).await
    }

    async fn users(&self, page: &PageRequest, now: Now) -> Result<Page<UserListing>> {
        let page = page.clone();
        self.read("list users", move |db| users(db, &page, now)).await
    }

    async fn session(&self, secret: &SecretHash, now: Now) -> Result<Option<UserRecord>> {
        let secret = *secret;
        self.look_up("read a session", move |db| session(db, &secret, now)).await
    }

    async fn token(&self, secret: &SecretHash) -> Result<Option<TokenRecord>> {
        let secret = *secret;
        self.look_up("read a token", move |db| token(db, &secret)).await
    }

    async fn tokens(&self, page: &PageRequest) -> Result<Page<TokenRecord>> {
        let page = page.clone();
        self.read("list tokens", move |db| tokens(db, &page)).await
    }
}

#[async_trait]
impl WriteUsers for Sqlite {
    async fn add_first_user(&self, user: &UserRecord, now: Now) -> Result<()> {
        let user = user.clone();
        self.write("add the first user", move |db| add_first_user(db, &user, now)).await
    }

    async fn add_user(&self, user: &UserRecord, now: Now) -> Result<()> {
        let user = user.clone();
        self.write("add a user", move |db| add_user(db, &user, now)).await
    }

    async fn set_password(&self, name: &UserName, password_hash: &str) -> Result<()> {
        let (name, password_hash) = (name.clone(), password_hash.to_owned());
        self.write("set a password", move |db| set_password(db, &name, &password_hash)).await
    }

    async fn set_role(&self, name: &UserName, role: Role) -> Result<()> {
        let name = name.clone();
        self.write("set a user's role", move |db| set_role(db, &name, role)).await
    }

    async fn remove_user(&self, name: &UserName) -> Result<()> {
        let name = name.clone();
        self.free("remove a user", move |db: &mut WriteContext<'_>| remove_user(db, &name)).await
    }

    async fn open_session(&self, secret: &SecretHash, user: &UserName, ends: Steady, now: Now) -> Result<()> {
        let (secret, user) = (*secret, user.clone());
        self.free("open a session", move |db: &mut WriteContext<'_>| {
            open_session(db, &secret, &user, ends, now)
        })
        .await
    }

    async fn clamp_sessions(&self, latest: Steady) -> Result<()> {
        self.write("clamp sessions", move |db| clamp_sessions(db, latest)).await
    }

    async fn end_session(&self, secret: &SecretHash) -> Result<()> {
        let secret = *secret;
        self.free("end a session", move |db: &mut WriteContext<'_>| end_session(db, &secret)).await
    }

    async fn add_token(&self, secret: &SecretHash, token: &TokenRecord) -> Result<()> {
        let (secret, token) = (*secret, token.clone());
        self.write("add a token", move |db| add_token(db, &secret, &token)).await
    }

    async fn touch_token(&self, id: &str, now: Now) -> Result<()> {
        let id = id.to_owned();
        self.write("store the use of a token", move |db| touch_token(db, &id, now)).await
    }

    async fn revoke_token(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.free("revoke a token", move |db: &mut WriteContext<'_>| revoke_token(db, &id)).await
    }
}
