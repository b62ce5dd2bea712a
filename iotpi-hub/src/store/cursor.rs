//! Cursors: the position in a list, as one opaque word for a URL.
//!
//! A cursor is the key of the last row and a digest of the key and the list, in hexadecimal digits. The
//! digest is not secret: it detects a cursor of another list or query, and one that was truncated or changed
//! on its way. Deliberately absent: offsets. The next page begins after a key, whatever was added or removed
//! meanwhile.

use std::fmt::Write as _;

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{Page, PageRequest, Result, StoreError};

const DIGEST_LEN: usize = 8;

/// A list as a query requests it. A cursor is valid for one list.
#[derive(Debug, Clone)]
pub(super) struct List(String);

impl List {
    /// A list, by its name and everything that decides its content and order.
    pub(super) fn new(name: &str, query: &impl std::fmt::Debug) -> Self {
        Self(format!("{name} {query:?}"))
    }

    /// The key after which the page begins; `None` for the first page.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] if the cursor belongs to another list.
    pub(super) fn key<K: DeserializeOwned>(&self, page: &PageRequest) -> Result<Option<K>> {
        page.cursor.as_deref().map(|cursor| self.decode(cursor)).transpose()
    }

    /// The page of `rows`. One row more than the limit was requested; it is present if there is another page.
    pub(super) fn page<T, K: Serialize>(
        &self,
        mut rows: Vec<T>,
        page: &PageRequest,
        key: impl Fn(&T) -> K,
    ) -> Page<T> {
        let more = rows.len() > limit(page);
        rows.truncate(limit(page));
        let next = if more { rows.last().map(|row| self.encode(&key(row))) } else { None };
        Page::new(rows, next)
    }

    fn encode<K: Serialize>(&self, key: &K) -> String {
        // Keys are tuples of numbers and texts, which JSON can always represent.
        let mut bytes = serde_json::to_vec(key).unwrap_or_default();
        let digest = self.digest(&bytes);
        bytes.extend(digest);
        hex(&bytes)
    }

    fn decode<K: DeserializeOwned>(&self, cursor: &str) -> Result<K> {
        let bytes = unhex(cursor).ok_or(StoreError::BadCursor)?;
        let (key, digest) = bytes.split_last_chunk::<DIGEST_LEN>().ok_or(StoreError::BadCursor)?;
        if self.digest(key) != *digest {
            return Err(StoreError::BadCursor);
        }
        serde_json::from_slice(key).map_err(|_| StoreError::BadCursor)
    }

    fn digest(&self, key: &[u8]) -> [u8; DIGEST_LEN] {
        let digest = Sha256::new().chain_update(&self.0).chain_update([0]).chain_update(key).finalize();
        let mut head = [0; DIGEST_LEN];
        head.copy_from_slice(&digest[..DIGEST_LEN]);
        head
    }
}

/// The maximum number of rows of the page; at least one, or a client would never reach the end of the list.
pub(super) fn limit(page: &PageRequest) -> usize {
    page.limit.max(1) as usize
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Key = (i64, String);

    fn request(cursor: String) -> PageRequest {
        PageRequest { limit: 1, cursor: Some(cursor) }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_the_key_it_was_made_of(number: i64, text in ".{0,80}") {
            let list = List::new("list", &"query");

            let cursor = list.encode(&(number, &text));

            prop_assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric()));
            prop_assert_eq!(list.key::<Key>(&request(cursor)).unwrap(), Some((number, text)));
        }

        #[test]
        fn a_changed_cursor_is_refused(number: i64, at: prop::sample::Index, by in 1_u8..=255) {
            let list = List::new("list", &"query");
            let mut bytes = list.encode(&(number, "key")).into_bytes();
            let at = at.index(bytes.len());

            bytes[at] ^= by;

            let changed = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert!(matches!(list.key::<Key>(&request(changed)), Err(StoreError::BadCursor)));
        }

        #[test]
        fn any_other_text_is_refused(text in ".{0,80}") {
            let list = List::new("list", &"query");

            prop_assert!(matches!(list.key::<Key>(&request(text)), Err(StoreError::BadCursor)));
        }
    }

    #[test]
    fn a_cursor_of_another_list_or_query_is_refused() {
        let cursor = List::new("list", &"query").encode(&(1, "a"));

        for other in [List::new("list", &"other"), List::new("other", &"query")] {
            assert!(matches!(other.key::<Key>(&request(cursor.clone())), Err(StoreError::BadCursor)));
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let list = List::new("list", &());
        let two = PageRequest { limit: 2, cursor: None };

        assert_eq!(list.page(vec![1, 2], &two, |n| *n).next, None);

        let page = list.page(vec![1, 2, 3], &two, |n| *n);
        assert_eq!(page.items, [1, 2]);
        assert_eq!(list.key::<i32>(&request(page.next.unwrap())).unwrap(), Some(2));
    }
}
