//! Cleaning up after a test that did not get to it itself.
//!
//! A small shell reads from a pipe what there is to clean up. When the pipe closes, because this process ended in
//! whatever way, it does what is left on its list, newest first.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

const LOOP: &str = r#"
declare -A todo
while IFS=$'\t' read -r word number command; do
    case $word in add) todo[$number]=$command ;; done) unset "todo[$number]" ;; esac
done
for number in $(printf '%s\n' "${!todo[@]}" | sort -rn); do bash -c "${todo[$number]}" </dev/null >/dev/null 2>&1; done
"#;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Something that has to be cleaned up: done on drop, or by the watchdog when there is no drop.
#[derive(Debug)]
pub struct Cleanup {
    number: usize,
    command: String,
    kept: bool,
}

impl Cleanup {
    /// `command` is run by bash when the value is dropped or this process ends. One line.
    pub fn with(command: impl Into<String>) -> Self {
        let command = command.into();
        assert!(!command.contains('\n'), "one line: {command}");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        tell(&format!("add\t{number}\t{command}\n"));
        Self { number, command, kept: false }
    }

    /// Nothing to clean up.
    pub fn none() -> Self {
        Self { number: usize::MAX, command: String::new(), kept: true }
    }

    /// Leaves what there was to clean up where it is, for somebody who wants to look around.
    pub fn keep(&mut self) {
        self.kept = true;
        tell(&format!("done\t{}\t\n", self.number));
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let output = Command::new("bash").arg("-c").arg(&self.command).stdin(Stdio::null()).output();
        // A panic in a drop would hide the test's own.
        if let Err(error) = output {
            eprintln!("cannot clean up with `{}`: {error}", self.command);
        }
        tell(&format!("done\t{}\t\n", self.number));
    }
}

fn tell(line: &str) {
    static PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| {
        #[expect(clippy::zombie_processes, reason = "it outlives this process; that is what it is for")]
        let mut child = Command::new("bash")
            .args(["-c", LOOP])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // A Ctrl-C on the terminal is for the tests, not for who cleans up after them.
            .process_group(0)
            .spawn()
            .expect("bash is there");
        Mutex::new(child.stdin.take().expect("the pipe was asked for"))
    });
    let mut pipe = pipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    pipe.write_all(line.as_bytes()).expect("the watchdog listens");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Set for the process that is to be killed.
    const MARK: &str = "MM_TEST_WATCHDOG_MARK";

    #[test]
    fn what_a_killed_process_leaves_is_cleaned_up() {
        if let Some(mark) = std::env::var_os(MARK).map(std::path::PathBuf::from) {
            let _cleanup = Cleanup::with(format!("rm -f '{}'", mark.display()));
            std::fs::write(mark, "").unwrap();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        // Not in the process that is killed: nobody would remove it.
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "watchdog::tests::what_a_killed_process_leaves_is_cleaned_up"])
            .env(MARK, &mark)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success());
        crate::process::wait_until("the watchdog to clean up", Duration::from_secs(20), || !mark.exists());
    }
}
