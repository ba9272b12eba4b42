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
    for command in [Cmd::new("cat"), Cmd::new("cat").asked(), Cmd::new("cat").umask(0o022)] {
        let (pid, fields) = stat(&command.arg("/proc/self/stat"));
        let (group, session, terminal) = (&fields[2], &fields[3], &fields[4]);
        assert_eq!((group, session, terminal.as_str()), (&pid, &pid, "0"));
    }
}

#[test]
fn what_is_asked_gains_no_privileges() {
    let status = Cmd::new("cat").arg("/proc/self/status").asked().run().unwrap().text();
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
}

#[test]
fn a_child_that_holds_the_pipes_is_not_waited_for() {
    // In the session of the program, and in one of its own.
    for escape in ["", "setsid "] {
        let said = Cmd::new("sh").args(["-c", &format!("{escape}sleep 86400 & echo $!")]).asked().run().unwrap().text();
        let left = said.trim().parse().unwrap();
        let gone = || nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), None).is_err();
        if escape.is_empty() {
            // It was ended with the session; somebody has to reap it.
            let dead = || std::fs::read_to_string(format!("/proc/{left}/stat")).is_ok_and(|stat| stat.contains(") Z "));
            while !gone() && !dead() {
                std::thread::sleep(Duration::from_millis(5));
            }
        } else {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
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
