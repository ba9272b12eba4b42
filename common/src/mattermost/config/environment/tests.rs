use super::*;

fn pairs(text: &str) -> Vec<(String, String)> {
    assignments(text).into_iter().map(|found| (found.name, found.token.value)).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn reads_environment_files_as_systemd_does() {
    let text = "# no\n; no\nA=1\nB='x y'\nC=\"q \\\" \\$ \\n\"\nexport D= spaced  \nE=a\\\nb\nno assignment\nF=";
    let expected = [
        pair("A", "1"),
        pair("B", "x y"),
        pair("C", "q \" $ \\n"),
        pair("D", "spaced"),
        pair("E", "ab"),
        pair("F", ""),
    ];
    assert_eq!(pairs(text), expected);
}

#[test]
fn knows_where_a_value_stands() {
    let text = "A=1\nMM_CONFIG='postgres://u:p@h/d?a=b&c=d'  \nB=2\n";
    let token = assignments(text).remove(1).token;
    assert_eq!(&text[token.span.clone()], "'postgres://u:p@h/d?a=b&c=d'");
    assert_eq!(token.value, "postgres://u:p@h/d?a=b&c=d");
}

#[test]
fn reads_the_words_of_a_unit() {
    assert_eq!(
        words(r#"MM_A=1 "MM_B=two words" 'MM_C=x"y' MM_D=a\ b"#),
        ["MM_A=1", "MM_B=two words", "MM_C=x\"y", "MM_D=a b"]
    );
    assert_eq!(set_to("[Service]\nEnvironment=\"MM_B=two words\" MM_A=1\n", "MM_B").as_deref(), Some("two words"));
    assert_eq!(set_to("[Service]\n#Environment=MM_A=1\n", "MM_A"), None);
}

#[test]
fn a_unit_takes_all_files_that_a_pattern_stands_for_and_the_last_one_holds() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("10-a.env", "MM_A=1\nMM_B=1\n"), ("20-b.env", "MM_A=2\n"), ("30-c.conf", "MM_A=3\n")] {
        crate::machine::files::write(
            &directory.path().join(name),
            text.as_bytes(),
            crate::machine::files::Access::PRIVATE,
        )
        .unwrap();
    }
    let pattern = |name: &str| directory.path().join(name);
    let of =
        |files: &[(PathBuf, bool)]| of_unit(&systemd::Unit { environment_files: files.to_vec(), ..Default::default() });
    let all = of(&[(pattern("*.env"), false), (pattern("*.none"), true)]).unwrap_or_else(|_| panic!("it is there"));
    let a = find(&all, "MM_A").unwrap();
    assert!(a.value == "2" && a.file.as_ref() == Some(&pattern("20-b.env")), "what a change has to edit");
    assert_eq!(find(&all, "MM_B").unwrap().file.as_ref(), Some(&pattern("10-a.env")));
    let error = of(&[(pattern("*.none"), false)]).err().unwrap().to_string();
    assert!(error.contains("*.none"), "{error}");
    assert!(of(&[(pattern("none"), false)]).is_err());
}

#[test]
fn a_private_start_does_not_change_what_is_configured() {
    let unit = ("/etc/systemd/system/mm.service".into(), "Environment=MM_A=unit MM_B=1\n".to_owned());
    let own = (
        "/run/systemd/system/mm.service.d/90-mm-tools.conf".into(),
        "Environment=\"MM_A=x\"\nEnvironment=MM_C=x\n".to_owned(),
    );
    let texts: [(PathBuf, String); 2] = [unit, own];
    let value = |name: &str, shown: &str| effective(name, shown, &texts).map(|variable| variable.value);
    assert_eq!(value("MM_A", "x").as_deref(), Some("unit"));
    assert_eq!(value("MM_B", "1").as_deref(), Some("1"));
    assert_eq!(value("MM_C", "x"), None);
    assert_eq!(value("MM_D", "from the manager").as_deref(), Some("from the manager"));
}

#[test]
fn finds_the_configuration_a_command_names() {
    for (command, named) in [
        ("{ path=/o/bin/mattermost ; argv[]=/o/bin/mattermost -c /etc/mm.json ; }", Some("/etc/mm.json")),
        ("/o/bin/mattermost --config=a.json", Some("a.json")),
        ("/o/bin/mattermost server --config a.json", Some("a.json")),
        ("/o/bin/platform -c=a.json", Some("a.json")),
        ("/o/bin/mattermost server", None),
        // Wrappers have words of their own.
        (
            "{ path=/usr/bin/env ; argv[]=/usr/bin/env MM_A=b /o/bin/mattermost -c=/etc/mm.json ; }",
            Some("/etc/mm.json"),
        ),
        ("{ path=/usr/bin/sg ; argv[]=/usr/bin/sg mm -c /o/bin/mattermost ; ignore_errors=no ; }", None),
        ("{ path=/bin/sh ; argv[]=/bin/sh -c \"exec /o/bin/mattermost -c 'a b.json'\" ; }", Some("a b.json")),
        ("{ path=/bin/sh ; argv[]=/bin/sh -c exec /o/bin/mattermost ; }", None),
        ("{ path=/o/bin/mattermost ; argv[]=/o/bin/mattermost server -c/etc/mm.json ; }", Some("/etc/mm.json")),
    ] {
        assert_eq!(argument_in(command).as_deref(), named, "{command}");
    }
}

#[test]
fn a_comment_in_another_encoding_hides_no_variable() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("mattermost");
    files::write(&path, b"# f\xfcr uns\nMM_A=b\n", files::Access::PRIVATE).unwrap();
    let found = of_file(&path, false).unwrap();
    assert_eq!(value(&found, "MM_A"), Some("b"));
}

#[test]
fn a_wrapper_gives_the_server_variables() {
    let command = "{ path=/usr/bin/env ; argv[]=/usr/bin/env MM_A=b X=1 /o/bin/mattermost MM_C=d ; }";
    let found = of_wrapper(command);
    assert!(found.len() == 1 && found[0].name == "MM_A" && found[0].value == "b");
    assert!(of_wrapper("/o/bin/mattermost").is_empty());
}

#[test]
fn reads_the_environment_of_a_program_of_supervisord() {
    assert_eq!(comma_separated(r#"A="1,2",B=100%%"#), [pair("A", "1,2"), pair("B", "100%")]);
}
