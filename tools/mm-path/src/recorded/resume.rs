//! `--resume`: what is still to be done of a run, from what its documents say and what is installed.

use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::{DatabaseNow, Hop, Path};
use mm_common::contract::shell;
use mm_common::contract::version::Edition;
use mm_common::machine::door;
use mm_common::machine::journal::state_flag;
use mm_common::machine::runs::Ending;
use mm_common::machine::story::Story;
use mm_common::mattermost::way_back;
use mm_common::run::Session;
use semver::Version;

use super::Standing;
use crate::arguments::PathArguments;
use crate::fold;

/// What is installed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Installed<'a> {
    pub(crate) version: &'a Version,
    pub(crate) edition: Edition,
    /// What the hop asks of the database.
    pub(crate) database: DatabaseNow,
}

/// How a run goes on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// The hop is done: it is in place, and was verified.
    Finished(Box<Hop>),
    /// It is in place and was not verified: it is given once more, and its tools find nothing to do but that.
    Again(Box<Hop>),
    /// It is planned from what is installed: the hop was not carried out, or there is none.
    Afresh,
}

/// Decides it; pure.
pub(crate) fn decide(base: &Document, installed: Installed<'_>) -> Result<Decision> {
    let path: Option<Path> = base.section("path")?;
    let Some(hop) = path.and_then(|path| path.next) else { return Ok(Decision::Afresh) };
    if !hop.is_in_place((installed.version, installed.edition), installed.database) {
        return Ok(Decision::Afresh);
    }
    // It is there in the document of mm-verify alone, and that one has not failed.
    Ok(if base.get("verify").is_some() { Decision::Finished(Box::new(hop)) } else { Decision::Again(Box::new(hop)) })
}

/// Puts the document of the run into the session, to be planned on from there. Returns the message when it is to be given as
/// it is.
///
/// # Errors
/// Refused (exit 5) when something is open that comes first, with the command that ends it, or when the run has ended;
/// `locked` (exit 75) while a tool works.
pub(crate) fn resume(session: &mut Session, arguments: &PathArguments) -> Result<Option<String>> {
    let standing = Standing::find(session, arguments.run.as_deref())?;
    refuse(&standing)?;
    let Story { base, .. } = Story::read(&standing.run)?;
    session.document = base;
    session.document.remove("changed");
    session.had_document = true;
    let installation = session.probe()?;
    let site = installation.section();
    session.document.set("site", &site)?;
    let path: Option<Path> = session.document.section("path")?;
    let database = match path.and_then(|path| path.next).filter(Hop::is_of_database_alone) {
        Some(hop) => way_back::database_for(&hop, &installation)?,
        None => DatabaseNow { major: site.database.major, is_moved: false },
    };
    let installed = Installed { version: &installation.version, edition: installation.edition, database };
    match decide(&session.document, installed)? {
        Decision::Again(hop) => {
            return Ok(Some(format!("the hop {} is in place and not verified: it is given once more", hop.in_words())));
        }
        Decision::Finished(_) => {}
        Decision::Afresh => {
            fold::forget_hop(&mut session.document)?;
            let is_moved = |hop: &Hop| way_back::database_for(hop, &installation).map(|database| database.is_moved);
            let release = (installed.version, installed.edition);
            fold::keep_what_is_true(&mut session.document, release, is_moved)?;
        }
    }
    Ok(None)
}

fn refuse(standing: &Standing) -> Result<()> {
    let Standing { root, state, run, .. } = standing;
    if let Some(holder) = standing.holder() {
        return Err(Error::new(Kind::Locked, format!("{} works on it at this moment", holder.tool))
            .because(holder.in_words())
            .hint(format!(
                "to see how far it is: mm-path --status --install {}{}",
                shell::word(root),
                state_flag(state.path())
            )));
    }
    door::refuse_open(state, root, &[])?;
    match run.end()?.map(|end| end.ending) {
        None => Ok(()),
        Some(Ending::RollingBack) => {
            Err(Error::refused(format!("the run {} was being taken back when that was cut off", run.id)).hint(format!(
                "mm-backup restore --run {} --stop --install {}{}",
                run.id,
                shell::word(root),
                state_flag(state.path())
            )))
        }
        Some(ending) => {
            let ended = if ending == Ending::Closed { "closed" } else { "rolled back" };
            Err(Error::refused(format!("the run {} has been {ended}", run.id))
                .hint("begin anew: mm-path --to VERSION, or mm-upgrade run --to VERSION"))
        }
    }
}

#[cfg(test)]
mod tests {
    use mm_common::mattermost::catalogue::Catalogue;
    use serde_json::json;

    use super::*;
    use crate::plan::{Start, plan};
    use crate::wish::{Policy, Wish};

    fn document(sections: &[&str]) -> Document {
        let (to, policy) = ("10.6.1".parse().unwrap(), Policy::Esr);
        let wish = Wish { to, policy, via: Vec::new(), avoid: Vec::new(), postgres: None, edition: None };
        let start = Start::on_paper(Version::new(9, 11, 18), Edition::Team);
        let mut document = Document::default();
        document.set("path", &plan(&Catalogue::embedded().unwrap(), &start, &wish).unwrap().path).unwrap();
        for section in sections {
            document.set(section, &json!({})).unwrap();
        }
        document
    }

    fn name(base: &Document, version: &Version, edition: Edition, major: Option<u32>) -> &'static str {
        let database = DatabaseNow { major, is_moved: false };
        match decide(base, Installed { version, edition, database }).unwrap() {
            Decision::Finished(_) => "finished",
            Decision::Again(_) => "again",
            Decision::Afresh => "afresh",
        }
    }

    #[test]
    fn a_hop_is_finished_when_it_is_in_place_and_verified() {
        let next = Version::new(10, 5, 14);
        let team = |sections: &[&str], version: &Version| name(&document(sections), version, Edition::Team, None);
        assert_eq!(team(&["fetch", "backup", "pgbump", "swap", "verify"], &next), "finished");
        assert_eq!(team(&["fetch", "backup", "pgbump", "swap"], &next), "again");
        assert_eq!(team(&[], &next), "again", "the swap could not report");
        assert_eq!(team(&["fetch", "backup"], &Version::new(9, 11, 18)), "afresh");
        assert_eq!(
            team(&["fetch", "backup", "pgbump", "swap", "verify"], &Version::new(9, 11, 18)),
            "afresh",
            "went back"
        );
        assert_eq!(name(&document(&["swap"]), &next, Edition::Enterprise, None), "afresh");
    }

    #[test]
    fn a_hop_with_an_upgrade_of_postgresql_is_in_place_with_that_alone() {
        let mut base = document(&["swap", "verify"]);
        let mut path: Path = base.section("path").unwrap().unwrap();
        path.next.as_mut().unwrap().needs.postgres = Some(15);
        base.set("path", &path).unwrap();
        let with = |major| name(&base, &Version::new(10, 5, 14), Edition::Team, major);
        assert_eq!(
            (with(Some(13)), with(Some(15)), with(Some(16)), with(None)),
            ("afresh", "finished", "finished", "finished")
        );
    }

    #[test]
    fn a_hop_of_the_database_alone_is_in_place_when_that_has_moved() {
        let mut base = document(&[]);
        let mut path: Path = base.section("path").unwrap().unwrap();
        let hop = path.next.as_mut().unwrap();
        (hop.to, hop.changes) = (hop.from.clone(), vec!["database".into()]);
        base.set("path", &path).unwrap();
        let version = Version::new(9, 11, 18);
        let with = |base: &Document, is_moved| {
            let database = DatabaseNow { major: Some(15), is_moved };
            decide(base, Installed { version: &version, edition: Edition::Team, database }).unwrap()
        };
        assert_eq!(with(&base, false), Decision::Afresh, "the release is the same before it began");
        assert!(matches!(with(&base, true), Decision::Again(_)));
        base.set("verify", &json!({})).unwrap();
        assert!(matches!(with(&base, true), Decision::Finished(_)));
    }

    #[test]
    fn nothing_is_left_of_a_run_that_has_arrived() {
        let mut base = document(&[]);
        let mut path: Path = base.section("path").unwrap().unwrap();
        path.next = None;
        base.set("path", &path).unwrap();
        assert_eq!(name(&base, &Version::new(10, 6, 1), Edition::Team, None), "afresh");
    }
}
