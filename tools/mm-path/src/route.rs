//! The way through the releases: a shortest path whose length is a list of reasons, the weightiest first.
//!
//! Nodes are all catalogued releases between the present one and the target. An edge is a jump without a stop. A rule
//! of level `block` removes an edge; everything else only makes one dearer, so that "avoid it when there is another
//! way" is exactly what is computed.

use std::ops::Add;

use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Artefact, Catalogue, Facts, Level, Line, Rule, RuleKind};
use semver::Version;

use crate::wish::{Policy, Spot, Wish};

/// What a path or a part of it costs. Compared in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Cost {
    /// Stops that are not known to be in the archive, or that nothing proves.
    doubtful: u32,
    /// Rules of level `warn` that speak against a jump or a stop.
    warnings: u32,
    /// Lines passed over that the policy wants to stop at.
    skipped: u32,
    /// Stops at lines that the policy does not ask for.
    beside: u32,
    /// Hops.
    hops: u32,
    /// Stops at a line that is no extended support release: decides between equals only.
    short_lived: u32,
    /// Newer dot releases of the same line that were passed over.
    stale: u32,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            doubtful: self.doubtful + other.doubtful,
            warnings: self.warnings + other.warnings,
            skipped: self.skipped + other.skipped,
            beside: self.beside + other.beside,
            hops: self.hops + other.hops,
            short_lived: self.short_lived + other.short_lived,
            stale: self.stale + other.stale,
        }
    }
}

/// A release that a path may stop at, with everything about it that an edge is judged by.
struct Node {
    version: Version,
    line: Line,
    offered: bool,
    /// Bit `i` is set when rule `i` counts this version among those it is left from.
    leaves: u128,
    /// Bit `i` is set when rule `i` counts this version among those it leads to.
    enters: u128,
    /// Warnings about stopping here at all.
    warnings: u32,
    /// Lines of the policy below this version's line, and up to and including it.
    below: u32,
    up_to: u32,
    stale: u32,
    beside: bool,
    short_lived: bool,
}

/// The graph between two releases.
pub(crate) struct Graph<'a> {
    catalogue: &'a Catalogue,
    facts: Facts<'a>,
    edition: Edition,
    arch: Arch,
    wish: &'a Wish,
    nodes: Vec<Node>,
    /// The rules that forbid an edge, and those that only make it dearer, as bits of `Node::leaves` and `enters`.
    blocking: u128,
    warning: u128,
}

impl<'a> Graph<'a> {
    /// The releases from `start` to `target`, without those that are to be avoided.
    pub(crate) fn new(
        catalogue: &'a Catalogue,
        wish: &'a Wish,
        facts: Facts<'a>,
        edition: Edition,
        arch: Arch,
        (start, target): (&Version, &Version),
    ) -> Self {
        let mut graph = Self { catalogue, facts, edition, arch, wish, nodes: Vec::new(), blocking: 0, warning: 0 };
        for (bit, rule) in catalogue.rules().iter().enumerate().filter(|(_, rule)| rule.kind == RuleKind::Jump) {
            match rule.level {
                Level::Block => graph.blocking |= 1 << bit,
                Level::Warn => graph.warning |= 1 << bit,
            }
        }
        let between = catalogue
            .releases()
            .map(|release| &release.version)
            .filter(|version| *version > start && *version < target && version.pre.is_empty() && !wish.avoids(version));
        let versions: Vec<Version> = between.filter(|version| graph.artefact(version).is_some()).cloned().collect();
        let mut nodes: Vec<Node> = versions.iter().map(|version| graph.node(version, false)).collect();
        nodes.insert(0, graph.node(start, true));
        nodes.push(graph.node(target, true));
        graph.nodes = nodes;
        graph.count_lines();
        graph
    }

    fn artefact(&self, version: &Version) -> Option<Artefact<'a>> {
        self.catalogue.artefact(version, self.edition, self.arch)
    }

    fn node(&self, version: &Version, end: bool) -> Node {
        let line = Line::of(version);
        let (mut leaves, mut enters, mut warnings) = (0, 0, 0);
        for (bit, rule) in self.catalogue.rules().iter().enumerate() {
            match rule.kind {
                RuleKind::Jump if rule.holds(&self.facts) => {
                    leaves |= u128::from(rule.from.contains(version)) << bit;
                    enters |= u128::from(rule.to.contains(version)) << bit;
                }
                RuleKind::Avoid if !end => warnings += u32::from(rule.objects(version, version, &self.facts)),
                _ => {}
            }
        }
        Node {
            line,
            offered: end || self.catalogue.is_offered(version, self.edition, self.arch),
            leaves,
            enters,
            warnings,
            below: 0,
            up_to: 0,
            stale: 0,
            beside: !end && !self.wish.names(version),
            short_lived: !end && !self.catalogue.is_esr(line),
            version: version.clone(),
        }
    }

    /// Fills in what depends on the other nodes: the lines of the policy and the newer dot releases.
    fn count_lines(&mut self) {
        let mut lines: Vec<Line> = Vec::new();
        for node in &self.nodes[1..self.nodes.len() - 1] {
            let asked = match self.wish.policy {
                Policy::Esr => self.catalogue.is_esr(node.line),
                Policy::Minor => true,
                Policy::Direct => false,
            };
            if asked && node.offered && lines.last() != Some(&node.line) {
                lines.push(node.line);
            }
        }
        let count = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
        let last = self.nodes.len() - 1;
        for index in 0..self.nodes.len() {
            let line = self.nodes[index].line;
            let newer = self.nodes[index + 1..].iter().filter(|other| other.line == line && other.offered).count();
            let node = &mut self.nodes[index];
            node.below = count(lines.partition_point(|known| *known < line));
            node.up_to = count(lines.partition_point(|known| *known <= line));
            node.stale =
                if index == 0 || index == last || self.wish.names_exactly(&node.version) { 0 } else { count(newer) };
            node.beside &= self.wish.policy != Policy::Direct && node.below == node.up_to;
        }
    }

    /// Whether a jump passes over a stop that was asked for with `--via`.
    fn passes_over_via(&self, from: &Version, to: &Version) -> bool {
        self.wish.via.iter().any(|spot| match spot {
            Spot::Version(version) => from < version && version < to,
            Spot::Line(line) => Line::of(from) < *line && *line < Line::of(to),
        })
    }

    fn cost(&self, from: &Node, to: &Node) -> Option<Cost> {
        let objections = from.leaves & to.enters;
        if objections & self.blocking != 0 || self.passes_over_via(&from.version, &to.version) {
            return None;
        }
        Some(Cost {
            doubtful: u32::from(!to.offered),
            warnings: (objections & self.warning).count_ones() + to.warnings,
            skipped: to.below.saturating_sub(from.up_to),
            beside: u32::from(to.beside),
            hops: 1,
            short_lived: u32::from(to.short_lived),
            stale: to.stale,
        })
    }

    /// The cheapest path: the versions after the start, the target last. `None` when there is none.
    ///
    /// Of equally cheap paths the one with the newer stops is taken, so the answer is always the same.
    pub(crate) fn cheapest(&self) -> Option<Vec<Version>> {
        let mut best: Vec<Option<(Cost, usize)>> = vec![None; self.nodes.len()];
        best[0] = Some((Cost::default(), 0));
        for to in 1..self.nodes.len() {
            for from in 0..to {
                let Some((so_far, _)) = best[from] else { continue };
                let Some(edge) = self.cost(&self.nodes[from], &self.nodes[to]) else { continue };
                let total = so_far + edge;
                if best[to].is_none_or(|(known, _)| total <= known) {
                    best[to] = Some((total, from));
                }
            }
        }
        let mut index = self.nodes.len() - 1;
        let mut stops = Vec::new();
        while index != 0 {
            stops.push(self.nodes[index].version.clone());
            index = best[index]?.1;
        }
        stops.reverse();
        Some(stops)
    }

    /// The newest release that can be reached from the start, for saying where the way ends.
    pub(crate) fn farthest(&self) -> &Version {
        let mut reached = vec![false; self.nodes.len()];
        reached[0] = true;
        for to in 1..self.nodes.len() {
            reached[to] = (0..to).any(|from| reached[from] && self.cost(&self.nodes[from], &self.nodes[to]).is_some());
        }
        let index = reached.iter().rposition(|reached| *reached).unwrap_or(0);
        &self.nodes[index].version
    }

    /// The rules that speak against a jump, the forbidding ones first.
    pub(crate) fn objections(&self, from: &Version, to: &Version) -> Vec<&'a Rule> {
        let jumps = self.catalogue.rules().iter().filter(|rule| rule.kind == RuleKind::Jump);
        let mut rules: Vec<&Rule> = jumps.filter(|rule| rule.objects(from, to, &self.facts)).collect();
        rules.sort_by_key(|rule| rule.level == Level::Warn);
        rules
    }

    /// The lines that the policy wants to stop at between two releases.
    pub(crate) fn skipped(&self, from: &Version, to: &Version) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for node in self.nodes.iter().filter(|node| node.below < node.up_to) {
            if Line::of(from) < node.line && node.line < Line::of(to) && lines.last() != Some(&node.line) {
                lines.push(node.line);
            }
        }
        lines
    }

    /// The newer dot releases of a stop's line that are in the archive and were not taken.
    pub(crate) fn newer_in_line(&self, version: &Version) -> Vec<&Version> {
        let line = Line::of(version);
        let newer = self.nodes.iter().filter(|node| node.line == line && node.offered && node.version > *version);
        newer.map(|node| &node.version).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wish::Target;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn wish(policy: Policy, via: &[&str]) -> Wish {
        let via = via.iter().map(|text| Spot::Version(version(text))).collect();
        let to = Target::Spot(Spot::Version(version("10.6.1")));
        Wish { to, policy, via, avoid: Vec::new(), postgres: None, edition: None }
    }

    fn from_5_29<'a>(catalogue: &'a Catalogue, wish: &'a Wish) -> Graph<'a> {
        let ends = (&version("5.29.0"), &version("10.6.1"));
        Graph::new(catalogue, wish, Facts::default(), Edition::Team, Arch::Amd64, ends)
    }

    fn edge(graph: &Graph<'_>, from: &str, to: &str) -> Cost {
        let node = |text: &str| graph.nodes.iter().find(|node| node.version == version(text)).unwrap();
        graph.cost(node(from), node(to)).unwrap()
    }

    #[test]
    fn the_lines_passed_over_are_those_between_both_ends() {
        let catalogue = Catalogue::embedded().unwrap();
        let wish = wish(Policy::Esr, &[]);
        let graph = from_5_29(&catalogue, &wish);
        let lines = |from: &str, to: &str| {
            let lines = graph.skipped(&version(from), &version(to));
            lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(lines("5.37.10", "9.5.14"), "6.3 7.1 7.8 8.1");
        assert_eq!(lines("5.38.0", "8.1.0"), "6.3 7.1 7.8");
        assert_eq!(lines("6.3.0", "7.1.9"), "");
        let passed = |from: &str, to: &str| edge(&graph, from, to).skipped;
        assert_eq!((passed("6.3.10", "7.1.9"), passed("5.37.10", "7.1.9"), passed("8.1.13", "10.5.7")), (0, 1, 2));
    }

    #[test]
    fn a_stop_beside_the_policy_costs_unless_it_was_asked_for() {
        let catalogue = Catalogue::embedded().unwrap();
        let beside = |policy: Policy, via: &[&str], stop: &str| {
            let wish = wish(policy, via);
            let graph = from_5_29(&catalogue, &wish);
            edge(&graph, "5.29.0", stop).beside
        };
        assert_eq!(beside(Policy::Esr, &[], "5.37.10"), 0);
        assert_eq!(beside(Policy::Esr, &[], "5.36.2"), 1);
        assert_eq!(beside(Policy::Esr, &["5.36.2"], "5.36.2"), 0);
        assert_eq!(beside(Policy::Minor, &[], "5.36.2"), 0);
        assert_eq!(beside(Policy::Direct, &[], "5.36.2"), 0);
        // The end is asked for, whatever its line.
        let wish = wish(Policy::Esr, &[]);
        assert_eq!(edge(&from_5_29(&catalogue, &wish), "10.5.7", "10.6.1").beside, 0);
    }

    #[test]
    fn costs_add_up_field_by_field() {
        let cost = |by: u32| Cost {
            doubtful: by,
            warnings: 2 * by,
            skipped: 3 * by,
            beside: 4 * by,
            hops: 5 * by,
            short_lived: 6 * by,
            stale: 7 * by,
        };
        assert_eq!(cost(2) + cost(3), cost(5));
    }
}
