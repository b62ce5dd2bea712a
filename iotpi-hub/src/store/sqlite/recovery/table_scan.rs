//! Reads a damaged table: all rows except those on unreadable pages.

use rusqlite::{Connection, ErrorCode, params_from_iter, types::Value};

/// The number of failed reads after which the rest of a table is given up: more than one damaged page of the
/// upper levels causes.
const MAX_FAILED_READS: usize = 100_000;
/// How far beyond the last readable row to search if the end of the table is unknown.
const LOOK_BEHIND: i64 = 1 << 16;

/// The result of reading a table.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Read {
    /// The number of saved rows.
    pub(crate) rows: u64,
    /// Whether some rows could not be read, or were not written by a hub.
    pub(crate) is_damaged: bool,
}

/// Whether to save a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    No,
    Damaged,
}

/// A table of the new database.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    columns: Vec<String>,
    /// The columns of the key.
    key: Vec<String>,
    has_row_numbers: bool,
}

impl Table {
    pub(crate) fn of(db: &Connection, name: &str) -> rusqlite::Result<Self> {
        let mut info = db.prepare("SELECT name, pk FROM pragma_table_info(?1)")?;
        let columns = info.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let columns = columns.collect::<rusqlite::Result<Vec<(String, i64)>>>()?;
        let mut key: Vec<_> = columns.iter().filter(|(_, at)| *at > 0).cloned().collect();
        key.sort_by_key(|(_, at)| *at);
        let sql = "SELECT sql NOT LIKE '%WITHOUT ROWID%' FROM sqlite_schema WHERE name = ?1";
        let names = |columns: Vec<(String, i64)>| columns.into_iter().map(|(name, _)| name).collect();
        Ok(Self {
            name: name.to_owned(),
            key: names(key),
            columns: names(columns),
            has_row_numbers: db.query_row(sql, [name], |row| row.get(0))?,
        })
    }

    /// The value of a column in a row of the table.
    pub(crate) fn value<'a>(&self, row: &'a [Value], column: &str) -> Option<&'a Value> {
        row.get(self.columns.iter().position(|name| name == column)?)
    }

    /// Copies the readable rows that `keep` accepts.
    ///
    /// # Errors
    /// The new database's; an interrupt.
    pub(crate) fn copy(
        &self,
        source: &Connection,
        new: &Connection,
        mut keep: impl FnMut(&[Value]) -> Keep,
    ) -> rusqlite::Result<Read> {
        let places = vec!["?"; self.columns.len()].join(", ");
        let sql =
            format!("INSERT OR IGNORE INTO {} ({}) VALUES ({places})", self.name, self.columns.join(", "));
        let mut insert = new.prepare(&sql)?;
        let mut rows = 0;
        let is_damaged = self.read(source, &mut |row| match keep(&row) {
            Keep::No => true,
            Keep::Damaged => false,
            // A row that the new table refuses was not written by a hub.
            Keep::Yes => insert.execute(params_from_iter(row)).inspect(|new| rows += *new as u64).is_ok(),
        })?;
        Ok(Read { rows, is_damaged })
    }

    /// A row of the table from a rowid and the values on a page; `None` if it cannot belong to this table.
    pub(crate) fn row(&self, number: i64, mut values: Vec<Value>) -> Option<Vec<Value>> {
        let is_whole = values.len() == self.columns.len();
        let first = values.first_mut().filter(|first| is_whole && **first == Value::Null)?;
        *first = Value::Integer(number);
        Some(values)
    }

    /// Inserts a row unless its key exists. Returns whether it was inserted.
    pub(crate) fn insert(&self, new: &Connection, row: Vec<Value>) -> bool {
        let places = vec!["?"; self.columns.len()].join(", ");
        let sql =
            format!("INSERT OR IGNORE INTO {} ({}) VALUES ({places})", self.name, self.columns.join(", "));
        let inserted = new.prepare_cached(&sql).and_then(|mut insert| insert.execute(params_from_iter(row)));
        inserted.is_ok_and(|rows| rows > 0)
    }

    /// Reads all readable rows. `take` returns whether it could use a row. Returns whether anything is
    /// damaged.
    ///
    /// # Errors
    /// An interrupt.
    pub(crate) fn read(
        &self,
        db: &Connection,
        take: &mut dyn FnMut(Vec<Value>) -> bool,
    ) -> rusqlite::Result<bool> {
        if self.has_row_numbers { self.read_by_number(db, take) } else { self.read_by_key(db, take) }
    }

    /// Reads around each unreadable page: the range of rowids that contains it is halved down to single rows.
    fn read_by_number(
        &self,
        db: &Connection,
        take: &mut dyn FnMut(Vec<Value>) -> bool,
    ) -> rusqlite::Result<bool> {
        let sql = format!(
            "SELECT {}, rowid FROM {} NOT INDEXED WHERE rowid > ?1 AND rowid <= ?2 ORDER BY rowid",
            self.columns.join(", "),
            self.name
        );
        let last = db.query_row(&format!("SELECT max(rowid) FROM {}", self.name), [], |row| row.get(0));
        let Some(last) = unless_interrupted::<Option<i64>>(last)?.unwrap_or(Some(i64::MAX)) else {
            return Ok(false);
        };
        let mut ranges = vec![(-1, last)];
        let (mut is_damaged, mut failed) = (false, 0);
        while let Some((after, until)) = ranges.pop() {
            let mut reached = after;
            let mut range = || -> rusqlite::Result<()> {
                let mut rows = db.prepare_cached(&sql)?;
                let mut rows = rows.query([after, until])?;
                while let Some(row) = rows.next()? {
                    reached = row.get(self.columns.len())?;
                    is_damaged |= !self.values(row).is_ok_and(&mut *take);
                }
                Ok(())
            };
            if unless_interrupted(range())?.is_some() {
                continue;
            }
            (is_damaged, failed) = (true, failed + 1);
            let until =
                until.min(if until == i64::MAX { reached.saturating_add(LOOK_BEHIND) } else { until });
            if until - reached > 1 && failed < MAX_FAILED_READS {
                let middle = reached + (until - reached) / 2;
                ranges.push((middle, until));
                ranges.push((reached, middle));
            }
        }
        Ok(is_damaged)
    }

    /// Reads from both ends, each up to the first unreadable page.
    fn read_by_key(
        &self,
        db: &Connection,
        take: &mut dyn FnMut(Vec<Value>) -> bool,
    ) -> rusqlite::Result<bool> {
        let mut is_damaged = false;
        for way in ["ASC", "DESC"] {
            let order: Vec<_> = self.key.iter().map(|column| format!("{column} {way}")).collect();
            let columns = self.columns.join(", ");
            let sql =
                format!("SELECT {columns} FROM {} NOT INDEXED ORDER BY {}", self.name, order.join(", "));
            let mut all = || -> rusqlite::Result<()> {
                let mut rows = db.prepare(&sql)?;
                let mut rows = rows.query([])?;
                while let Some(row) = rows.next()? {
                    is_damaged |= !self.values(row).is_ok_and(&mut *take);
                }
                Ok(())
            };
            if unless_interrupted(all())?.is_some() {
                return Ok(is_damaged);
            }
            is_damaged = true;
        }
        Ok(is_damaged)
    }

    fn values(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<Vec<Value>> {
        (0..self.columns.len()).map(|at| row.get(at)).collect()
    }
}

/// The result of a read; `None` if it failed.
///
/// # Errors
/// An interrupt.
pub(crate) fn unless_interrupted<T>(read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Err(error),
        Err(_) => Ok(None),
    }
}
