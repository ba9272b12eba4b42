//! What somebody may have meant who has mistyped a word.

/// The candidate that is nearest to `word`, when one is near: for a word of eight letters, two of them may be wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 4).max(1);
    let near = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, taken out or exchanged (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, wanted) in other.iter().enumerate() {
            let exchanged = diagonal + usize::from(letter != *wanted);
            diagonal = row[at + 1];
            row[at + 1] = exchanged.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_too_many_or_too_few_is_near_and_another_word_is_not() {
        let flags = ["--database", "--data", "--dry-run", "--to"];
        assert_eq!(nearest("--databse", flags), Some("--database"));
        assert_eq!(nearest("--dry-rum", flags), Some("--dry-run"));
        assert_eq!(nearest("--verbose", flags), None);
        assert_eq!(nearest("20261129T030000Z", ["20261128T030000Z", "20251129T030001Z"]), Some("20261128T030000Z"));
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
