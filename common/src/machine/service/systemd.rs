//! The server as a systemd unit. Only `systemctl` is talked to: its property output is stable.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::EXECUTABLES;
use crate::contract::error::{Error, Result};
use crate::machine::command::Cmd;
use crate::machine::files::{self, Access};

/// What `systemctl show` says of a unit, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`, ...
    pub load_state: String,
    /// `active`, `activating`, `deactivating`, `inactive`, `failed`.
    pub active_state: String,
    /// Main process, when there is one.
    pub main_pid: Option<i32>,
    /// `User=`.
    pub user: Option<String>,
    /// `Group=`.
    pub group: Option<String>,
    /// `SupplementaryGroups=`.
    pub further_groups: Vec<String>,
    /// `Environment=` of the unit and its drop-ins, as systemd writes it: words, quoted where need be.
    pub environment: String,
    /// `EnvironmentFile=`, in order; missing ones are no error where the flag is set.
    pub environment_files: Vec<(PathBuf, bool)>,
    /// The unit's file.
    pub fragment: Option<PathBuf>,
    /// Its drop-ins, in the order in which they apply.
    pub drop_ins: Vec<PathBuf>,
    /// `ExecStart=` as systemd writes it.
    pub exec_start: String,
    /// `WorkingDirectory=`.
    pub working_directory: Option<PathBuf>,
    /// The control group of its processes, while it has any.
    pub control_group: Option<String>,
}

const PROPERTIES: &str = "Id,LoadState,ActiveState,MainPID,User,Group,SupplementaryGroups,Environment,EnvironmentFiles,FragmentPath,DropInPaths,\
                          ExecStart,WorkingDirectory,ControlGroup";

/// Whether systemd runs this machine (`sd_booted(3)`).
pub fn is_here() -> bool {
    Path::new("/run/systemd/system").is_dir() && crate::machine::command::exists("systemctl")
}

/// The units whose `ExecStart` runs the server of the installation at `root`.
pub(super) fn find(root: &Path) -> Result<Vec<String>> {
    if !is_here() {
        return Ok(Vec::new());
    }
    // Unit files that are not loaded (disabled, stopped) are not matched by a pattern in `show`: their names come first.
    let list = systemctl().args(["list-unit-files", "--type=service", "--no-legend", "--no-pager", "--plain"]).run()?;
    let loaded =
        systemctl().args(["list-units", "--type=service", "--all", "--no-legend", "--no-pager", "--plain"]).run()?;
    let mut names: Vec<String> = [list.text(), loaded.text()]
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.split_ascii_whitespace().next())
        // A template has no instance that could be asked.
        .filter(|name| name.ends_with(".service") && !name.contains("@."))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Ok(names);
    }
    let shown = systemctl().args(["show", "--property=Id,ExecStart", "--"]).args(&names).run()?.text();
    let mut found: Vec<String> = blocks(&shown)
        .filter(|block| block.iter().any(|(key, value)| *key == "ExecStart" && runs_server_of(value, root)))
        .filter_map(|block| block.iter().find(|(key, _)| *key == "Id").map(|(_, id)| (*id).to_owned()))
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Asks systemd about a unit.
pub fn show(unit: &str) -> Result<Unit> {
    let output = systemctl().args(["show", &format!("--property={PROPERTIES}"), "--", unit]).run()?;
    let unit_shown = parse(&output.text());
    if unit_shown.load_state == "not-found" {
        return Err(Error::refused(format!("there is no systemd unit `{unit}`"))
            .hint("give its name with --service systemd:NAME"));
    }
    Ok(unit_shown)
}

pub(super) fn stop(unit: &str, limit: Duration) -> Result<()> {
    systemctl().args(["stop", "--", unit]).limit(limit).run().map(|_| ())
}

/// Before a stop: what the next start needs is in force already, as reading all units takes systemd part of a second. The
/// overrides of a private start stay as they are: nobody is to get in should the server restart now.
pub(super) fn make_ready(unit: &str) -> Result<()> {
    if is_private(unit)? { Ok(()) } else { place(unit, &[]) }
}

/// Orders the start and does not wait for `READY=1`: migrations come before it.
pub(super) fn start(unit: &str, overrides: &[(String, String)]) -> Result<()> {
    place(unit, overrides)?;
    // A unit that failed too often in a row is refused until its counter is reset.
    let _ = systemctl().args(["reset-failed", "--", unit]).output()?;
    systemctl().args(["start", "--no-block", "--", unit]).run().map(|_| ())
}

/// Puts the drop-in of a start there, and has systemd read it unless it has.
fn place(unit: &str, overrides: &[(String, String)]) -> Result<()> {
    let (drop_in, text) = (drop_in(unit), render(overrides));
    if read(&drop_in)?.is_some_and(|now| now == text) && is_loaded(unit, &drop_in)? {
        return Ok(());
    }
    files::create_directory(files::parent(&drop_in)?, 0o755)?;
    files::write(&drop_in, text.as_bytes(), Access::PUBLIC)?;
    reload()
}

/// Whether systemd goes by this drop-in, and by all files as they are now.
fn is_loaded(unit: &str, drop_in: &Path) -> Result<bool> {
    let output = systemctl().args(["show", "--property=NeedDaemonReload,DropInPaths", "--", unit]).run()?.text();
    let value = |key: &str| output.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let is_there =
        value("DropInPaths").is_some_and(|all| all.split_ascii_whitespace().any(|path| Path::new(path) == drop_in));
    Ok(is_there && value("NeedDaemonReload") == Some("no"))
}

fn read(drop_in: &Path) -> Result<Option<String>> {
    let there = files::look(drop_in)?;
    there.map(|_| files::read_text(drop_in, MOST)).transpose()
}

/// Whether the unit has the overrides of a private start.
fn is_private(unit: &str) -> Result<bool> {
    Ok(read(&drop_in(unit))?.is_some_and(|text| text.contains("Environment=")))
}

/// The start went well: the unit's own time limit applies again. The overrides of a private start stay in force.
pub(super) fn settle(unit: &str) -> Result<()> {
    let drop_in = drop_in(unit);
    if is_private(unit)? || files::look(&drop_in)?.is_none() {
        return Ok(());
    }
    files::remove_file(&drop_in)?;
    reload()
}

/// Makes systemd read changed unit files.
pub fn reload() -> Result<()> {
    systemctl().arg("daemon-reload").run().map(|_| ())
}

/// Larger than any drop-in of ours.
const MOST: u64 = 1024 * 1024;

/// Name of the drop-in of a start by these tools.
const DROP_IN: &str = "90-mm-tools.conf";

/// In /run, so that a reboot takes it away.
fn drop_in(unit: &str) -> PathBuf {
    Path::new("/run/systemd/system").join(format!("{unit}.d")).join(DROP_IN)
}

/// Whether a unit file is the drop-in of a start by these tools.
pub(crate) fn is_own_drop_in(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == DROP_IN)
}

/// A long migration runs before `READY=1`, within `TimeoutStartSec`: it must not be killed by it.
fn render(overrides: &[(String, String)]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("# Written by mm-tools for one start; removed by it, and by a reboot.\n[Service]\n");
    text.push_str("TimeoutStartSec=infinity\n");
    for (key, value) in overrides {
        let _ = writeln!(text, "{}", assignment(key, value));
    }
    text
}

/// A drop-in that gives the server this variable at every start.
pub(crate) fn drop_in_text(name: &str, value: &str) -> String {
    format!("# Written by mm-tools, instead of the unit of the package.\n[Service]\n{}\n", assignment(name, value))
}

fn assignment(name: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
    format!("Environment=\"{name}={value}\"")
}

fn systemctl() -> Cmd {
    Cmd::new("systemctl").arg("--no-ask-password")
}

/// The properties of several units, blank lines between them.
fn blocks(text: &str) -> impl Iterator<Item = Vec<(&str, &str)>> {
    text.split("\n\n").map(|block| block.lines().filter_map(|line| line.split_once('=')).collect())
}

fn parse(text: &str) -> Unit {
    let mut unit = Unit::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let path = || (!value.is_empty()).then(|| PathBuf::from(value));
        match key {
            "LoadState" => unit.load_state = value.into(),
            "ActiveState" => unit.active_state = value.into(),
            "MainPID" => unit.main_pid = value.parse().ok().filter(|pid| *pid > 0),
            "User" => unit.user = (!value.is_empty()).then(|| value.into()),
            "Group" => unit.group = (!value.is_empty()).then(|| value.into()),
            "SupplementaryGroups" => unit.further_groups = value.split_ascii_whitespace().map(str::to_owned).collect(),
            "Environment" => unit.environment = value.into(),
            "EnvironmentFiles" => {
                if let Some((path, flag)) = value.rsplit_once(" (ignore_errors=") {
                    unit.environment_files.push((path.into(), flag.starts_with("yes")));
                }
            }
            "FragmentPath" => unit.fragment = path(),
            "DropInPaths" => unit.drop_ins = value.split_ascii_whitespace().map(PathBuf::from).collect(),
            "ControlGroup" => unit.control_group = (!value.is_empty()).then(|| value.into()),
            "ExecStart" => unit.exec_start = value.into(),
            // `!` marks that a missing directory is no error.
            "WorkingDirectory" => unit.working_directory = path().map(|_| value.trim_start_matches('!').into()),
            _ => {}
        }
    }
    unit
}

/// Whether a command names the server's executable of this installation; `root` is resolved, the command may go
/// through a symlink.
pub(super) fn runs_server_of(command: &str, root: &Path) -> bool {
    let separator = |c: char| c.is_whitespace() || matches!(c, '=' | ';' | '"' | '\'' | '{' | '}');
    command.split(separator).filter(|word| word.starts_with('/')).map(Path::new).any(|word| {
        let named = word.file_name().is_some_and(|name| EXECUTABLES.iter().any(|known| name == *known));
        let bin = word.parent().filter(|bin| bin.file_name().is_some_and(|name| name == "bin"));
        let install = bin.and_then(Path::parent);
        named && install.is_some_and(|install| install == root || install.canonicalize().is_ok_and(|it| it == root))
    })
}

/// Whether the first program of an `ExecStart`, as systemd writes it, is the server's executable of this installation itself, and
/// not one that could run it as somebody else.
pub(crate) fn is_server_of(exec_start: &str, root: &Path) -> bool {
    let first = exec_start.split_once("path=").and_then(|(_, rest)| rest.split_ascii_whitespace().next());
    first.is_some_and(|path| runs_server_of(path, root))
}

#[cfg(test)]
mod tests {
    use super::*;

    // As systemd 252 prints it.
    const SHOWN: &str = "MainPID=812\nUser=mattermost\nGroup=www-data\nSupplementaryGroups=ssl-cert redis\nEnvironment=MM_A=1 \"MM_B=two words\"\n\
        EnvironmentFiles=/opt/mattermost/config/mattermost.environment (ignore_errors=yes)\n\
        EnvironmentFiles=/etc/default/mattermost (ignore_errors=no)\n\
        ExecStart={ path=/opt/mattermost/bin/mattermost ; argv[]=/opt/mattermost/bin/mattermost ; ignore_errors=no ; \
        start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\n\
        WorkingDirectory=/opt/mattermost\nControlGroup=/system.slice/mattermost.service\nId=mattermost.service\nLoadState=loaded\nActiveState=active\n\
        FragmentPath=/etc/systemd/system/mattermost.service\nDropInPaths=/etc/systemd/system/mattermost.service.d/a.conf\n";

    #[test]
    fn reads_what_systemctl_shows() {
        let unit = parse(SHOWN);
        assert_eq!(unit.main_pid, Some(812));
        assert!(is_server_of(&unit.exec_start, Path::new("/opt/mattermost")));
        assert!(!is_server_of(&unit.exec_start, Path::new("/opt/other")));
        let through = unit.exec_start.replacen("/opt/mattermost/bin/mattermost ;", "/usr/sbin/runuser ;", 1);
        assert!(!is_server_of(&through, Path::new("/opt/mattermost")), "{through}");
        assert_eq!(
            (unit.group.as_deref(), unit.further_groups.join("+").as_str()),
            (Some("www-data"), "ssl-cert+redis")
        );
        assert_eq!(unit.environment, "MM_A=1 \"MM_B=two words\"");
        assert_eq!(unit.environment_files[0], ("/opt/mattermost/config/mattermost.environment".into(), true));
        assert_eq!(unit.environment_files[1], ("/etc/default/mattermost".into(), false));
        assert_eq!(unit.drop_ins.len(), 1);
        assert_eq!(unit.control_group.as_deref(), Some("/system.slice/mattermost.service"));
    }

    #[test]
    fn finds_the_unit_that_runs_this_installation() {
        let unit = parse(SHOWN);
        assert!(runs_server_of(&unit.exec_start, Path::new("/opt/mattermost")));
        assert!(!runs_server_of(&unit.exec_start, Path::new("/opt/other")));
        assert!(runs_server_of("/bin/sh -c 'exec /srv/mm/bin/platform'", Path::new("/srv/mm")));
        assert!(!runs_server_of("/opt/mattermost/bin/mmctl", Path::new("/opt/mattermost")));
    }

    #[test]
    fn a_drop_in_survives_values_with_quotes_and_percent_signs() {
        let text = render(&[("MM_A".into(), "50% \"x\" \\".into())]);
        assert!(text.contains("Environment=\"MM_A=50%% \\\"x\\\" \\\\\"\n"), "{text}");
        assert!(text.contains("TimeoutStartSec=infinity"));
    }
}
