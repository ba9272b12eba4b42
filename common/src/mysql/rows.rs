//! The rows in a dump of `mysqldump` or `mariadb-dump`, counted while it goes by.
//!
//! These programs write each statement from the beginning of a line, and no line break within a string: `\n` stands for one. So a
//! line that begins with `INSERT INTO` begins rows, unless it is part of a routine, which stands between two `DELIMITER`. Where a
//! table has columns that are not shown (invisible), or with MySQL's own program such as cannot be written (generated), those that
//! are in the dump are named before the rows.

use std::collections::BTreeMap;

/// The last line of a dump that came to its end.
const LAST: &[u8] = b"-- Dump completed";

/// Longer than what is looked at of any line: two names and a few words.
const MOST: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the part of a line that has not been looked at.
    Line,
    /// In the rest of one that is of no interest.
    Rest,
    /// In the names of the columns, between two brackets; in a name itself.
    Columns(bool),
    /// In the rows of an `INSERT`, so deep in brackets.
    Rows(u32),
    /// In a string there.
    String,
    /// Behind a backslash in it.
    Escaped,
}

/// Counts what is written to it.
#[derive(Debug)]
pub(super) struct Counter {
    at: At,
    line: Vec<u8>,
    is_last: bool,
    in_routine: bool,
    table: String,
    /// Rows by table, as far as it has come.
    pub(super) tables: BTreeMap<String, u64>,
}

impl Default for Counter {
    fn default() -> Self {
        Self {
            at: At::Line,
            line: Vec::new(),
            is_last: false,
            in_routine: false,
            table: String::new(),
            tables: BTreeMap::new(),
        }
    }
}

impl Counter {
    /// Whether the dump came to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.is_last || self.line.starts_with(LAST)
    }

    /// Takes the next bytes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match (self.at, byte) {
                (At::Line, b'\n') => self.look(),
                (At::Line, _) => {
                    self.line.push(byte);
                    if byte == b'(' && !self.in_routine && self.begins_rows() {
                        self.at = At::Rows(1);
                        self.line.clear();
                    } else if byte == b'(' && !self.in_routine && self.begins_columns() {
                        // However many there are: what follows them is looked at as if they were not there.
                        self.line.pop();
                        self.at = At::Columns(false);
                    } else if self.line.len() > MOST {
                        self.look();
                        self.at = At::Rest;
                    }
                }
                (At::Rest, b'\n') | (At::Columns(false), b')') => self.at = At::Line,
                // A backtick within a name is written twice.
                (At::Columns(in_name), b'`') => self.at = At::Columns(!in_name),
                (At::Rows(_), b'\'') | (At::Escaped, _) => self.at = At::String,
                (At::Rows(depth), b'(') => self.at = At::Rows(depth + 1),
                (At::Rows(1), b')') => {
                    *self.tables.entry(self.table.clone()).or_default() += 1;
                    self.at = At::Rows(0);
                }
                (At::Rows(depth), b')') => self.at = At::Rows(depth.saturating_sub(1)),
                (At::Rows(0), b';') => self.at = At::Rest,
                (At::String, b'\\') => self.at = At::Escaped,
                (At::String, b'\'') => self.at = At::Rows(1),
                _ => {}
            }
        }
    }

    /// Whether what there is of the line goes from `INSERT INTO` up to the first bracket of the first row; remembers the table.
    /// `VALUES` may end a line.
    fn begins_rows(&mut self) -> bool {
        let Some((table, rest)) = named(&self.line, b"INSERT INTO `") else { return false };
        if rest.trim_ascii() != b"VALUES (" && rest.trim_ascii() != b"VALUES\n(" {
            return false;
        }
        self.table = table;
        true
    }

    /// Whether it goes from `INSERT INTO` up to the bracket before the names of columns.
    fn begins_columns(&self) -> bool {
        named(&self.line, b"INSERT INTO `").is_some_and(|(_, rest)| rest == b" (")
    }

    /// Looks at a whole line.
    fn look(&mut self) {
        self.is_last = self.line.starts_with(LAST);
        if let Some((_, rest)) = named(&self.line, b"INSERT INTO `")
            && !self.in_routine
            && rest.trim_ascii() == b"VALUES"
        {
            // The rows begin in the next line.
            self.line.push(b'\n');
            return;
        }
        if let Some(delimiter) = self.line.strip_prefix(b"DELIMITER ") {
            self.in_routine = delimiter.trim_ascii() != b";";
        } else if let Some((table, _)) = named(&self.line, b"CREATE TABLE `").filter(|_| !self.in_routine) {
            self.tables.entry(table).or_default();
        }
        self.line.clear();
    }
}

/// The name that follows `begin` in backticks, and what comes after it.
fn named<'a>(line: &'a [u8], begin: &[u8]) -> Option<(String, &'a [u8])> {
    let rest = line.strip_prefix(begin)?;
    let (mut name, mut at) = (Vec::new(), 0);
    loop {
        match (rest.get(at)?, rest.get(at + 1)) {
            (b'`', Some(b'`')) => {
                name.push(b'`');
                at += 2;
            }
            (b'`', _) => return Some((String::from_utf8_lossy(&name).into_owned(), &rest[at + 1..])),
            (byte, _) => {
                name.push(*byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DUMP: &str = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n--\n\
        CREATE TABLE `Posts` (\n  `Id` varchar(26) NOT NULL,\n  `Message` text DEFAULT NULL COMMENT 'it''s (one);'\n);\n\
        /*!40000 ALTER TABLE `Posts` DISABLE KEYS */;\n\
        INSERT INTO `Posts` VALUES\n('a','it\\'s (1),(2);\\nINSERT INTO `Posts` VALUES (3)'),\n('b','\\\\'),\n('c',NULL);\n\
        INSERT INTO `Posts` VALUES ('d',0x28,_binary '('),('e','');\n\
        CREATE TABLE `Empty` (\n  `x` int\n);\n\
        CREATE TABLE `od``d (` (\n  `x` int\n);\nINSERT INTO `od``d (` VALUES (1);\n\
        INSERT INTO `Made` (`a`, `b ``) VALUES (`) VALUES (1,'('),(2,')');\n\
        INSERT INTO `Made` (`a`, `b ``) VALUES (`) VALUES\n(3,NULL);\n\
        DELIMITER ;;\nCREATE PROCEDURE `p`()\nBEGIN\nINSERT INTO `Posts` VALUES ('no');\n-- don't\nEND ;;\nDELIMITER ;\n\
        -- Dump completed on 2026-11-30  1:02:03\n";

    fn counted(chunks: &[&[u8]]) -> (Vec<(String, u64)>, bool) {
        let mut counter = Counter::default();
        for chunk in chunks {
            counter.pass(chunk);
        }
        let complete = counter.is_complete();
        (counter.tables.into_iter().collect(), complete)
    }

    #[test]
    fn rows_are_counted_whatever_stands_in_them() {
        let expected =
            [("Empty", 0), ("Made", 3), ("Posts", 5), ("od`d (", 1)].map(|(name, rows)| (name.to_owned(), rows));
        assert_eq!(counted(&[DUMP.as_bytes()]), (expected.to_vec(), true));
        let cut = &DUMP.as_bytes()[..DUMP.len() - 60];
        assert!(!counted(&[cut]).1);
    }

    #[test]
    fn rows_are_counted_however_many_columns_are_named() {
        let columns = (0..4096).map(|n| format!("`a column with a long name and the number {n}`")).collect::<Vec<_>>();
        let dump = format!("INSERT INTO `t` ({}) VALUES\n(1),(2);\nINSERT INTO `t` VALUES (3);\n", columns.join(", "));
        assert_eq!(counted(&[dump.as_bytes()]).0, [("t".to_owned(), 3)]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_it_is_cut(at in 0..DUMP.len(), other in 0..DUMP.len()) {
            let (from, to) = (at.min(other), at.max(other));
            let bytes = DUMP.as_bytes();
            prop_assert_eq!(counted(&[&bytes[..from], &bytes[from..to], &bytes[to..]]), counted(&[bytes]));
        }

        #[test]
        fn any_text_of_a_row_counts_as_one(text in ".*") {
            let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\0', "\\0");
            let dump = format!("INSERT INTO `t` VALUES ('{escaped}',1),(2,'');\n");
            prop_assert_eq!(counted(&[dump.as_bytes()]).0, vec![("t".to_owned(), 2)]);
        }
    }
}
