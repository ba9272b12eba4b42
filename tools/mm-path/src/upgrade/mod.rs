//! `--upgrade`: what mm-upgrade has to know, as lines that bash reads: the call, the run, the next hop with its commands, how the
//! server is. The script is flags, preflight, window, announcements and the loop; what it decides by comes from here.
//!
//! `mm-path --upgrade STEP [FILE...] -- WORDS` with the words that mm-upgrade was called with. Nothing is changed.

mod before;
mod called;
mod card;
mod commands;
mod earlier;
mod found;
mod later;
mod stages;

use std::fmt::Write as _;
use std::path::{Path as FilePath, PathBuf};

use clap::Parser;
use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::Path;
use mm_common::contract::{shell, ui};
use mm_common::machine::{files, signals};
use mm_common::run::{Arguments, Common, Format, Output, Session};
use serde_json::Value;

use self::called::Called;
use self::commands::Commands;

/// No document is larger.
const MOST: u64 = 64 * 1024 * 1024;

/// The command line; only mm-upgrade types it.
#[derive(Debug, Clone, Parser)]
#[command(name = "mm-path")]
pub(crate) struct UpgradeArguments {
    /// What is asked, and the documents that it is asked about
    #[arg(long = "upgrade", num_args = 1..=3, required = true, value_name = "STEP")]
    step: Vec<String>,
    /// The store of the host
    #[arg(long)]
    store: Option<PathBuf>,
    /// The words that mm-upgrade was called with
    #[arg(last = true)]
    words: Vec<String>,
    #[command(flatten)]
    common: Common,
}

impl Arguments for UpgradeArguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn format(&self) -> Format {
        // The answer is a text, whatever the format: nobody reads a document of a step that has failed.
        Format::Human
    }

    fn complete_without_document(&self) -> bool {
        true
    }

    fn reads_document(&self) -> bool {
        false
    }
}

/// A document in a file.
fn document(path: &FilePath) -> Result<Document> {
    Document::parse(&files::read(path, MOST)?, &format!("in `{}`", path.display()))
}

/// Lines that set variables of bash.
#[derive(Debug, Default)]
struct Answer(String);

impl Answer {
    fn set(&mut self, name: &str, value: impl AsRef<str>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name}={}", shell::quoted(value.as_ref()));
    }

    fn truth(&mut self, name: &str, value: bool) {
        self.set(name, if value { "true" } else { "false" });
    }

    fn list<T: AsRef<str>>(&mut self, name: &str, words: &[T]) {
        let words: Vec<_> = words.iter().map(|word| shell::quoted(word.as_ref())).collect();
        let _ = writeln!(self.0, "{name}=({})", words.join(" "));
    }
}

/// Carries it out.
///
/// # Errors
/// As the step that is requested.
pub(crate) fn act(session: &mut Session, arguments: &UpgradeArguments) -> Result<String> {
    let words = &arguments.words;
    let (step, files) = arguments.step.split_first().map_or(("", &[][..]), |(step, files)| (step.as_str(), files));
    let file = |at: usize| {
        let path = files.get(at).ok_or_else(|| Error::usage(format!("--upgrade {step} needs a file")))?;
        Ok::<_, Error>(PathBuf::from(path))
    };
    // What the host says where the words do not: the steps make the session look where those lead.
    let host = &arguments.common;
    // A step in between is no work to be stopped: mm-upgrade hears the signal as well, and ends its own work.
    let _whole = (!["find", "status"].contains(&step)).then(|| signals::finishing("this is answered first"));
    let mut answer = Answer::default();
    match step {
        "call" => before::call(session, arguments, &mut answer)?,
        "find" => later::find(session, host, words, &mut answer)?,
        "status" => return later::status(session, host, words),
        "rehearsal" => answer.0 = before::rehearsal(&file(0)?)?,
        "plan" => {
            let called = Called::of(words)?;
            answer.0 = found::with_call(document(&file(0)?)?, &called, words)?.to_json();
        }
        "planned" => before::planned(&file(0)?, &Called::of(words)?, &mut answer)?,
        "fetched" => before::fetched((session, host), (&file(0)?, &file(1)?), &Called::of(words)?, &mut answer)?,
        "findings" => {
            let of = |file: PathBuf| path_in(&document(&file)?);
            let before = file(1).ok().map(of).transpose()?;
            answer.list("findings", &card::findings(&of(file(0)?)?, before.as_ref(), before.is_none()));
        }
        "card" => {
            let (called, document) = (Called::of(words)?, document(&file(0)?)?);
            let commands = Commands::of(&called, called.install.as_deref());
            answer.list("lines", &card::lines(&document, &path_in(&document)?, &called, &commands)?);
        }
        "hop" => {
            let now = files.get(1).and_then(|now| called::minutes(now));
            stages::hop((session, host), &document(&file(0)?)?, &Called::of(words)?, now, &mut answer)?;
        }
        "end" => stages::end((session, host), files.first().map(String::as_str), &Called::of(words)?, &mut answer)?,
        "said" => said(&document(&file(0)?)?, &mut answer)?,
        _ => return Err(Error::usage(format!("--upgrade knows no step '{step}'")).hint("it is for mm-upgrade")),
    }
    session.output = Output::Text(answer.0);
    Ok(String::new())
}

fn path_in(document: &Document) -> Result<Path> {
    document.section("path")?.ok_or_else(|| {
        Error::new(Kind::BadDocument, "the document has no plan").hint("begin with mm-path --to VERSION")
    })
}

/// What a tool has said in the end: its line, as people may see it, whether it has changed something, and its exit code.
fn said(document: &Document, answer: &mut Answer) -> Result<()> {
    let message = document.get("msg").and_then(Value::as_str).unwrap_or_default();
    answer.set("message", ui::clean(message).replace(['\n', '\t'], " "));
    let is = |key: &str, value: bool| document.get(key).and_then(Value::as_bool) == Some(value);
    answer.truth("changed", is("changed", true));
    let code = document.failure()?.map_or(u8::from(!is("failed", false)), |failure| failure.code.max(1));
    answer.set("ended_with", code.to_string());
    Ok(())
}
