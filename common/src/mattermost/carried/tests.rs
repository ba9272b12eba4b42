use proptest::prelude::*;

use super::*;
use crate::mattermost::catalogue::Catalogue;

fn scan(pieces: &[&[u8]]) -> Carried {
    let mut scanner = Scanner::default();
    for piece in pieces {
        scanner.take(piece);
    }
    scanner.finish()
}

fn list(names: &[(u64, &str)]) -> Vec<(u64, String)> {
    names.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
}

fn embedded(engine: &str, number: u64, name: &str) -> String {
    format!("migrations/{engine}/{number:06}_{name}.up.sql")
}

#[test]
fn names_are_found_however_they_stand_and_nothing_else_is() {
    let program = [
        "\0migrations/postgres/000001_create_teams.down.sqlmigrations/postgres/000001_create_teams.up.sql",
        "migrations/postgres/000001_create_configurations.up.sqlmigrations/postgres/000056_upgrade_channels_v6.0.up.sql",
        "xmigrations/migrations/mysql/000092_add_createat_to_teammembers.up.sql",
        "migrations/postgres/00002_short.up.sql migrations/postgres/0000031_long.up.sql migrations/postgres/000004_.up.sql",
        "migrations/postgres/000005_a b.up.sql migrations/sqlite/000006_other.up.sql",
        "migrations/postgres/000007_back.down.sqlxx.up.sql migrations/postgres/000008_never_ends",
    ]
    .concat();
    let found = scan(&[program.as_bytes()]);
    let postgres = [(1, "create_configurations"), (1, "create_teams"), (56, "upgrade_channels_v6.0")];
    assert_eq!(found.postgres, list(&postgres));
    assert_eq!(found.mysql, list(&[(92, "add_createat_to_teammembers")]));
    assert_eq!(found.check(), Ok(()));
}

#[test]
fn what_is_too_long_or_too_many_is_not_believed() {
    let long = "x".repeat(LONGEST);
    assert_eq!(scan(&[embedded("postgres", 1, &long).as_bytes()]).postgres.len(), 1);
    assert!(!scan(&[embedded("postgres", 1, &(long + "x")).as_bytes()]).is_known());
    let many = |count: u64| (0..count).map(|number| embedded("postgres", number, "a")).collect::<String>();
    assert_eq!(scan(&[many(4096).as_bytes()]).postgres.len(), MOST);
    assert_eq!(scan(&[many(4097).as_bytes()]), Carried::default());
    assert!(Carried { postgres: list(&[(1, "a\u{1b}b")]), mysql: Vec::new() }.check().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn where_the_pieces_are_cut_makes_no_difference(
        noise in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..12),
        name in "[a-z0-9_.]{1,40}[a-z]",
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut program = Vec::new();
        for (number, noise) in noise.iter().enumerate() {
            program.extend_from_slice(noise);
            program.extend_from_slice(embedded("postgres", number as u64, &name).as_bytes());
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(program.len() + 1)).collect();
        cuts.extend([0, program.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &program[cut[0]..cut[1]]).collect();
        let found = scan(&pieces);
        prop_assert_eq!(&found, &scan(&[&program]));
        prop_assert_eq!(&found, &scan(&program.chunks(1).collect::<Vec<_>>()));
        prop_assert_eq!(found.postgres.len(), noise.len());
    }

    #[test]
    fn hostile_bytes_never_make_a_name_that_is_none(
        words in proptest::collection::vec(
            prop_oneof![
                Just("migrations/".to_owned()), Just("postgres/".to_owned()), Just("mysql/".to_owned()),
                Just("000001_".to_owned()), Just(".up.sql".to_owned()), Just(".down.sql".to_owned()), ".{0,6}",
            ],
            0..400,
        ),
    ) {
        let bytes = words.concat().into_bytes();
        let found = scan(&bytes.chunks(7).collect::<Vec<_>>());
        prop_assert_eq!(&found, &scan(&[&bytes]));
        prop_assert_eq!(found.check(), Ok(()));
    }
}

fn carried(postgres: &[(u64, &str)]) -> Carried {
    Carried { postgres: list(postgres), mysql: Vec::new() }
}

fn against(release: &Carried, applied: &[(u64, &str)], version: &str) -> Comparison {
    let (catalogue, version) = (Catalogue::embedded().unwrap(), version.parse().unwrap());
    release.against(Some(&list(applied)), |name| renumbers(&catalogue, &version, name))
}

#[test]
fn a_number_that_means_something_else_clashes() {
    let release = carried(&[(1, "create_configurations"), (1, "create_teams"), (2, "b"), (3, "c")]);
    let good = against(&release, &[(1, "create_teams"), (2, "b")], "12.1.0");
    assert_eq!(good, Comparison { added: list(&[(3, "c")]), ..Comparison::default() });
    let bad = against(&release, &[(1, "create_teams"), (2, "x")], "12.1.0");
    assert_eq!(bad.clashes, ["2 is x here and b there"]);
    // The server compares names: what is applied under another number is not applied again.
    let moved = against(&release, &[(1, "create_teams"), (2, "x"), (3, "c"), (9, "b")], "12.1.0");
    assert_eq!(moved, Comparison::default());
    let ahead = against(&release, &[(1, "create_teams"), (2, "b"), (3, "c"), (4, "d")], "12.1.0");
    assert_eq!(ahead, Comparison { ahead: vec!["4 d".into()], ..Comparison::default() });
    let first = release.against(None, |_| false);
    assert_eq!(first.added_line().unwrap(), "3 migrations: 1 create_configurations or create_teams, 2 b, 3 c");
}

#[test]
fn names_of_the_mysql_set_are_known_with_and_without_that_set() {
    let moved = [(92, "add_createat_to_teammembers")];
    let release = carried(&[(92, "add_createat_to_teamembers")]);
    assert_eq!(against(&release, &moved, "11.0.0").clashes, [""; 0]);
    assert_eq!(against(&release, &[(92, "add_createat")], "11.0.0").clashes.len(), 1);
    let release = Carried { mysql: list(&[(92, "another")]), ..release };
    assert_eq!(against(&release, &[(92, "another")], "10.5.0").clashes, [""; 0]);
}

#[test]
fn what_10_11_16_renumbered_clashes_only_where_the_release_does_not_renumber() {
    let newer = carried(&[(142, "other"), (156, "add_schemeid_to_roles")]);
    let applied = [(142, "add_schemeid_to_roles")];
    assert_eq!(against(&newer, &applied, "11.7.2").clashes.len(), 1);
    for release in ["11.6.5", "11.7.3", "11.9.0", "12.1.0", "13.0.0"] {
        let comparison = against(&newer, &applied, release);
        assert_eq!(comparison, Comparison { added: list(&[(142, "other")]), ..Comparison::default() }, "{release}");
    }
    // Without the name it can renumber nothing.
    assert_eq!(against(&carried(&[(142, "other")]), &applied, "12.1.0").clashes.len(), 1);
}
