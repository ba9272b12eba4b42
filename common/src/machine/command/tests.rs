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
