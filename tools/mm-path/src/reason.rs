//! Why a hop is on the path, and why others are not.

use mm_common::contract::sections::Why;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Catalogue, Line, Rule};
use semver::Version;

use crate::plan::{Rejected, Step};
use crate::route::Graph;
use crate::wish::{Policy, Wish};

/// Everything that speaks for this stop: that it was asked for, the policy, the rules that forbid going past it, and why
/// it is not a newer dot release.
pub(crate) fn of_hop(catalogue: &Catalogue, wish: &Wish, graph: &Graph<'_>, step: &Step<'_>) -> Vec<Why> {
    let line = Line::of(step.to);
    let mut why = Vec::new();
    if step.to == step.target {
        why.push(given("target", format!("the release asked for with --to {}", wish.to)));
    }
    if let Some(like) = catalogue.assumed_like(step.to) {
        why.push(given(
            "assumed",
            format!("{} is not in the catalogue and is planned as if it were of {like}", step.to),
        ));
    }
    if wish.names(step.to) {
        why.push(given("via", format!("a stop at {} was asked for with --via", step.to)));
    }
    let by_policy = step.to != step.target && (wish.policy != Policy::Esr || catalogue.is_esr(line));
    why.extend(required(graph, step).into_iter().map(|rule| Why {
        rule: rule.id.clone(),
        text: format!("{}. {}", rule.title, rule.text),
        source: rule.source.clone(),
    }));
    if let Some((rule, text, source)) = by_policy.then(|| wish.policy.reason(&line.to_string())).flatten() {
        why.push(Why { rule: rule.into(), text, source: source.into() });
    }
    why.extend(older_dot_release(wish, graph, step));
    if why.is_empty() {
        why.push(given("way", format!("the way on from {} that breaks no rule goes over {}", step.from, step.to)));
    }
    why
}

fn given(rule: &str, text: String) -> Why {
    Why { rule: rule.into(), text, source: "the command line".into() }
}

/// Why the edition changes, and why here.
pub(crate) fn of_edition(installed: Edition, becomes: Edition) -> Why {
    given(
        "edition",
        format!(
            "{installed} edition becomes {becomes} edition, as asked for: with the first hop, so that all that follows is \
             planned for the edition that runs"
        ),
    )
}

/// The rules that speak against going from before this stop to the target, and no longer do after it.
fn required<'a>(graph: &Graph<'a>, step: &Step<'_>) -> Vec<&'a Rule> {
    if step.to == step.target {
        return Vec::new();
    }
    let after = graph.objections(step.to, step.target);
    let before = graph.objections(step.from, step.target).into_iter();
    before.filter(|rule| !after.iter().any(|still| still.id == rule.id)).collect()
}

/// Why a newer dot release of the same line was not taken.
fn older_dot_release(wish: &Wish, graph: &Graph<'_>, step: &Step<'_>) -> Option<Why> {
    if step.to == step.target || wish.names_exactly(step.to) {
        return None;
    }
    let newest = graph.newer_in_line(step.to).last().copied()?.clone();
    let rule = step.after.and_then(|after| graph.objections(&newest, after).first().copied());
    Some(match rule {
        Some(rule) => Why {
            rule: rule.id.clone(),
            text: format!("{newest} is newer, but cannot be left from for the next stop. {}", rule.text),
            source: rule.source.clone(),
        },
        None => {
            given("way", format!("{newest} is newer, but a rule speaks against stopping there or going on from it"))
        }
    })
}

/// The jumps that a shorter path would have taken: the whole way at once, and past each single stop.
pub(crate) fn rejected(graph: &Graph<'_>, start: &Version, stops: &[Version]) -> Vec<Rejected> {
    let mut jumps: Vec<(Version, Version)> = Vec::new();
    let all: Vec<&Version> = std::iter::once(start).chain(stops).collect();
    if let [first, _, .., last] = all.as_slice() {
        jumps.push(((*first).clone(), (*last).clone()));
    }
    jumps.extend(all.windows(3).map(|three| (three[0].clone(), three[2].clone())));
    jumps.dedup();
    let mut rejected = Vec::new();
    for (from, to) in jumps {
        let rules = graph.objections(&from, &to);
        if let Some(rule) = rules.first() {
            rejected.push(Rejected { from, to, rule: rule.id.clone(), text: rule.title.clone() });
            continue;
        }
        let lines: Vec<String> = graph.skipped(&from, &to).iter().map(ToString::to_string).collect();
        if !lines.is_empty() {
            let text = format!("passes over {}", lines.join(", "));
            rejected.push(Rejected { from, to, rule: "policy".into(), text });
        }
    }
    rejected
}
