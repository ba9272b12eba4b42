//! A large table in pieces, by ranges of its key, so that several sessions carry it at once. Where its pieces begin is seen while every
//! row is looked at before; that the pieces are the whole table is counted afterwards.

use super::shape::Pair;
use super::source::quoted;
use super::value::Kind;

/// Rows of a piece.
const ROWS: u64 = 100_000;

/// Rows of a piece in this build.
#[cfg(not(feature = "checkpoints"))]
pub(super) fn rows() -> u64 {
    ROWS
}

/// Rows of a piece in this build, where a test does not say otherwise.
#[cfg(feature = "checkpoints")]
pub(super) fn rows() -> u64 {
    std::env::var("MM_CHECKPOINT_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(ROWS)
}

/// Some rows of a table: those from a key on, and before another one. With neither, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    column: String,
    from: Option<String>,
    before: Option<String>,
}

impl Part {
    /// What follows the name of the table in a query. The values are letters and digits.
    pub(super) fn clause(&self) -> String {
        let column = quoted(&self.column);
        let from = self.from.iter().map(|key| format!("{column} >= '{key}'"));
        let before = self.before.iter().map(|key| format!("{column} < '{key}'"));
        let both: Vec<String> = from.chain(before).collect();
        if both.is_empty() { String::new() } else { format!(" WHERE {}", both.join(" AND ")) }
    }
}

/// The column by which a table can be read in pieces: the first one of its key, where that is a text.
pub(super) fn column(pair: &Pair) -> Option<usize> {
    let first = *pair.key.first()?;
    matches!(pair.columns[first].rule.kind, Kind::Text(_) | Kind::Padded(_)).then_some(first)
}

/// Collects where pieces begin, while rows go by in the order of the key.
#[derive(Debug)]
pub(super) struct Marks {
    column: Option<usize>,
    every: u64,
    seen: u64,
    keys: Vec<String>,
}

impl Marks {
    pub(super) fn of(pair: &Pair) -> Self {
        Self { column: column(pair), every: rows(), seen: 0, keys: Vec::new() }
    }

    /// Sees a row.
    pub(super) fn see(&mut self, values: &[Option<&[u8]>]) {
        let Some(column) = self.column else { return };
        self.seen += 1;
        if self.seen <= self.every {
            return;
        }
        // Only what is the same text in every character set, and needs no quotes; else a later row will do.
        let plain = |key: &&[u8]| !key.is_empty() && key.iter().all(u8::is_ascii_alphanumeric);
        let Some(key) = values[column].filter(plain).and_then(|key| std::str::from_utf8(key).ok()) else { return };
        if self.keys.last().is_none_or(|last| !last.eq_ignore_ascii_case(key)) {
            self.keys.push(key.to_owned());
            self.seen = 1;
        }
    }

    /// The keys.
    pub(super) fn keys(self) -> Vec<String> {
        self.keys
    }
}

/// The pieces of a table that begin at these keys, and the one before them.
pub(super) fn parts(pair: &Pair, keys: &[String]) -> Vec<Part> {
    let Some(column) = column(pair).filter(|_| !keys.is_empty()) else { return vec![Part::default()] };
    let column = &pair.columns[column].from;
    let ends = keys.iter().cloned().map(Some).chain([None]);
    let begins = [None].into_iter().chain(keys.iter().cloned().map(Some));
    begins.zip(ends).map(|(from, before)| Part { column: column.clone(), from, before }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::shape::Column;
    use super::super::value::Rule;
    use super::*;

    fn pair(kind: Kind) -> Pair {
        let column = Column { from: "Id".into(), to: "id".into(), rule: Rule { kind, nullable: false, lower: false } };
        Pair {
            from: "Posts".into(),
            to: "posts".into(),
            schema: None,
            columns: vec![column],
            key: vec![0],
            unique: vec![],
        }
    }

    #[test]
    fn pieces_touch_and_leave_nothing_out() {
        let posts = pair(Kind::Text(Some(26)));
        let clauses = |keys: &[&str]| -> Vec<String> {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            parts(&posts, &keys).iter().map(Part::clause).collect()
        };
        assert_eq!(clauses(&[]), [""]);
        assert_eq!(
            clauses(&["b", "c"]),
            [" WHERE `Id` < 'b'", " WHERE `Id` >= 'b' AND `Id` < 'c'", " WHERE `Id` >= 'c'"]
        );
        assert_eq!(parts(&pair(Kind::Integer(64)), &["1".into()]), [Part::default()]);
    }

    #[test]
    fn a_piece_begins_at_a_key_that_means_the_same_everywhere() {
        let mut marks = Marks { every: 2, ..Marks::of(&pair(Kind::Text(None))) };
        for key in ["a", "b", "it's", "é", "d", "x", "D", "f"] {
            marks.see(&[Some(key.as_bytes())]);
        }
        assert_eq!(marks.keys(), ["d", "f"]);
    }
}
