//! Writes man pages and shell completions of the six tools, as their own command lines describe them, and of the scripts,
//! as their `--help` does.
//!
//! `cargo run -p xtask` writes `man/*.1` and `completions/`; `cargo run -p xtask -- --check` only says whether they are
//! up to date (exit 1 when not). `cargo run -p xtask -- --sql` looks for names in our SQL that are not qualified, and `--commands`
//! for commands in our texts that would not run.

mod commands;
mod manual;
mod script;
mod sql;
mod values;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use mm_common::machine::command::Cmd;
use mm_common::machine::files;
use mm_common::{Context as _, Error, Result};

/// The scripts that compose the tools, and what each does in one line.
const SCRIPTS: [(&str, &str); 3] = [
    ("mm-upgrade", "The whole upgrade of a Mattermost server, hop by hop"),
    ("mm-rehearse", "The whole upgrade on a private copy of the server, made from a restore point"),
    ("mm-report", "What an upgrade did, for people"),
];

/// More than this is no man page.
const MOST: u64 = 16 * 1024 * 1024;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = match std::env::args().nth(1).as_deref() {
        None => pages().and_then(|pages| write(&root, &pages)),
        Some("--check") => pages().and_then(|pages| compare(&root, &pages)),
        Some("--sql") => sql::check(&root),
        Some("--commands") => tools().and_then(|tools| commands::check(&root, &tools)),
        Some(_) => {
            say("usage: cargo run -p xtask [-- --check|--sql|--commands]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("xtask: {}", error.one_line()));
            ExitCode::FAILURE
        }
    }
}

fn tools() -> Result<Vec<Command>> {
    let mut all = vec![
        mm_path::command(),
        mm_fetch::command(),
        mm_backup::command(),
        mm_pgbump::command(),
        mm_swap::command(),
        mm_verify::command(),
    ];
    for (name, summary) in SCRIPTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name);
        let help = Cmd::new("bash").arg(&path).arg("--help").run()?.text();
        all.push(script::command(name, summary, &help)?);
    }
    Ok(all)
}

/// The date of the newest section of CHANGELOG.md, `## VERSION (DATE)`: that of the pages, too.
fn released() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../CHANGELOG.md");
    let text = files::read_text(&path, MOST)?;
    let newest = text.lines().find_map(|line| line.strip_prefix("## ")?.strip_suffix(')')?.split_once(" ("));
    newest.map(|(_, date)| date.to_owned()).ok_or_else(|| Error::io("find a dated section in", &path, "there is none"))
}

/// Every file to be written, by its path in the workspace.
fn pages() -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let date = released()?;
    let mut pages = BTreeMap::new();
    for tool in tools()? {
        let name = tool.get_name().to_owned();
        let page = manual::page(&tool, &date).context(|| format!("cannot write the man page of {name}"))?;
        pages.insert(format!("man/{name}.1").into(), page);
        let mut tool = values::offered(tool)?;
        for (shell, file) in [
            (Shell::Bash, format!("completions/bash/{name}")),
            (Shell::Zsh, format!("completions/zsh/_{name}")),
            (Shell::Fish, format!("completions/fish/{name}.fish")),
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut tool, &name, &mut text);
            if shell == Shell::Bash {
                text = after_a_verb(&name, &String::from_utf8_lossy(&text)).into_bytes();
            }
            let text = values::asked(&name, shell, &String::from_utf8_lossy(&text)).into_bytes();
            pages.insert(file.into(), text);
        }
    }
    let mut schema = mm_common::contract::schema::json().context(|| "cannot write the schema".into())?;
    schema.push('\n');
    pages.insert("man/mm-document.schema.json".into(), schema.into_bytes());
    Ok(pages)
}

/// `clap_complete` writes the hyphen of a name and the step to a subcommand in two ways, depending on the place: what is looked
/// for after a verb would never be found. The name is written in one way here.
fn after_a_verb(name: &str, bash: &str) -> String {
    bash.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

fn write(root: &Path, pages: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for (name, text) in pages {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            files::create_directory(parent, 0o755)?;
        }
        files::write(&path, text, files::Access::PUBLIC)?;
    }
    Ok(())
}

fn compare(root: &Path, pages: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let stale: Vec<String> = pages
        .iter()
        .filter(|(name, text)| files::read(&root.join(name), MOST).ok().as_ref() != Some(*text))
        .map(|(name, _)| name.display().to_string())
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("not what the tools say of themselves: {}", stale.join(", ")))
        .because("run: cargo run -p xtask"))
}

fn say(line: &str) {
    // Nobody is there to be told if stderr is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
