use super::*;

#[test]
fn only_what_was_changed_is_brought_back() {
    let setting = |role: Option<&str>, name: &str, value: &str| Setting {
        role: role.map(str::to_owned),
        name: name.into(),
        value: value.into(),
    };
    let before = Properties {
        settings: vec![setting(None, "work_mem", "1MB"), setting(Some("mm"), "lock_timeout", "5s")],
        comment: Some("theirs".into()),
        ..Properties::default()
    };
    let now = Properties {
        settings: vec![
            setting(None, "work_mem", "2MB"),
            setting(Some("mm"), "lock_timeout", "5s"),
            setting(Some("mm"), "search_path", "x"),
        ],
        connection_limit: Some(3),
        template: true,
        ..Properties::default()
    };
    let sql: Vec<String> = bringing_back("d", &before, &now).into_iter().map(|(_, sql)| sql).collect();
    assert_eq!(
        sql,
        [
            "ALTER ROLE \"mm\" IN DATABASE \"d\" RESET \"search_path\"",
            "ALTER DATABASE \"d\" SET \"work_mem\" TO '1MB'",
            "COMMENT ON DATABASE \"d\" IS 'theirs'",
            "ALTER DATABASE \"d\" CONNECTION LIMIT -1",
            "ALTER DATABASE \"d\" IS_TEMPLATE false",
        ]
    );
    assert!(bringing_back("d", &now, &now).is_empty());
}

#[test]
fn by_whom_a_database_is_sorted_is_said_where_the_server_knows_it() {
    let of = |provider: Option<&str>, locale: Option<&str>, rules: Option<&str>| Properties {
        provider: provider.map(str::to_owned),
        locale: locale.map(str::to_owned),
        rules: rules.map(str::to_owned),
        ..Properties::default()
    };
    let (libc, icu) = (of(None, None, None), of(Some("i"), Some("de"), Some("&a < b")));
    assert_eq!((sorting(13, &libc), sorting(14, &icu)), (String::new(), String::new()));
    assert_eq!(sorting(15, &libc), " LOCALE_PROVIDER libc");
    assert_eq!(sorting(15, &icu), " LOCALE_PROVIDER icu ICU_LOCALE 'de'");
    assert_eq!(sorting(16, &icu), " LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < b'");
    for of_itself in [of(Some("b"), Some("C.UTF-8"), None), of(None, Some("C.UTF-8"), None)] {
        assert_eq!(sorting(17, &of_itself), " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'");
    }
}

#[test]
fn rights_and_settings_are_quoted() {
    let properties = Properties {
        grants: Some(vec![
            Grant { role: Some("we\"ird".into()), privilege: "CONNECT".into(), grantable: true },
            Grant { role: None, privilege: "DROP; --".into(), grantable: true },
        ]),
        settings: vec![
            Setting {
                role: None,
                name: "search_path".into(),
                value: "\"$user\", public, \"a, b\", \"c\"\"d\", \"\"".into(),
            },
            Setting { role: Some("mm".into()), name: "work_mem".into(), value: "it's".into() },
        ],
        ..Properties::default()
    };
    let (words, statements): (Vec<String>, Vec<String>) = settling("d b", &properties).into_iter().unzip();
    assert_eq!(
        statements,
        [
            "REVOKE ALL ON DATABASE \"d b\" FROM PUBLIC",
            "GRANT CONNECT ON DATABASE \"d b\" TO \"we\"\"ird\" WITH GRANT OPTION",
            "ALTER DATABASE \"d b\" SET \"search_path\" TO '$user', 'public', 'a, b', 'c\"d', ''",
            "ALTER ROLE \"mm\" IN DATABASE \"d b\" SET \"work_mem\" TO 'it''s'",
        ]
    );
    assert_eq!(words[2..], ["search_path", "work_mem for \"mm\""]);
}
