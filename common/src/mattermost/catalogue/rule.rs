//! Rules about jumps between releases and about releases as such.

use semver::Version;
use serde::Deserialize;

use super::condition::{Condition, Facts, Verdict};
use super::range::Range;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// Going from a version in `from` to one in `to` without a stop.
    Jump,
    /// Stopping at a version in `to` at all.
    Avoid,
    /// Going from a version in `from` to one in `to` needs steps that no tool can do.
    Manual,
}

/// How strongly a rule speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Never planned.
    Block,
    /// Planned only when there is no other way.
    Warn,
}

/// One rule with its source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in documents.
    pub id: String,
    /// What it is about.
    pub kind: RuleKind,
    /// How strongly it speaks.
    pub level: Level,
    /// The versions it is left from; all when not said.
    #[serde(default)]
    pub from: Range,
    /// The versions it leads to.
    pub to: Range,
    /// Under which circumstances it speaks; always when not said.
    #[serde(default)]
    pub when: Condition,
    /// One line.
    pub title: String,
    /// Why, in a sentence or two.
    pub text: String,
    /// What to do instead.
    pub action: String,
    /// Where this is written.
    pub source: String,
}

impl Rule {
    /// Whether the rule's circumstances are given. What is not known is taken to be harmless: a rule about an old C
    /// library says nothing on paper.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        self.when.holds(facts) == Verdict::Yes
    }

    /// Whether the rule speaks against going from `from` to `to` under these facts.
    pub fn objects(&self, from: &Version, to: &Version, facts: &Facts<'_>) -> bool {
        self.from.contains(from) && self.to.contains(to) && self.holds(facts)
    }
}
