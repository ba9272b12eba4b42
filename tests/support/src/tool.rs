//! The six tools, run from outside.

use std::path::{Path, PathBuf};

use crate::process::PATH;

/// The six tools in the order of the pipeline.
pub const TOOLS: [&str; 6] = ["mm-path", "mm-fetch", "mm-backup", "mm-pgbump", "mm-swap", "mm-verify"];

/// The directory in which cargo puts the workspace's executables: that of the running test, or its parent.
pub fn directory() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its executable");
    let directory = own.parent().expect("an executable stands in a directory");
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory.parent().expect("deps stands in a directory").to_owned()
    } else {
        directory.to_owned()
    }
}

/// An executable of the workspace.
pub fn executable(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(path.is_file(), "{} is not built: cargo build --workspace --bins", path.display());
    path
}

/// The variable, and its value, with which a tool built for tests watches a started server for less than its real time
/// (tools/mm-swap/src/pace.rs). A test about that time removes it.
pub const PACE: (&str, &str) = ("MM_CHECKPOINT_PACE", "short");

/// A tool with nothing in its environment but PATH and [`PACE`]. Its standard input is a pipe with nothing in it unless
/// `write_stdin` says otherwise (`/dev/null` only from [`shell`]).
pub fn tool(name: &str) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(executable(name));
    command.env_clear().env("PATH", PATH).env(PACE.0, PACE.1).current_dir("/");
    command
}

/// The same on a host that does not have this program of `/usr/bin`: the tool alone sees it gone.
pub fn tool_without(program: &str, name: &str) -> assert_cmd::Command {
    let script = format!("mount --bind /dev/null /usr/bin/{program} && exec \"$0\" \"$@\"");
    let mut command = assert_cmd::Command::new("unshare");
    command.args(["--mount", "bash", "-c", &script]).arg(executable(name));
    command.env_clear().env("PATH", PATH).env(PACE.0, PACE.1).current_dir("/");
    command
}

/// The same on another machine of this name, whose `/etc/machine-id` is the file `id`.
pub fn tool_on_other_machine(name: &str, id: &Path, tool: &str) -> assert_cmd::Command {
    let script = r#"mount --bind "$0" /etc/machine-id && echo "$1" >/proc/sys/kernel/hostname && shift && exec "$@""#;
    let mut command = assert_cmd::Command::new("unshare");
    command.args(["--mount", "--uts", "bash", "-c", script]).arg(id).arg(name).arg(executable(tool));
    command.env_clear().env("PATH", PATH).env(PACE.0, PACE.1).current_dir("/");
    command
}

/// The same on a host whose `setpriv` does not know `--pdeathsig`, as that of util-linux before 2.33.
pub fn tool_with_old_setpriv(name: &str) -> assert_cmd::Command {
    let script = r#"set -e
        mount -t tmpfs -o mode=755 none /mnt
        cp /usr/bin/setpriv /mnt/setpriv
        cat >/mnt/older <<'END'
#!/bin/sh
[ "$1" != --pdeathsig ] || { echo "setpriv: unrecognized option '--pdeathsig'" >&2; exit 1; }
exec /mnt/setpriv "$@"
END
        chmod 755 /mnt/older /mnt/setpriv
        mount --bind /mnt/older /usr/bin/setpriv
        exec "$0" "$@""#;
    let mut command = assert_cmd::Command::new("unshare");
    command.args(["--mount", "bash", "-c", script]).arg(executable(name));
    command.env_clear().env("PATH", PATH).env(PACE.0, PACE.1).current_dir("/");
    command
}

/// A shell script with the tools in its PATH: `bash -c SCRIPT`, without `pipefail` unless it sets it.
pub fn shell(script: &str) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new("bash");
    command.args(["-c", script]).env_clear().env("PATH", format!("{}:{PATH}", directory().display()));
    command.env(PACE.0, PACE.1).current_dir("/");
    command
}

/// Where fixtures that are expensive to make are kept between runs.
pub fn cache() -> PathBuf {
    let target = directory().parent().map(Path::to_owned).expect("cargo's target directory has a parent");
    let cache = target.join("mm-test");
    std::fs::create_dir_all(&cache).expect("the target directory can be written");
    cache
}
