use super::*;

#[test]
fn a_failure_quotes_command_status_and_stderr() {
    let error = Cmd::new("sh").args(["-c", "echo broken >&2; exit 7"]).run().unwrap_err();
    assert_eq!(error.message(), "`sh -c 'echo broken >&2; exit 7'` failed");
    assert_eq!(error.causes(), ["exit status 7", "broken"]);
}

#[test]
fn the_environment_is_clean_and_stdin_is_empty() {
    let output = Cmd::new("sh").args(["-c", "env | sort; cat"]).env("GIVEN", "yes").run().unwrap();
    let text = output.text();
    assert!(text.contains("GIVEN=yes") && text.contains("LC_ALL=C"), "{text}");
    assert!(!text.contains("CARGO"), "{text}");
}

#[test]
fn a_program_that_takes_too_long_is_ended_with_its_children() {
    let error = Cmd::new("sh").args(["-c", "sleep 60 & sleep 60"]).limit(Duration::from_millis(50)).run().unwrap_err();
    assert!(error.message().ends_with("was ended"), "{error:?}");
}

#[test]
fn a_missing_program_is_refused_with_its_package() {
    let error = Cmd::new("no-such-program").run().unwrap_err();
    assert_eq!(error.code(), 5);
    assert_eq!(error.next_step(), Some("apt-get install no-such-program"));
}

#[test]
fn the_umask_is_the_child_s_alone() {
    let output = Cmd::new("sh").args(["-c", "umask; echo \"$1\"", "x", "a b"]).umask(0o022).run().unwrap();
    assert_eq!(output.text(), "0022\na b\n");
}

#[test]
fn input_reaches_the_program() {
    assert_eq!(Cmd::new("cat").run_with("text").unwrap().text(), "text");
}

/// Words of /proc/self/stat after the name of a program that prints it: number, and what follows the name.
fn stat(command: &Cmd) -> (String, Vec<String>) {
    let text = command.run().unwrap().text();
    let (number, rest) = (text.split(' ').next().unwrap(), text.rsplit_once(')').unwrap().1);
    (number.to_owned(), rest.split_ascii_whitespace().map(str::to_owned).collect())
}

#[test]
fn a_program_has_a_session_of_its_own_and_no_terminal() {
    for command in [Cmd::new("cat"), Cmd::new("cat").umask(0o022)] {
        let (pid, fields) = stat(&command.arg("/proc/self/stat"));
        let (group, session, terminal) = (&fields[2], &fields[3], &fields[4]);
        assert_eq!((group, session, terminal.as_str()), (&pid, &pid, "0"));
    }
    // That of its launcher.
    let (_, fields) = stat(&Cmd::new("cat").asked().arg("/proc/self/stat"));
    let (parent, group, session, terminal) = (&fields[1], &fields[2], &fields[3], &fields[4]);
    assert_eq!((group, session, terminal.as_str()), (parent, parent, "0"));
}

#[test]
fn what_is_asked_gains_no_privileges() {
    let status = Cmd::new("cat").arg("/proc/self/status").asked().run().unwrap().text();
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
    let capabilities =
        |set: &str| status.lines().find_map(|line| line.strip_prefix(set)).map(str::trim).map(str::to_owned);
    for set in ["CapBnd:", "CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(capabilities(set).as_deref(), is_root().then_some("0000000000000000"), "{set} in {status}");
    }
}

#[test]
fn what_is_asked_ends_as_it_ended() {
    let output = |script: &str| Cmd::new("sh").args(["-c", script]).asked().output().unwrap();
    assert_eq!(output("exit 7").status.code(), Some(7));
    assert_eq!(output("kill -KILL $$").status.signal(), Some(9));
    assert_eq!(output("cat; echo said; echo complained >&2").text(), "said\n");
}

#[test]
fn what_a_users_program_is_to_load_no_program_of_roots_loads() {
    if !is_root() {
        return;
    }
    let nobody = User::named("nobody").unwrap();
    let command = Cmd::new("cat").arg("/proc/self/environ").env("LD_PRELOAD", "/nowhere/x.so").env("GIVEN", "yes");
    for command in [command.clone().user(&nobody), command.user(&nobody).umask(0o022)] {
        let output = command.run().unwrap();
        let text = output.text();
        assert!(text.contains("LD_PRELOAD=/nowhere/x.so") && text.contains("GIVEN=yes"), "{text}");
        // The loader complains in each program that has it.
        assert_eq!(output.stderr.matches("/nowhere/x.so").count(), 1, "{}", output.stderr);
    }
}

/// Whether a process runs with this word in its command line.
fn runs(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
}

#[test]
fn what_is_asked_has_memory_and_processes_within_limits() {
    let place = tempfile::tempdir().unwrap();
    let words = |script: &str| {
        let place = place.path().join("given");
        std::fs::create_dir(&place).unwrap();
        let error = Cmd::new("sh").args(["-c", script]).used_in(&place, 64 << 20).run().unwrap_err();
        assert!(!place.exists(), "its directory was not removed");
        error.causes().to_vec()
    };
    let said = words("head -c 200000000 /dev/zero | tail -c 190000000 | sleep 86400");
    assert_eq!(said, ["exit status 126", "warning: ended: it used more than 64 MiB of memory"]);
    let number = format!("86400.{}", std::process::id());
    let said =
        words(&format!("i=0; while [ $i -lt 600 ]; do setsid sleep {number} & i=$((i+1)); done; sleep {number}"));
    assert_eq!(said, ["exit status 126", "warning: ended: it had started more than 512 processes"]);
    assert!(!runs(&number), "what it had started still runs");
}

#[test]
fn a_child_that_holds_the_pipes_is_not_waited_for_and_ends() {
    // In the session of the program, in one of its own, and as nobody's child.
    for escape in ["", "setsid", "setsid -f"] {
        let number = format!("86401.{}", std::process::id());
        let asked = Cmd::new("sh").args(["-c", &format!("{escape} sleep {number} & echo yes")]).asked();
        let begun = std::time::Instant::now();
        assert_eq!(asked.run().unwrap().text(), "yes\n");
        assert!(begun.elapsed() < child::GRACE, "its pipes were waited for");
        assert!(!runs(&number), "{escape}");
    }
}

#[test]
fn what_a_program_says_into_a_file_it_does_not_write_itself() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("said");
    let script = "readlink /proc/self/fd/1; head -c 3000000 /dev/zero; echo complained >&2";
    let file = File::create(&path).unwrap();
    assert_eq!(Cmd::new("sh").args(["-c", script]).run_into(file, &path).unwrap(), "complained\n");
    let said = std::fs::read(&path).unwrap();
    assert!(said.starts_with(b"pipe:["), "{}", String::from_utf8_lossy(&said[..20]));
    let words = said.iter().position(|byte| *byte == 0).unwrap();
    assert!(said.len() - words == 3_000_000 && said[words..].iter().all(|byte| *byte == 0));
    // What it leaves behind holds the pipe, and neither keeps us nor loses a byte.
    let script = "head -c 500000 /dev/zero; sleep 20 & exit 0";
    Cmd::new("sh").args(["-c", script]).run_into(File::create(&path).unwrap(), &path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 500_000);

    let full = Path::new("/dev/full");
    let file = File::options().write(true).open(full).unwrap();
    let error = Cmd::new("yes").run_into(file, full).unwrap_err();
    assert!(error.message().contains("/dev/full") && error.one_line().contains("No space left"), "{error:?}");
}

#[test]
fn processes_that_make_another_and_end_at_once_are_caught() {
    let number = format!("86403.{}", std::process::id());
    let script =
        "run() { run & exit; }; i=0; while [ $i -lt 3 ]; do run >/dev/null 2>&1 <&1 & i=$((i+1)); done; echo yes";
    let asked = Cmd::new("setsid").args(["sh", "-c", script, number.as_str()]).asked();
    assert_eq!(asked.run().unwrap().text(), "yes\n");
    assert!(!runs(&number));
}

#[test]
fn a_program_that_says_without_end_is_ended() {
    for (program, file) in [("cat", "/dev/zero"), ("yes", "y")] {
        let error = Cmd::new(program).arg(file).asked().run().unwrap_err();
        assert_eq!(error.causes(), ["it wrote more than 1 MiB"], "{program}");
    }
    let error = Cmd::new("cat").arg("/dev/zero").run().unwrap_err();
    assert_eq!(error.causes(), ["it wrote more than 64 MiB"]);
    let error = Cmd::new("sh").args(["-c", "cat /dev/zero >&2"]).asked().run().unwrap_err();
    assert_eq!(error.causes(), ["it wrote more than 1 MiB"]);
}

#[test]
fn what_a_program_complains_is_kept_from_its_end() {
    let script = "i=0; while [ $i -lt 40000 ]; do echo \"a line of some length that says number $i of them\"; i=$((i+1)); done >&2; exit 3";
    let output = Cmd::new("sh").args(["-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stderr.ends_with("39999 of them\n") && output.stderr.len() <= 2 << 20, "{}", output.stderr.len());
}

#[test]
fn more_than_a_pipe_holds_goes_in_and_comes_out() {
    let text = "0123456789abcdef".repeat(64 * 1024);
    assert_eq!(Cmd::new("cat").run_with(&text).unwrap().text(), text);
    // One that does not read is judged by its status.
    assert!(Cmd::new("true").run_with(&text).is_ok());
}

#[test]
fn a_program_within_limits_has_no_more_than_they_say() {
    let user = if is_root() { User::named("nobody").unwrap() } else { crate::machine::user::current() };
    let cat = Cmd::new("cat").args(["/proc/self/limits", "/proc/self/status"]).user(&user);
    let free = cat.run().unwrap().text();
    let text = cat.within(64 << 20).run().unwrap().text();
    let limit = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        line.split_ascii_whitespace().next().unwrap().parse::<u64>().ok()
    };
    assert_eq!(limit(&text, "Max address space"), Some(64 << 20), "{text}");
    assert_eq!(limit(&text, "Max core file size"), Some(0), "{text}");
    let (before, now) = (limit(&free, "Max processes"), limit(&text, "Max processes"));
    assert!(now.is_some_and(|now| now >= 512 && before.is_none_or(|before| now <= before)), "{text}");
    if is_root() {
        assert!(text.contains("\nNoNewPrivs:\t1\n") && text.contains("\nCapBnd:\t0000000000000000\n"), "{text}");
        assert!(free.contains("\nNoNewPrivs:\t0\n"), "{free}");
    }
    let error = Cmd::new("sh").args(["-c", "head -c 200000000 /dev/zero | tail -c 190000000"]).within(64 << 20).run();
    assert!(error.unwrap_err().one_line().contains("memory"));
}
