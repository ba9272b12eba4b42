//! Which connection reads what: whole tables, and of large ones ranges of blocks.

/// From this many bytes on a table is divided, and further connections are worth their time.
const WORTH: u64 = 64 << 20;

/// The first major that reads a range of blocks without reading all of them (TID range scans). Before that, PostgreSQL's own
/// workers share what one statement reads.
const FIRST_WITH_RANGES: u32 = 14;

/// Ranges of one table for each connection: with one each, all would wait for the one with the longest rows.
const EACH: u64 = 4;

/// A table, as large as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Its number in the catalogue.
    pub oid: u64,
    /// Blocks of the table itself.
    pub blocks: u64,
    /// Its bytes, with those of long values.
    pub bytes: u64,
}

/// A table, or those of its blocks that are in the range; the last range has no end, the first no beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    /// The table's number in the catalogue.
    pub oid: u64,
    /// The first block.
    pub from: Option<u64>,
    /// The block behind the last one.
    pub to: Option<u64>,
}

/// Divides tables among up to `jobs` connections; one lot when more are not worth it.
pub(super) fn divide(tables: &[Size], major: u32, jobs: usize) -> Vec<Vec<Piece>> {
    let total: u64 = tables.iter().map(|table| table.bytes).sum();
    let jobs = usize::try_from(total / WORTH).unwrap_or(jobs).clamp(1, jobs.max(1));
    let mut pieces: Vec<(u64, Piece)> = tables.iter().flat_map(|table| cut(*table, major, jobs)).collect();
    // The longest first, each to whoever has the least.
    pieces.sort_by(|(one, a), (other, b)| other.cmp(one).then(a.cmp(b)));
    let mut lots = vec![(0, Vec::new()); jobs.min(pieces.len().max(1))];
    for (bytes, piece) in pieces {
        if let Some(lot) = lots.iter_mut().min_by_key(|(sum, lot): &&mut (u64, Vec<Piece>)| (*sum, lot.len())) {
            lot.0 += bytes;
            lot.1.push(piece);
        }
    }
    lots.into_iter().map(|(_, lot)| lot).collect()
}

/// A table in ranges, with the bytes of each.
fn cut(table: Size, major: u32, jobs: usize) -> Vec<(u64, Piece)> {
    let most = if major < FIRST_WITH_RANGES || jobs == 1 { 1 } else { EACH.saturating_mul(jobs as u64) };
    let number = (table.bytes / WORTH).min(table.blocks).clamp(1, most);
    let bounds = (0..=number).map(|index| table.blocks * index / number).collect::<Vec<_>>();
    let range = |pair: &[u64]| Piece {
        oid: table.oid,
        from: Some(pair[0]).filter(|from| *from > 0),
        to: Some(pair[1]).filter(|to| *to < table.blocks),
    };
    let share = table.bytes / number;
    bounds.windows(2).map(|pair| (share, range(pair))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The tables of which there is more than one piece.
    fn divided(lots: &[Vec<Piece>]) -> BTreeSet<u64> {
        lots.iter()
            .flatten()
            .filter(|piece| piece.from.is_some() || piece.to.is_some())
            .map(|piece| piece.oid)
            .collect()
    }

    fn table(oid: u64, megabytes: u64) -> Size {
        Size { oid, blocks: megabytes * 128, bytes: megabytes << 20 }
    }

    #[test]
    fn small_databases_are_read_by_one_connection_and_old_servers_read_whole_tables() {
        let small = [table(1, 20), table(2, 3), table(3, 0)];
        assert_eq!(divide(&small, 15, 8).len(), 1);
        assert_eq!(divide(&[], 15, 8), [Vec::new()]);
        let large = [table(1, 1000), table(2, 300), table(3, 1)];
        let lots = divide(&large, 13, 4);
        assert!(lots.iter().flatten().all(|piece| piece.from.is_none() && piece.to.is_none()), "{lots:?}");
        assert_eq!(divided(&divide(&large, 15, 4)), [1, 2].into());
        assert_eq!(divide(&large, 15, 1).len(), 1);
    }

    proptest! {
        #[test]
        fn every_block_is_read_once(sizes in proptest::collection::vec((0_u64..200_000, 0_u64..40), 0..12), major in 12_u32..19, jobs in 0_usize..9) {
            let tables: Vec<Size> = sizes.iter().enumerate().map(|(oid, (blocks, more))| {
                Size { oid: oid as u64, blocks: *blocks, bytes: blocks * 8192 + (more << 20) }
            }).collect();
            let lots = divide(&tables, major, jobs);
            prop_assert!(!lots.is_empty() && lots.len() <= jobs.max(1));
            for table in tables {
                let mut pieces: Vec<Piece> = lots.iter().flatten().filter(|piece| piece.oid == table.oid).copied().collect();
                pieces.sort();
                prop_assert_eq!(pieces.first().map(|piece| piece.from), Some(None));
                prop_assert_eq!(pieces.last().map(|piece| piece.to), Some(None));
                for pair in pieces.windows(2) {
                    prop_assert!(pair[0].to.is_some() && pair[0].to == pair[1].from && pair[0].from < pair[0].to);
                }
            }
        }
    }
}
