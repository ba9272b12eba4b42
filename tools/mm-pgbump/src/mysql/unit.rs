//! Units of MySQL that the server's own unit names: it would go on starting and stopping with them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mm_common::contract::ui;
use mm_common::machine::command::Cmd;
use mm_common::machine::files;
use mm_common::machine::service::systemd;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::cluster;
use mm_common::{Error, Result};

use crate::moving::target::Target;
use crate::moving::unit_file::{UnitFile, place_of};
use crate::preflight::Seen;

/// What binds a unit to another, the order of starts included.
const BONDS: [&str; 6] = ["BindsTo", "Requires", "Requisite", "PartOf", "Wants", "After"];

/// Larger than any unit.
const MOST: u64 = 1 << 20;

/// The unit of all clusters of postgresql-common.
const POSTGRESQL: &str = "postgresql.service";

/// Looks for them. They are a matter of after the move; `changes` is `--unit`.
pub(crate) fn look(installation: &Installation, target: &Target, changes: bool) -> Seen {
    let Some(unit) = installation.service.manager.unit() else {
        return Seen::pass("systemd does not run the server");
    };
    let shown = match shown(unit) {
        Ok(shown) => shown,
        // It stands in the way of nothing.
        Err(error) => return Seen::warn(error.one_line(), format!("look at what {unit} names yourself")),
    };
    let found = bonds(&shown);
    if changes && !found.is_empty() {
        return match plan(unit, target) {
            Ok(Plan { stays, .. }) if stays.is_empty() => {
                Seen::pass(format!("{unit} has {}, which the move changes (--unit)", found.join(", ")))
            }
            Ok(Plan { changed: files, stays }) => {
                let places: Vec<_> = files.iter().map(|file| file.path.display().to_string()).collect();
                let places = if places.is_empty() { "nothing".to_owned() } else { places.join(", ") };
                Seen::warn(
                    format!(
                        "of what binds {unit} to MySQL, {} stays; the move changes {places} (--unit)",
                        stays.join(", ")
                    ),
                    format!(
                        "after the move, remove it yourself: a link in {unit}.requires or {unit}.wants, or what the other unit says of this one; then: systemctl daemon-reload"
                    ),
                )
            }
            Err(error) => Seen::fail(error.one_line(), error.next_step().unwrap_or("leave out --unit").to_owned()),
        };
    }
    Seen::list(
        &found,
        &format!("{unit} names none"),
        Seen::warn,
        "--unit lets the move change that, and rollback gives it back",
    )
}

fn shown(unit: &str) -> Result<String> {
    let property = format!("--property={}", BONDS.join(","));
    Ok(Cmd::new("systemctl").args(["show", &property, "--", unit]).run()?.text())
}

/// The files of the unit as they are to be after the move: the units of MySQL are not named any more; where the target is a
/// cluster of this machine, its unit stands in their place. No drop-in could do that: systemd reads dependencies in those as
/// additions.
///
/// # Errors
/// When systemd cannot be asked or a file cannot be read. Refused when one cannot be changed.
pub(crate) fn files(installation: &Installation, target: &Target) -> Result<Vec<UnitFile>> {
    let Some(unit) = installation.service.manager.unit() else { return Ok(Vec::new()) };
    let Plan { changed, stays } = plan(unit, target)?;
    if !stays.is_empty() {
        ui::warn(&format!("of what binds {unit} to MySQL, this stays: {}", stays.join(", ")));
    }
    Ok(changed)
}

/// What is done about what binds the unit.
#[derive(Default)]
struct Plan {
    /// Files that are changed.
    changed: Vec<UnitFile>,
    /// What no change of a file of the unit takes away: bonds, and links.
    stays: Vec<String>,
}

fn plan(unit: &str, target: &Target) -> Result<Plan> {
    let bonds = bonds(&shown(unit)?);
    if bonds.is_empty() {
        return Ok(Plan::default());
    }
    let instead = cluster::of_database(&target.front)?.map(|_| POSTGRESQL);
    let shown = systemd::show(unit)?;
    let all = shown.fragment.into_iter().map(|path| (path, false));
    let (mut changed, mut named) = (Vec::new(), BTreeSet::new());
    for (path, is_drop_in) in all.chain(shown.drop_ins.into_iter().map(|path| (path, true))) {
        let real = path.canonicalize().map_err(|error| Error::io("read", &path, error))?;
        let text = files::read_text(&real, MOST)?;
        let after = without(&text, instead);
        if after == text {
            continue;
        }
        named.extend(named_in(&text));
        let place = place_of(&path, is_drop_in);
        require_free(&place, &path, &real)?;
        let before = (place == path).then_some(text);
        changed.push(UnitFile { path: place, before, after });
    }
    // systemd may show another name of the same unit than a file has.
    let mut stays: Vec<String> =
        bonds.into_iter().filter(|bond| !named.contains(bond.split('=').next().unwrap_or_default())).collect();
    stays.extend(links(unit)?.into_iter().map(|link| link.display().to_string()));
    Ok(Plan { changed, stays })
}

/// A file is changed that is one itself, or takes the place of one elsewhere where there is nothing: what `systemctl link` has put
/// there is somebody else's.
fn require_free(place: &Path, path: &Path, real: &Path) -> Result<()> {
    let is_free = match files::look(place)? {
        None => true,
        Some(there) => place == path && there.is_file(),
    };
    if is_free {
        return Ok(());
    }
    Err(Error::refused(format!("cannot change `{}`", place.display()))
        .because("it is a link, or not what systemd reads, and not changed by anybody but you")
        .hint(format!(
            "take what names MySQL out of `{}` after the move yourself, and leave out --unit",
            real.display()
        )))
}

/// Links to units of MySQL that bind the unit without any file of it.
fn links(unit: &str) -> Result<Vec<PathBuf>> {
    let places = Cmd::new("systemctl").args(["show", "--property=UnitPath"]).run()?.text();
    let places = places.trim().strip_prefix("UnitPath=").unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for place in places.split_whitespace() {
        for directory in ["requires", "wants"].map(|how| Path::new(place).join(format!("{unit}.{how}"))) {
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            found.extend(entries.flatten().filter(|entry| is_of_mysql(&entry.file_name().to_string_lossy())));
        }
    }
    Ok(found.iter().map(std::fs::DirEntry::path).collect())
}

/// The text of a unit's file in which no unit of MySQL is named.
fn without(text: &str, instead: Option<&str>) -> String {
    lines(text).into_iter().map(|line| changed(&line, instead).unwrap_or(line)).collect()
}

/// The bonds to units of MySQL that a unit's file names.
fn named_in(text: &str) -> Vec<String> {
    let bound = lines(text).into_iter().filter(|line| changed(line, None).is_some());
    bound.filter_map(|line| line.split_once('=').map(|(key, _)| key.trim().to_owned())).collect()
}

/// The lines of a unit's file, each with those that continue it.
fn lines(text: &str) -> Vec<String> {
    let (mut all, mut lines) = (Vec::new(), text.split_inclusive('\n'));
    while let Some(first) = lines.next() {
        let mut whole = first.to_owned();
        let is_comment = first.trim_start().starts_with(['#', ';']);
        while !is_comment && whole.trim_end_matches(['\r', '\n']).ends_with('\\') {
            let Some(next) = lines.next() else { break };
            whole.push_str(next);
        }
        all.push(whole);
    }
    all
}

/// A line, with those that continue it, as it is to be; `None` where it stays.
fn changed(line: &str, instead: Option<&str>) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    if !BONDS.contains(&key.trim()) {
        return None;
    }
    let value = value.replace("\\\r\n", " ").replace("\\\n", " ");
    let units: Vec<&str> = value.split_whitespace().collect();
    if !units.iter().any(|unit| is_of_mysql(unit)) {
        return None;
    }
    let mut left: Vec<&str> = units.iter().copied().filter(|unit| !is_of_mysql(unit)).collect();
    left.extend(instead.filter(|instead| !units.contains(instead)));
    // A line without a value would mean something else.
    Some(if left.is_empty() { String::new() } else { format!("{}={}\n", key.trim(), left.join(" ")) })
}

/// `Requires=mysql.service`, of the lines that `systemctl show` prints.
fn bonds(shown: &str) -> Vec<String> {
    let lines = shown.lines().filter_map(|line| line.split_once('='));
    let each = lines.flat_map(|(bond, units)| units.split_whitespace().map(move |unit| (bond, unit)));
    each.filter(|(_, unit)| is_of_mysql(unit)).map(|(bond, unit)| format!("{bond}={unit}")).collect()
}

/// `mysql`, `mysqld`, `mariadb`, or one of several of them (`mariadb@main`).
fn is_of_mysql(unit: &str) -> bool {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    let name = name.split('@').next().unwrap_or(name);
    matches!(name, "mysql" | "mysqld" | "mariadb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_unit_names_of_mysql_is_found() {
        let shown = "Requires=system.slice sysinit.target\nRequisite=\nWants=network-online.target\nBindsTo=mysql.service\nPartOf=\n\
                     After=mariadb@main.service network.target mysql.service mysql-exporter.service\n";
        assert_eq!(bonds(shown), ["BindsTo=mysql.service", "After=mariadb@main.service", "After=mysql.service"]);
        assert!(bonds("After=postgresql.service\nBindsTo=\n").is_empty());
    }

    #[test]
    fn nothing_but_units_of_mysql_goes_out_of_a_file() {
        let text = "[Unit]\n# After=mysql.service\nDescription=After=mysql.service\nBindsTo=mysql.service\n\
                    After = network.target \\\n  mysql.service \\\n  syslog.target\nWants=mysql-exporter.service\n\n[Service]\nExecStart=/x \\\n  -y\n";
        let rest = "Wants=mysql-exporter.service\n\n[Service]\nExecStart=/x \\\n  -y\n";
        let begin = "[Unit]\n# After=mysql.service\nDescription=After=mysql.service\n";
        assert_eq!(without(text, None), format!("{begin}After=network.target syslog.target\n{rest}"));
        let own = "BindsTo=postgresql.service\nAfter=network.target syslog.target postgresql.service\n";
        assert_eq!(without(text, Some(POSTGRESQL)), format!("{begin}{own}{rest}"));
        assert_eq!(without("[Unit]\nAfter=network.target\n", Some(POSTGRESQL)), "[Unit]\nAfter=network.target\n");
        assert_eq!(named_in(text), ["BindsTo", "After"]);
    }
}
