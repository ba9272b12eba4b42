//! What a table holds, in numbers that do not depend on the order of its rows: how many, and the sum of their hashes.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::value::Cell;

/// Number of rows, and the sum of the SHA-256 of each, its four parts by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Print {
    pub rows: u64,
    sums: [u64; 4],
}

impl Print {
    /// Adds a row: its values in the order of the names of the columns.
    pub(crate) fn add(&mut self, cells: &[Cell]) {
        self.rows += 1;
        for (sum, part) in self.sums.iter_mut().zip(hash(cells).chunks_exact(8)) {
            let part: [u8; 8] = part.try_into().unwrap_or_default();
            *sum = sum.wrapping_add(u64::from_be_bytes(part));
        }
    }

    /// Adds all rows of another one.
    pub(crate) fn join(&mut self, other: Self) {
        self.rows += other.rows;
        for (sum, more) in self.sums.iter_mut().zip(other.sums) {
            *sum = sum.wrapping_add(more);
        }
    }

    /// The sums, in hexadecimal digits.
    pub(crate) fn hash(&self) -> String {
        self.sums.map(|sum| format!("{sum:016x}")).concat()
    }
}

impl Serialize for Print {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.rows, self.hash()).serialize(serializer)
    }
}

/// The hash of some values.
pub(crate) fn hash(cells: &[Cell]) -> [u8; 32] {
    let mut form = Vec::with_capacity(256);
    for cell in cells {
        cell.form(&mut form);
    }
    Sha256::digest(&form).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_rows_does_not_matter_and_everything_else_does() {
        let of = |rows: &[&[Cell]]| {
            let mut print = Print::default();
            for row in rows {
                print.add(row);
            }
            print
        };
        let (one, other) = ([Cell::Integer(1), Cell::Null], [Cell::Integer(2), Cell::Text(String::new())]);
        assert_eq!(of(&[&one, &other]), of(&[&other, &one]));
        let mut joined = of(&[&one]);
        joined.join(of(&[&other]));
        assert_eq!(joined, of(&[&one, &other]));
        assert_ne!(of(&[&one, &one]), of(&[&one, &other]));
        assert_ne!(of(&[&one]), of(&[&one, &one]));
        assert_ne!(of(&[&[Cell::Null]]), of(&[&[Cell::Text(String::new())]]));
        assert_ne!(of(&[&[Cell::Text("1".into())]]), of(&[&[Cell::Integer(1)]]));
    }
}
