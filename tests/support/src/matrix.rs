//! How much of a long matrix is tried: a third of it, but no more than five rows, evenly spread; and all of it where
//! `MM_TEST_ALL` is set, as `scripts/test --all` does.

/// As many rows are tried at most, where not all are.
const MOST: usize = 5;

fn whole() -> bool {
    std::env::var_os("MM_TEST_ALL").is_some()
}

/// The rows to try of these, the last one among them.
pub fn some<T>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let all: Vec<T> = all.into_iter().collect();
    let last = all.len().saturating_sub(1);
    let step = if whole() { 1 } else { all.len().div_ceil(MOST).max(3) };
    all.into_iter().enumerate().filter(|(at, _)| (last - at).is_multiple_of(step)).map(|(_, row)| row).collect()
}

/// The same, with the rows that are never left out among them.
pub fn some_and<T>(all: impl IntoIterator<Item = T>, always: impl Fn(&T) -> bool) -> Vec<T> {
    let (always, others): (Vec<T>, Vec<T>) = all.into_iter().partition(always);
    some(others).into_iter().chain(always).collect()
}

/// How many to try where `all` would be many: two at least, so that the first and the last are among them.
pub fn number(all: usize) -> usize {
    if whole() { all } else { all.div_ceil(3).max(2).min(all) }
}
