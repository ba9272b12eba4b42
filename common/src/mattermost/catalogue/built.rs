//! What was built in, for `--version`.

use std::sync::LazyLock;

use super::{age, part};

/// The version of the tools, the commit that they were built from where the build says it (`MM_COMMIT`, set by
/// `scripts/package`), and the day of the compiled-in catalogue: `0.1.0 (3f5c1d2ab9e0, catalogue of 2026-11-28)`.
pub fn tools_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let meta = part::<age::Meta>("meta.json", include_str!("../../../catalogue/meta.json"));
        // A test rules out that it does not read.
        let as_of = meta.map(|meta| format!("catalogue of {}", meta.as_of));
        let parts: Vec<String> = option_env!("MM_COMMIT").map(str::to_owned).into_iter().chain(as_of).collect();
        format!("{} ({})", env!("CARGO_PKG_VERSION"), parts.join(", "))
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mattermost::catalogue::Catalogue;

    #[test]
    fn the_version_names_the_day_of_the_catalogue() {
        let as_of = Catalogue::embedded().unwrap().as_of();
        let (version, rest) = tools_version().split_once(" (").unwrap();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
        assert!(rest.ends_with(&format!("catalogue of {as_of})")), "{rest}");
    }
}
