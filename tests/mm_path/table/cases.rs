//! The table: from where to where, by which policy, over which stops.

use mm_path::wish::Policy::{self, Direct, Esr, Minor};

/// One row: from where to where, by which policy, over which stops, and why just these.
pub(crate) struct Case {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) policy: Policy,
    pub(crate) stops: &'static str,
    pub(crate) because: &'static str,
}

const fn case(
    from: &'static str,
    to: &'static str,
    policy: Policy,
    stops: &'static str,
    because: &'static str,
) -> Case {
    Case { from, to, policy, stops, because }
}

/// Extended support lines: 4.10, 5.9, 5.19, 5.25, 5.31, 5.37, 6.3, 7.1, 7.8, 8.1, 9.5, 9.11, 10.5, 10.11, 11.7.
pub(crate) const CASES: &[Case] = &[
    // 3.x and 4.x: the binaries of 3.4 to 5.x apply the whole chain from 3.0, so only 6.0 and later need a stop.
    case("3.10.0", "5.9", Esr, "4.10.10 5.9.8", "every extended support line on the way, newest dot release of each"),
    case("3.10.3", "5.37.10", Direct, "5.37.10", "any 3.x to any 5.x is one jump"),
    case("3.10.0", "6.0", Direct, "5.37.10 6.0.4", "no jump from 3.x or 4.x over 5.x"),
    case(
        "3.10.0",
        "10.6.1",
        Esr,
        "4.10.10 5.9.8 5.19.3 5.25.7 5.31.9 5.37.10 6.3.10 7.1.9 7.8.15 8.1.13 9.5.14 9.11.18 10.5.14 10.6.1",
        "all lines, the longest way there is",
    ),
    case(
        "4.5.0",
        "5.39.3",
        Esr,
        "4.10.10 5.9.8 5.19.3 5.25.7 5.31.9 5.37.10 5.39.3",
        "a target that is no extended support release ends the chain",
    ),
    case("4.10.0", "6.3.10", Direct, "5.37.10 6.3.10", "4.x needs the stop before 6.0"),
    case("4.10.10", "5.37", Esr, "5.9.8 5.19.3 5.25.7 5.31.9 5.37.10", "X.Y is the newest dot release of the line"),
    // 5.x
    case("5.0.0", "5.37.10", Direct, "5.37.10", "within a major nothing is required"),
    case("5.9.0", "7.1.9", Direct, "5.37.10 7.1.9", "5.37.10 before any 7.x; 7.1 is the target itself"),
    case("5.9.8", "6.3", Esr, "5.19.3 5.25.7 5.31.9 5.37.10 6.3.10", "line by line"),
    case(
        "5.29.0",
        "10.6.1",
        Esr,
        "5.31.9 5.37.10 6.3.10 7.1.9 7.8.15 8.1.13 9.5.14 9.11.18 10.5.14 10.6.1",
        "the case of mattermost/mattermost#30543, done in stages",
    ),
    case(
        "5.29.0",
        "10.6.1",
        Direct,
        "5.37.10 7.1.9 10.6.1",
        "the eight columns and the 7.1 floor are all that is required",
    ),
    case(
        "5.29.0",
        "6.3.10",
        Direct,
        "5.37.10 6.3.10",
        "allowed in one jump, but the documents want 5.37.10 before 6.x",
    ),
    case("5.29.0", "6.4.0", Direct, "5.37.10 6.4.0", "from 6.4 on the eight columns come without defaults"),
    case("5.29.0", "5.29.2", Esr, "5.29.2", "within a line it is one hop"),
    case(
        "5.31.0",
        "9.11",
        Esr,
        "5.37.10 6.3.10 7.1.9 7.8.15 8.1.13 9.5.14 9.11.18",
        "an old dot release of an extended support line is no detour",
    ),
    case("5.31.9", "5.37", Esr, "5.37.10", "from one extended support line to the next"),
    case("5.34.5", "7.8.15", Direct, "5.37.10 7.1.9 7.8.15", "5.34 is the last line before the columns"),
    case("5.35.0", "6.7.2", Direct, "5.37.10 6.7.2", "5.35 has the columns, but the way to 7.x shall stay open"),
    case("5.37.0", "7.8", Direct, "5.37.10 7.1.9 7.8.15", "5.37.0 is not 5.37.10"),
    case("5.37.10", "7.1", Esr, "6.3.10 7.1.9", "6.3 lies between"),
    case("5.37.10", "7.8", Direct, "7.1.9 7.8.15", "from 5.37.10 only the 7.1 floor is left"),
    case("5.38.4", "7.1.9", Direct, "7.1.9", "5.38 is newer than 5.37.10 and has all of it"),
    case("5.39.3", "8.1", Direct, "7.1.9 8.1.13", "the 7.1 floor"),
    // 6.x
    case("6.0.4", "7.1.9", Esr, "6.3.10 7.1.9", "6.3 lies between"),
    case("6.3.10", "9.5", Esr, "7.1.9 7.8.15 8.1.13 9.5.14", "line by line"),
    case("6.3.10", "9.5", Direct, "7.1.9 9.5.14", "the 7.1 floor"),
    case("6.7.2", "7.1.9", Esr, "7.1.9", "nothing lies between"),
    // 7.x
    case("7.0.2", "7.3.1", Direct, "7.1.9 7.3.1", "7.0 is below the 7.1 floor"),
    case("7.1.5", "8.1", Esr, "7.8.15 8.1.13", "7.1.5 is on the 7.1 line, whatever its dot release"),
    case("7.1.9", "10.11", Direct, "10.11.23", "from 7.1 on nothing is required up to 10.11"),
    case("7.8.15", "9.5.14", Esr, "8.1.13 9.5.14", "line by line"),
    case("7.9.4", "7.10", Direct, "7.10.5", "the newest of 7.10 has the migration that 7.9.4 brought"),
    case("7.9.4", "7.10.0", Direct, "7.10.0", "asked for by name it is planned, although 7.10.0 lacks that migration"),
    case("7.9.4", "8.1", Minor, "7.10.5 8.0.4 8.1.13", "every feature line"),
    // 8.x and 9.x
    case(
        "8.1.0",
        "9.11",
        Minor,
        "9.0.5 9.1.5 9.2.6 9.3.3 9.4.5 9.5.6 9.6.3 9.7.6 9.8.3 9.9.3 9.10.3 9.11.18",
        "9.5.6 and not 9.5.14: from 9.5.7 on 9.6 and 9.7 lack a migration",
    ),
    case(
        "8.1.13",
        "10.5",
        Esr,
        "9.5.14 9.11.18 10.5.14",
        "9.5.14 to 9.11 skips 9.6 and 9.7, so the newest of 9.5 will do",
    ),
    case("9.1.0", "9.2", Direct, "9.2.6", "9.2.0 was never in the archive; the newest is taken"),
    case("9.5.3", "9.8", Minor, "9.6.3 9.7.6 9.8.3", "9.5.3 has nothing that 9.6 lacks"),
    case("9.5.7", "9.8", Minor, "9.8.3", "9.5.7 has a migration that 9.6 and 9.7 lack, so they are passed over"),
    case("9.5.7", "9.7.6", Direct, "9.7.6", "asked for by name, there is no other way"),
    case("9.5.7", "9.11", Esr, "9.11.18", "from one extended support line to the next"),
    case("9.11.18", "10.6.1", Esr, "10.5.14 10.6.1", "10.5 lies between"),
    // 10.x and 11.x: the clash of migrations 142 to 144.
    case("10.5.0", "10.5", Esr, "10.5.14", "within a line"),
    case("10.5.14", "11.7", Esr, "10.11.23 11.7.15", "11.7.15 knows what to do about 10.11.16 and newer"),
    case("10.5.14", "11.2", Esr, "10.11.15 11.2.4", "11.2 clashes with 10.11.16 and newer, so 10.11.15 is the stop"),
    case(
        "10.5.14",
        "10.12",
        Minor,
        "10.6.6 10.7.4 10.8.4 10.9.5 10.10.3 10.11.15 10.12.4",
        "10.12 is a dead end for 10.11.16 and newer too",
    ),
    case("10.11.15", "11.0.7", Esr, "11.0.7", "10.11.15 has not yet got the migrations that clash"),
    case("10.11.17", "11.6", Direct, "11.6.6", "11.6.5 and newer repair the numbers"),
    case("10.11.17", "11.7", Esr, "11.7.15", "11.7.3 and newer repair the numbers"),
    case(
        "10.11.17",
        "11.8.0",
        Direct,
        "11.7.15 11.8.0",
        "11.8.0 does not repair them, but after 11.7.15 there is nothing to repair",
    ),
    case("10.12.4", "11.7", Direct, "11.7.15", "10.12 never had the migrations that clash"),
    case("11.0.7", "latest-esr", Esr, "11.7.15", "the newest extended support release, proven by its signature"),
    case("11.0.7", "latest", Esr, "11.7.15 12.1.0", "11.7 lies between"),
    case("11.7.10", "11.10", Minor, "11.8.5 11.9.2 11.10.5", "every feature line"),
    case("11.7.0", "12.0", Esr, "12.0.2", "the newest of its line"),
    case("10.6.1", "10.6.1", Esr, "", "there is nothing to do"),
    case(
        "11.10.1",
        "latest-esr",
        Esr,
        "",
        "newer than the newest extended support release: nothing to do, and no way back",
    ),
];
