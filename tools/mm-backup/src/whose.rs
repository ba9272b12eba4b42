//! Whose restore points are meant: a store may hold those of several installations, also of the same directory on several
//! machines. What chooses by age means those of the installation that it works for.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::{shell, ui};
use mm_common::machine::host::{self, Host};
use mm_common::run::Session;

use crate::manifest::Head;
use crate::store::{Point, Store};
use crate::target;

/// The check that `--accept` lets through: a restore point of another machine restored over what is installed here.
pub(crate) const ACCEPT: &str = "other-host";

/// The installations that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whose {
    /// The one at this place; all of this machine's where no flag names one.
    install: Option<PathBuf>,
    /// This machine, where it can be told from others.
    host: Option<Host>,
}

impl Whose {
    /// Of the installation that the flags name, or of every one of this machine.
    pub(crate) fn of(session: &Session) -> Result<Self> {
        Ok(Self { install: target::asked_root(session)?, host: host::this() })
    }

    /// Of the one at `install`.
    pub(crate) fn at(install: &Path) -> Self {
        Self { install: Some(install.into()), host: host::this() }
    }

    /// Whether a restore point is one of them. Those of earlier releases do not say of which machine they are.
    pub(crate) fn has(&self, head: &Head) -> bool {
        self.is_of_place(head) && !self.is_of_other_host(head)
    }

    /// Whether it may be removed as one of them: where this machine cannot be told from others, one that names its own is not.
    pub(crate) fn may_remove(&self, head: &Head) -> bool {
        self.has(head) && (self.host.is_some() || head.host.is_none())
    }

    /// Whether it was made on another machine.
    pub(crate) fn is_of_other_host(&self, head: &Head) -> bool {
        head.host.as_ref().zip(self.host.as_ref()).is_some_and(|(made, here)| made.id != here.id)
    }

    fn is_of_place(&self, head: &Head) -> bool {
        self.install.as_ref().is_none_or(|install| head.install == *install)
    }

    /// Those that are meant, oldest first. Where there are none, those of other machines whose place is free here: this may be
    /// the machine that the store is on, or one that takes the place of theirs.
    pub(crate) fn among(&self, points: Vec<Point>) -> Vec<Point> {
        let (own, mut others) = self.divided(points);
        if !own.is_empty() {
            return own;
        }
        others.retain(|point| !is_installed(&point.head));
        others
    }

    /// Those that are meant, and those of other machines at the same place, oldest first. Those that do not say of which machine
    /// they are, are this one's where it has made others there, or nobody has made newer ones: else they may be those of before
    /// of the machine that has.
    pub(crate) fn divided(&self, points: Vec<Point>) -> (Vec<Point>, Vec<Point>) {
        let of_place: Vec<Point> = points.into_iter().filter(|point| self.is_of_place(&point.head)).collect();
        let doubtful: Vec<PathBuf> = of_place
            .iter()
            .filter(|point| point.head.host.is_none() && !self.is_owner(&of_place, &point.head.install))
            .map(|point| point.head.install.clone())
            .collect();
        let is_other =
            |head: &Head| self.is_of_other_host(head) || (head.host.is_none() && doubtful.contains(&head.install));
        let (mut others, own): (Vec<Point>, Vec<Point>) = of_place.into_iter().partition(|point| is_other(&point.head));
        // Each machine counts by itself.
        others.sort_by(|a, b| age(a).cmp(&age(b)));
        (own, others)
    }

    /// Whether those at `install` that name no machine are this one's.
    fn is_owner(&self, points: &[Point], install: &Path) -> bool {
        let there = || points.iter().filter(|point| point.head.install == *install);
        let newest = |of_others: bool| {
            let of_kind = there().filter(|point| match point.head.host {
                Some(_) => of_others && self.is_of_other_host(&point.head),
                None => !of_others,
            });
            of_kind.map(age).max()
        };
        let has_own = there().any(|point| point.head.host.is_some() && !self.is_of_other_host(&point.head));
        has_own || newest(true) <= newest(false)
    }

    /// The one that is to be read: the one with this identifier; `latest` is the newest of those that are meant, or of those of
    /// other places where there are none.
    ///
    /// # Errors
    /// Refused when there is none.
    pub(crate) fn to_read(&self, store: &Store, id: &str) -> Result<Point> {
        if id != "latest" {
            return store.find(id);
        }
        let points = store.list()?.0;
        let anywhere = Self { install: None, host: self.host.clone() };
        let newest = self.among(points.clone()).pop().or_else(|| anywhere.divided(points.clone()).0.pop());
        match newest {
            Some(newest) => {
                self.tell(&newest);
                Ok(newest)
            }
            None => Err(refusal(store, &newest_of_each(points), None)),
        }
    }

    /// The one that is to be restored into place, which is requested with these words: the verb, and its flags. The newest of
    /// another machine is taken only where no other one could be meant, and where nothing is installed in its place, or with
    /// `--accept other-host`.
    ///
    /// # Errors
    /// Refused when there is none that can be taken.
    pub(crate) fn to_restore(
        &self,
        store: &Store,
        id: &str,
        accepted: &dyn Fn(&Head) -> Result<bool>,
        asked: (&str, &str),
    ) -> Result<Point> {
        if id != "latest" {
            return store.find(id);
        }
        let points = store.list()?.0;
        let (mut own, others) = self.divided(points.clone());
        if let Some(newest) = own.pop() {
            return Ok(newest);
        }
        if others.is_empty() {
            // Those of another place do not go into this one.
            return Err(refusal(store, &newest_of_each(points), None));
        }
        let mut others = newest_of_each(others);
        let is_taken = match others.as_slice() {
            [only] => !is_installed(&only.head) || accepted(&only.head)?,
            _ => false,
        };
        match others.pop() {
            Some(newest) if is_taken => {
                self.tell(&newest);
                Ok(newest)
            }
            newest => {
                others.extend(newest);
                Err(refusal(store, &others, Some(asked)))
            }
        }
    }

    /// Says of one that was chosen by age whose it is.
    fn tell(&self, newest: &Point) {
        if !self.has(&newest.head) {
            ui::say(&format!("the newest restore point is {}, of {}", newest.head.id, place(&newest.head)));
        }
    }

    /// Refuses to put a restore point of another machine over what is installed here.
    ///
    /// # Errors
    /// Refused, unless `accepted`.
    pub(crate) fn require(&self, point: &Point, accepted: bool) -> Result<()> {
        if !self.is_of_other_host(&point.head) || !is_installed(&point.head) {
            return Ok(());
        }
        let (id, place) = (&point.head.id, place(&point.head));
        if accepted {
            ui::warn(&format!("the restore point {id} is of {place}"));
            return Ok(());
        }
        Err(Error::refused(format!("the restore point {id} is not one of this machine"))
            .because(format!("it is of {place}, and what is installed here would be replaced"))
            .hint(format!("where that is what you want, as after a move to this machine, add --accept {ACCEPT}; --into DIR restores it elsewhere")))
    }
}

/// By what the restore points of several machines are compared.
fn age(point: &Point) -> (&str, &str) {
    (&point.head.created, &point.head.id)
}

/// Whether something is installed here where a restore point would go.
fn is_installed(head: &Head) -> bool {
    head.install.join("bin/mattermost").exists()
}

/// What a restore point is of, for people.
pub(crate) fn place(head: &Head) -> String {
    let install = head.install.display();
    match &head.host {
        Some(host) if !host.name.is_empty() => format!("`{install}` on {}", host.name),
        Some(_) => format!("`{install}` on another machine"),
        None => format!("`{install}`"),
    }
}

/// The newest one of each installation, in the order of `points`.
fn newest_of_each(points: Vec<Point>) -> Vec<Point> {
    let of = |point: &Point| (point.head.install.clone(), point.head.host.as_ref().map(|host| host.id.clone()));
    let mut each: Vec<Point> = Vec::new();
    for point in points {
        each.retain(|other| of(other) != of(&point));
        each.push(point);
    }
    each
}

/// There is none that is meant, but others may be.
fn refusal(store: &Store, others: &[Point], asked: Option<(&str, &str)>) -> Error {
    let shown = store.path.display();
    let Some(newest) = others.last() else {
        return Error::refused(format!("there is no restore point in `{shown}`")).hint("make one: mm-backup create");
    };
    let error = Error::refused(format!("there is no restore point of this installation in `{shown}`"));
    let error = others.iter().fold(error, |error, other| {
        error.because(format!("the newest of {} is {}", place(&other.head), other.head.id))
    });
    let store = shell::word(&store.path);
    error.hint(match asked {
        None => format!("name the one that is meant; mm-backup list --to {store} shows them"),
        Some((verb, flags)) => {
            let accept = if is_installed(&newest.head) { format!(" --accept {ACCEPT}") } else { String::new() };
            format!("if that is the one: mm-backup {verb} {}{flags} --to {store}{accept}", newest.head.id)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(id: &str, install: &str, host: Option<&str>) -> Point {
        let manifest = serde_json::json!({
            "schema": "mm.backup/1", "id": id, "sequence": 1, "created": format!("2026-11-{id}T03:00:00Z"), "tool": "1",
            "install": install, "host": host.map(|host| Host { id: host.into(), name: format!("chat-{host}") }),
            "version": "10.5.14", "edition": "team", "cold": true, "roots": [],
            "totals": { "files": 0, "bytes": 0, "linked": 0, "added": 0, "seconds": 0.0 },
        });
        Point { path: PathBuf::from("/srv/backup").join(id), head: serde_json::from_value(manifest).unwrap() }
    }

    fn whose(install: Option<&str>, host: Option<&str>) -> Whose {
        let host = host.map(|host| Host { id: host.into(), name: String::new() });
        Whose { install: install.map(Into::into), host }
    }

    fn ids(points: &[Point]) -> Vec<&str> {
        points.iter().map(|point| point.head.id.as_str()).collect()
    }

    #[test]
    fn those_of_another_machine_are_not_meant_while_there_are_own_ones() {
        let (here, there) = ("/nowhere/mattermost", "/nowhere/other");
        let points = vec![
            point("01", here, None),
            point("02", here, Some("a")),
            point("03", here, Some("b")),
            point("04", there, Some("a")),
        ];
        let among = |whose: Whose| ids(&whose.among(points.clone())).join(" ");
        // One of an earlier release is of the machine that has made others there.
        assert_eq!(among(whose(Some(here), Some("a"))), "01 02");
        assert_eq!(among(whose(None, Some("a"))), "01 02 04");
        // Of a machine that has made none it is where nobody else's are newer: else the newest would be an old state.
        assert_eq!(among(whose(Some(here), Some("c"))), "01 02 03");
        let (own, others) = whose(Some(here), Some("c")).divided(points.clone());
        assert_eq!((ids(&own).join(" "), ids(&newest_of_each(others)).join(" ")), (String::new(), "01 02 03".into()));
        let mut later = points.clone();
        later.push(point("05", here, None));
        let (own, others) = whose(Some(here), Some("c")).divided(later);
        assert_eq!((ids(&own).join(" "), ids(&others).join(" ")), ("01 05".into(), "02 03".into()));
        assert_eq!(among(whose(Some(there), Some("b"))), "04", "nothing is installed there");
        // A machine without an identifier cannot be told from another.
        assert_eq!(among(whose(Some(here), None)), "01 02 03");
        // But what it removes has to be its own.
        let removed =
            |whose: Whose| -> Vec<bool> { points.iter().map(|point| whose.may_remove(&point.head)).collect() };
        assert_eq!(removed(whose(Some(here), None)), [true, false, false, false]);
        assert_eq!(removed(whose(Some(here), Some("a"))), [true, true, false, false]);
        let newest = newest_of_each(points[1..].to_vec());
        assert_eq!(ids(&newest), ["02", "03", "04"]);
        assert_eq!(place(&newest[1].head), "`/nowhere/mattermost` on chat-b");
    }

    #[test]
    fn another_machines_is_refused_where_something_is_installed() {
        let root = tempfile::tempdir().unwrap();
        let install = root.path().to_str().unwrap();
        let (own, other) = (point("01", install, Some("a")), point("02", install, Some("b")));
        let whose = whose(Some(install), Some("a"));
        whose.require(&other, false).unwrap();
        assert_eq!(ids(&whose.among(vec![other.clone()])), ["02"]);
        std::fs::create_dir(root.path().join("bin")).unwrap();
        std::fs::File::create(root.path().join("bin/mattermost")).unwrap();
        assert_eq!(whose.require(&other, false).unwrap_err().code(), 5);
        whose.require(&other, true).unwrap();
        whose.require(&own, false).unwrap();
        assert!(whose.among(vec![other]).is_empty());
    }
}
