//! The path as a picture, with the jumps that were considered and rejected.

use std::fmt::Write as _;

use mm_common::contract::sections::Hop;

use crate::plan::{Plan, Rejected};

/// For Graphviz.
pub(crate) fn dot(plan: &Plan) -> String {
    let mut text = String::from(
        "digraph path {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  \"{}\" [style=\"rounded,bold\"];", plan.path.current);
    for hop in &plan.path.hops {
        let _ = writeln!(text, "  \"{}\" -> \"{}\" [label=\"{}\", penwidth=2];", hop.from, hop.to, quoted(&label(hop)));
    }
    for Rejected { from, to, rule, text: why } in &plan.rejected {
        let _ = writeln!(
            text,
            "  \"{from}\" -> \"{to}\" [label=\"{}\", style=dashed, color=firebrick, fontcolor=firebrick, constraint=false];",
            quoted(&format!("{rule}: {why}"))
        );
    }
    for blocker in &plan.path.blockers {
        let _ = writeln!(
            text,
            "  \"{}\" [shape=octagon, color=firebrick];",
            quoted(&format!("{}: {}", blocker.id, blocker.title))
        );
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// For Mermaid.
pub(crate) fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    let name = |version: &semver::Version| format!("v{}", version.to_string().replace(['.', '-', '+'], "_"));
    let mut line = |from: &semver::Version, arrow: &str, label: &str, to: &semver::Version| {
        let label = label.replace('"', "'");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}[\"{from}\"] {arrow}|\"{label}\"| {}[\"{to}\"]", name(from), name(to));
    };
    for hop in &plan.path.hops {
        line(&hop.from, "==>", &label(hop), &hop.to);
    }
    for Rejected { from, to, rule, text: why } in &plan.rejected {
        line(from, "-.->", &format!("{rule}: {why}"), to);
    }
    for (index, blocker) in plan.path.blockers.iter().enumerate() {
        let _ = writeln!(text, "  blocker{index}{{{{\"{}: {}\"}}}}", blocker.id, blocker.title.replace('"', "'"));
    }
    text
}

/// The rules that put the hop there, and the PostgreSQL upgrade in it.
fn label(hop: &Hop) -> String {
    let mut parts: Vec<String> = hop.why.iter().map(|why| why.rule.clone()).collect();
    let word = if hop.needs.is_move { "moved to " } else { "" };
    parts.extend(hop.needs.postgres.map(|major| format!("{word}PostgreSQL {major}")));
    parts.join(", ")
}
