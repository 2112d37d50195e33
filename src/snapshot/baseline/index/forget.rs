//! Forgetting what was in no scope for long.

use std::time::Duration;

use rusqlite::{TransactionBehavior, params};

use super::captures::drop_abandoned;
use super::{Index, failed};
use crate::error::Result;
use crate::path::AbsPath;
use crate::snapshot::baseline::rows::{path_of, range_at, range_beneath};
use crate::snapshot::baseline::versions::Versions;

impl Index {
    /// Forgets what is known beneath paths that were in no scope for `age`. Gives the objects that
    /// no row refers to any more; nothing happens while a capture is in progress.
    pub(in crate::snapshot::baseline) fn forget_unused(
        &mut self,
        age: Duration,
    ) -> Result<Vec<u64>> {
        self.durable(false)?;
        self.forget_unused_inner(age).map_err(failed("write"))
    }

    fn forget_unused_inner(&mut self, age: Duration) -> rusqlite::Result<Vec<u64>> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        drop_abandoned(&transaction)?;
        let busy: bool =
            transaction.query_row("SELECT EXISTS (SELECT 1 FROM captures)", [], |r| r.get(0))?;
        let mut freed = Vec::new();
        if !busy {
            let expired = |whole: bool| {
                all_paths(
                    &transaction,
                    "DELETE FROM roots WHERE whole = ?1 AND used < unixepoch() - ?2 RETURNING path",
                    params![whole, age.as_secs() as i64],
                )
            };
            let mut unused = Vec::new();
            // Of a directory above a root only itself was in the scope.
            for path in expired(false)? {
                unused.extend(keys_in(&transaction, range_at(&path))?);
            }
            for root in expired(true)? {
                unused.extend(keys_in(&transaction, range_at(&root))?);
                unused.extend(keys_in(&transaction, range_beneath(&root))?);
            }
            let used = |whole| {
                all_paths(
                    &transaction,
                    "SELECT path FROM roots WHERE whole = ?1",
                    [whole],
                )
            };
            let (trees, entries) = (used(true)?, used(false)?);
            let in_use = |path: &AbsPath| {
                entries.contains(path) || trees.iter().any(|tree| path.starts_with(tree))
            };
            let versions = Versions {
                transaction: &transaction,
                generation: i64::MAX,
                needed: None,
            };
            let unused = unused
                .iter()
                .filter(|key| !AbsPath::from_bytes(path_of(key)).is_ok_and(|path| in_use(&path)));
            versions.replace(unused.map(|key| (key.as_slice(), None)), &mut freed)?;
        }
        transaction.commit()?;
        Ok(freed)
    }
}

/// The paths that a statement gives.
fn all_paths(
    transaction: &rusqlite::Transaction<'_>,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<AbsPath>> {
    let mut statement = transaction.prepare_cached(sql)?;
    let paths = statement.query_map(parameters, |r| r.get::<_, Vec<u8>>(0))?;
    let paths: Vec<_> = paths.collect::<rusqlite::Result<_>>()?;
    Ok(paths
        .iter()
        .filter_map(|path| AbsPath::from_bytes(path).ok())
        .collect())
}

/// Every key in a range.
fn keys_in(
    transaction: &rusqlite::Transaction<'_>,
    (from, to): (Vec<u8>, Vec<u8>),
) -> rusqlite::Result<Vec<Vec<u8>>> {
    transaction
        .prepare_cached("SELECT DISTINCT path FROM rows WHERE path >= ?1 AND path < ?2")?
        .query_map(params![from, to], |r| r.get(0))?
        .collect()
}
