//! The ids of revoked tokens, in a small file next to the database, so that a restored backup does not make
//! them valid again.
//!
//! Each token adds one line, which is synced. At start, the hub revokes every listed token that the database
//! contains. Sessions need no such file: restoring a backup ends all of them, see
//! [`renewal`](super::renewal). A database in memory has no file.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    durable_file,
    error::Result,
    store::{Pages, Store, StoreError, TokenRecord, with_suffix},
};

/// The suffix that is added to the name of the database.
const SUFFIX: &str = ".revoked";
/// How many of the newest ids are kept. At twice as many the older half is removed. Each takes 38 bytes.
const MAX_IDS: usize = 10_000;

/// The list, or nothing for a database in memory.
#[derive(Debug)]
pub(crate) struct RevocationList(Option<PathBuf>);

impl RevocationList {
    /// The list next to the database of that store.
    pub(crate) fn for_store(store: &dyn Store) -> Self {
        Self(store.file().map(|database| with_suffix(database, SUFFIX)))
    }

    /// Adds revoked tokens. A failure is logged only, because the tokens are revoked in the database already.
    pub(crate) fn append(&self, ids: &[String]) {
        let Some(file) = &self.0 else { return };
        if let Err(error) = append(file, ids) {
            tracing::error!(
                error = &error as &dyn std::error::Error, file = %file.display(),
                "the revoked tokens could not be listed: restoring a backup would make them valid again"
            );
        }
    }

    /// Revokes the listed tokens that the store contains.
    ///
    /// # Errors
    /// The errors of the store.
    pub(crate) async fn apply(&self, store: &dyn Store) -> Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let ids = match read(file) {
            Ok(ids) => ids,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error, file = %file.display(),
                    "the list of revoked tokens cannot be read"
                );
                return Ok(());
            }
        };
        if ids.len() > 2 * MAX_IDS
            && let Err(error) = rewrite(file, &ids[ids.len() - MAX_IDS..])
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the list of revoked tokens could not be shortened"
            );
        }
        let ids: HashSet<&str> = ids.iter().map(String::as_str).collect();
        for token in tokens(store).await?.iter().filter(|token| ids.contains(token.id.as_str())) {
            tracing::warn!(
                target: super::SECURITY, token = %token.name, id = token.id,
                "an older database contained a revoked token, which was revoked again"
            );
            match store.revoke_token(&token.id).await {
                Ok(()) | Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Reads all tokens of the store.
pub(crate) async fn tokens(store: &dyn Store) -> Result<Vec<TokenRecord>> {
    let mut all = Vec::new();
    let mut pages = Pages::new();
    while let Some(page) = pages.next() {
        all.extend(pages.take(store.tokens(&page).await?));
    }
    Ok(all)
}

fn append(file: &Path, ids: &[String]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    file.write_all(lines(ids).as_bytes())?;
    file.sync_all()
}

fn read(file: &Path) -> io::Result<Vec<String>> {
    let text = fs::read(file)?;
    Ok(String::from_utf8_lossy(&text).lines().filter(|id| !id.is_empty()).map(str::to_owned).collect())
}

fn rewrite(file: &Path, ids: &[String]) -> io::Result<()> {
    durable_file::replace(file, lines(ids).as_bytes())
}

/// A leading line feed separates the id from a line that a power cut left incomplete.
fn lines(ids: &[String]) -> String {
    ids.iter().map(|id| format!("\n{id}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn ids_are_appended_for_the_owner_only_and_an_incomplete_line_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.db.revoked");
        append(&file, &["a".to_owned(), "b".to_owned()]).unwrap();
        fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"c").unwrap();

        append(&file, &["d".to_owned()]).unwrap();

        assert_eq!(read(&file).unwrap(), ["a", "b", "c", "d"]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        rewrite(&file, &["b".to_owned()]).unwrap();
        assert_eq!(read(&file).unwrap(), ["b"]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
