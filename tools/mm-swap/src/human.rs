//! Tables for people.

use std::fmt::Write as _;

use mm_common::contract::sections::Swap;
use mm_common::mattermost::manifest::Manifest;
use mm_common::mattermost::site::Installation;

use crate::plan::{Action, Plan};
use crate::status::Status;

/// What a dry run would do.
pub(crate) fn plan(site: &Installation, new: &Manifest, plan: &Plan) -> String {
    let mut text = format!("{} -> {} in {}\n", site.version, new.version, site.root.display());
    for step in &plan.steps {
        let action = match step.action {
            Action::Exchange => "exchange",
            Action::Add => "add",
            Action::Remove => "take away",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {action:<10} {}", step.path);
    }
    text
}

/// What was done.
pub(crate) fn swapped(swap: &Swap) -> String {
    let mut text = format!("{} -> {}\n", swap.from, swap.to);
    let _ = writeln!(text, "  entries exchanged      {}", swap.exchanged.len());
    let _ = writeln!(text, "  down for               {:.3} s", swap.window_seconds);
    let _ = writeln!(text, "  healthy after          {:.1} s", swap.healthy_after_seconds);
    if let Some(retired) = &swap.retired {
        let _ = writeln!(text, "  old release kept in    {}", retired.display());
    }
    for file in &swap.modified {
        let _ = writeln!(text, "  was changed locally    {}", file.path);
    }
    if let Some(address) = &swap.private_address {
        let _ = writeln!(text, "  private, listens on    {address}");
    }
    text
}

/// What is there.
pub(crate) fn status(status: &Status) -> String {
    let running = if status.running { "running" } else { "stopped" };
    let mut text = format!("installed    {} ({running})\n", status.installed);
    if let Some(address) = &status.private_address {
        let _ = writeln!(text, "private      {address} (`mm-swap publish` makes it public)");
    }
    if let Some(interrupted) = &status.interrupted {
        let _ = writeln!(text, "interrupted  {interrupted} (`mm-swap recover` finishes or undoes it)");
    }
    for open in &status.open {
        let _ = writeln!(text, "interrupted  a run of {} (`{}` finishes or undoes it)", open.tool, open.command);
    }
    if status.held {
        text.push_str("held         until then the server cannot be started: its executable may not be executed\n");
    }
    for kept in &status.kept {
        let what = if kept.undone { "undone " } else { "retired" };
        let _ =
            writeln!(text, "{what}      {} -> {}  {}  {}", kept.from, kept.to, size(kept.bytes), kept.path.display());
    }
    for staged in &status.staged {
        let _ = writeln!(text, "staged       {}  {}", size(staged.bytes), staged.path.display());
    }
    text
}

fn size(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}
