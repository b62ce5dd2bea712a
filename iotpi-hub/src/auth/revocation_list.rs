//! The tokens that were revoked, by id, in a small file beside the database: a restored backup does not bring them back.
//!
//! Lines are appended and synced, one for each token. A start revokes again what the file names and the database has. Sessions
//! need no such file: they all end when a backup is restored, see [`renewal`](super::renewal). With a database in memory there is
//! no file.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    error::Result,
    store::{PageRequest, Store, StoreError, TokenRecord, with_suffix},
};

/// The suffix of the file's name, after that of the database.
const SUFFIX: &str = ".revoked";
/// The newest ids that are kept; with twice as many the older half goes. Each takes 38 bytes.
const MAX_IDS: usize = 10_000;

/// The file.
#[derive(Debug)]
pub(crate) struct RevocationList(Option<PathBuf>);

impl RevocationList {
    /// The one beside the database of that store.
    pub(crate) fn for_store(store: &dyn Store) -> Self {
        Self(store.file().map(|database| with_suffix(database, SUFFIX)))
    }

    /// Keeps that these tokens are revoked. They are, whether it can be kept or not: what cannot is logged.
    pub(crate) fn append(&self, ids: &[String]) {
        let Some(file) = &self.0 else { return };
        if let Err(error) = append(file, ids) {
            tracing::error!(
                error = &error as &dyn std::error::Error, file = %file.display(),
                "revoked tokens could not be noted: a backup that is restored would bring them back"
            );
        }
    }

    /// Revokes again the tokens that the file names and the store has.
    ///
    /// # Errors
    /// The store's.
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
            tracing::warn!(error = &error as &dyn std::error::Error, "the list of revoked tokens stays long");
        }
        let ids: HashSet<&str> = ids.iter().map(String::as_str).collect();
        for token in tokens(store).await?.iter().filter(|token| ids.contains(token.id.as_str())) {
            tracing::warn!(
                target: super::SECURITY, token = %token.name, id = token.id,
                "a revoked token had come back with an older database, and is revoked again"
            );
            match store.revoke_token(&token.id).await {
                Ok(()) | Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// All tokens.
pub(crate) async fn tokens(store: &dyn Store) -> Result<Vec<TokenRecord>> {
    let mut all = Vec::new();
    let mut page = PageRequest { limit: 1000, cursor: None };
    loop {
        let found = store.tokens(&page).await?;
        all.extend(found.items);
        match found.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(all),
        }
    }
}

fn append(file: &Path, ids: &[String]) -> io::Result<()> {
    // Each on a line of its own, also after a line that a power cut left half.
    let lines: String = ids.iter().map(|id| format!("\n{id}\n")).collect();
    let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()
}

fn read(file: &Path) -> io::Result<Vec<String>> {
    let text = fs::read(file)?;
    Ok(String::from_utf8_lossy(&text).lines().filter(|id| !id.is_empty()).map(str::to_owned).collect())
}

fn rewrite(file: &Path, ids: &[String]) -> io::Result<()> {
    let fresh = with_suffix(file, ".new");
    let _ = fs::remove_file(&fresh);
    append(&fresh, ids)?;
    fs::rename(fresh, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn ids_are_appended_for_the_owner_alone_and_half_a_line_harms_nothing() {
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
