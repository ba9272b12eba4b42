//! Which processes are a unit's: systemd keeps them in a control group, which nobody but root can put a process into.

use super::process::Process;

/// More generations than any unit has.
const GENERATIONS: usize = 64;

/// Whether a process, or one that it comes from, is in the control group of a unit, or is what systemd calls the unit's main
/// process (`main`). What `su`, `sudo` or `PAMName=` of a unit start is moved into a session of its own where PAM makes one,
/// `su` itself with it (`pam_systemd`(8)); it is the unit's all the same.
pub(super) fn comes_from(process: Process, group: Option<&str>, main: Option<i32>) -> bool {
    let first = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let mut pid = process.pid;
    for _ in 0..GENERATIONS {
        let own = || std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
        if main == Some(pid) || group.is_some_and(|group| own().is_ok_and(|text| is_in(&text, group, &first))) {
            return true;
        }
        match parent(pid) {
            Some(above) if above > 1 => pid = above,
            _ => return false,
        }
    }
    false
}

/// Whether a /proc/PID/cgroup (cgroups(7)) names the group or one below it, in the hierarchy that systemd keeps. In a
/// container systemd may see its own group as the root, where this process does not: `first` is that of process 1.
fn is_in(text: &str, group: &str, first: &str) -> bool {
    let group = group.trim_end_matches('/');
    let is_below =
        |path: &str, above: &str| path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    hierarchies(text).any(|(kind, path)| {
        let own =
            hierarchies(first).find(|(other, _)| *other == kind).and_then(|(_, path)| path.strip_suffix("/init.scope"));
        is_below(path, group) || own.is_some_and(|own| is_below(path, &format!("{own}{group}")))
    })
}

fn hierarchies(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    lines.filter(|(kind, _)| matches!(*kind, "" | "name=systemd"))
}

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_that_of_the_unit_or_one_below_it() {
        let group = "/system.slice/mattermost.service";
        for (text, expected) in [
            ("0::/system.slice/mattermost.service\n", true),
            ("0::/system.slice/mattermost.service/sub\n", true),
            ("12:cpu:/\n1:name=systemd:/system.slice/mattermost.service\n0::/\n", true),
            ("0::/system.slice/mattermost.service2\n", false),
            ("0::/user.slice/user-0.slice/session-1.scope\n", false),
            ("3:cpu:/system.slice/mattermost.service\n0::/\n", false),
        ] {
            assert_eq!(is_in(text, group, "0::/init.scope\n"), expected, "{text}");
        }
        let seen_from_outside = "0::/machine/payload/system.slice/mattermost.service\n";
        assert!(is_in(seen_from_outside, group, "0::/machine/payload/init.scope\n"));
        assert!(!is_in(seen_from_outside, group, "0::/init.scope\n"));
    }

    #[test]
    fn a_process_comes_from_the_group_that_it_is_in() {
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(!comes_from(own, Some("/no-such.slice/mattermost.service"), None));
        // As with a unit that starts it through `su`: systemd's word counts, wherever PAM has put it.
        assert!(comes_from(own, Some("/no-such.slice/mattermost.service"), parent(own.pid)));
        assert_eq!(parent(own.pid), Some(nix::unistd::getppid().as_raw()));
    }
}
