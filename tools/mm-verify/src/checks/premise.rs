//! What the checks take for granted of a server, on which versions that was observed, and what they do on the others.
//!
//! Real servers alone count here, not the stand-in. Three collections of observations are at hand, all of the Team Edition built
//! from public source; the words [`NAMES`] stand for them. Where a text names single versions, nothing is known of others.

use std::fmt::Write as _;

use crate::check::Definition;

/// What a check takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Premise {
    /// What it is, and the versions of real servers on which it was observed.
    pub(crate) observed: &'static str,
    /// What the check does on versions where it was not.
    pub(crate) elsewhere: &'static str,
}

const fn premise(observed: &'static str, elsewhere: &'static str) -> Premise {
    Premise { observed, elsewhere }
}

/// The names under which the texts below speak of several versions.
pub(crate) const NAMES: &str = "\
recorded   calls, files and tables of 5.29.0, 5.37.1, 6.3.0, 6.7.0, 7.1.0, 7.8.0, 8.1.0, 9.5.0, 9.10.0
           and, approximately, 11.6.0: without plugins, and with a web client that was a dummy
upgraded   from 5.29.0 to 10.6.0 and to 10.11.6 with these tools; what was there before was there after
These tools also ran on 5.31.9, 5.37.10, 6.3.10, 6.7.2, 7.1.9, 7.8.15, 8.1.13, 9.5.7, 9.11.0 and 10.5.7;
of these only what failed was noted, and put right. Nothing is known of the Enterprise Edition, of
released archives, or of versions that are not named.";

/// `files.interrupted`.
pub(crate) const OWN: Premise =
    premise("journals of these tools, of no version of the server", "the same on every version");

/// `files.version`.
pub(crate) const VERSION: Premise = premise(
    "the lines that bin/mattermost prints of its version: recorded",
    "reads the same lines; without them no version is known, and mm-verify says so before any check",
);

/// `files.release`.
pub(crate) const RELEASE: Premise = premise(
    "at its start the server rewrites root.html, manifest.json and css in client/, and nothing else of the release: recorded",
    "leaves out the same files; another one that a server rewrites would fail as altered",
);

/// `files.owner`.
pub(crate) const OWNER: Premise = premise(
    "a server without write access to its configuration or data fails or complains: 5.29.0, 7.8.0, 9.5.0",
    "asks the same of every version",
);

/// `files.port`, `database.indexes`.
pub(crate) const SYSTEM: Premise =
    premise("a rule of Linux or PostgreSQL, of no version of the server", "the same on every version");

/// `files.config`.
pub(crate) const CONFIG: Premise = premise(
    "a server that cannot read its configuration does not start (5.29.0, 7.8.0, 9.5.0); one that it makes itself has mode \
     0600 (5.29.0) or 0644 (7.8.0, 9.5.0)",
    "asks the same of every version",
);

/// `files.settings`.
pub(crate) const SETTINGS: Premise = premise(
    "no step from one version to the next changes the value of a key that stays (recorded, upgraded); keys go, change \
     their spelling, or are added inside others",
    "compares in the same way; a value that a release changes by itself is reported as changed",
);

/// `database.schema`.
pub(crate) const SCHEMA: Premise = premise(
    "the numbers and names in db_migrations, and the row Version up to 6.3: recorded",
    "between two of them what the earlier had must be there and what the later had may be; after the last, more may be",
);

/// `database.migrations`.
pub(crate) const FLAGS: Premise = premise(
    "the keys of application migrations in systems, of which none ever disappears: recorded",
    "wants the keys of the last recorded version up to this one; more may be there",
);

/// `database.jobs`.
pub(crate) const JOBS: Premise = premise(
    "migration jobs that end by themselves: 5.29.0, 9.5.0, 9.10.0, 11.6.0 (approximately)",
    "looks for jobs whose type ends in migration(s); warns only",
);

/// `database.nulls`, `database.defaults`.
pub(crate) const JUMP: Premise = premise(
    "what a jump leaves behind: from 5.29.0 to 6.7.0, 7.1.0, 7.8.0, 8.1.0, 9.5.0, 9.10.0 and 10.6.0. Empty lastrootpostat and \
     schemeguest: on no server, from reports alone (6.x, 9.4)",
    "looks at those of the columns that the database has; an empty schemeguest fails on 9.4 alone and warns elsewhere",
);

/// `database.permissions`, `database.roles`.
pub(crate) const ROLES: Premise = premise(
    "the built-in roles and their permissions, of which none is taken away but for those renamed by 11.6: recorded",
    "wants the roles of the last recorded version up to this one; of permissions only those that were there before, or \
     without which nobody can work",
);

/// `database.memberships`, `history.posts`, `history.counts`, `history.threads`.
pub(crate) const ROWS: Premise = premise(
    "no step alters these columns of messages, or removes a row of messages, users, teams, channels, memberships, files: \
     recorded, upgraded",
    "compares the same columns; one that a version does not have is said as an error, not as a fault of the server",
);

/// `history.files`.
pub(crate) const UPLOADS: Premise = premise(
    "where an upload lies and what its row says: recorded; unchanged through a whole upgrade: upgraded",
    "looks in the same places",
);

/// `server.ping`.
pub(crate) const PING: Premise = premise("status OK in the answer to ping: recorded", "wants the same answer");

/// `server.status`.
pub(crate) const STATUS: Premise = premise(
    "the answer of a healthy server: recorded; that of one that has lost its database: 5.29.0, 7.8.0, 9.5.0",
    "fails on UNHEALTHY or an error; a status that is not told is no fault",
);

/// `server.version`.
pub(crate) const NAMED: Premise = premise(
    "the header X-Version-Id and the version in the client configuration: recorded",
    "wants the same; a server that names no version fails",
);

/// `web.root`, `web.bundles`.
pub(crate) const CLIENT: Premise = premise(
    "the page and its answer when a file is missing: recorded; a real page names main.js, remote_entry.js and icons alone: \
     on the real client of late 2025",
    "takes the names from the page, whatever they are, here and at the SiteURL; chunks that only main.js names are looked \
     at by files.release",
);

/// `users.me`.
pub(crate) const SESSION: Premise = premise(
    "the answer: recorded; that a session put into the database is taken: 5.29.0, 6.7.0, 9.10.0, 11.6.0 (approximately)",
    "makes the same session (all checks `users` do, and those that write); where none is taken, this check fails",
);

/// `users.teams` and the other calls of the web client.
pub(crate) const CALLS: Premise = premise(
    "the calls and their answers on a good database: recorded; on one that has jumped: 6.7.0 to 9.10.0, 11.6.0 (approximately)",
    "makes the same calls; one that the version does not have (users.threads on 5.29.0) is skipped",
);

/// `users.post`, `users.reply`, `users.search`, `users.file`.
pub(crate) const WRITING: Premise = premise("the calls and their answers: recorded", "makes the same calls");

/// `users.edit`, `users.delete`.
pub(crate) const EDITING: Premise = premise(
    "the answers to an edit and a deletion: 5.29.0; what reading a deleted message answers: on no server",
    "makes the same calls",
);

/// `server.websocket`.
pub(crate) const EVENTS: Premise = premise(
    "challenge and hello: recorded. An Origin that is the address asked: 5.29.0, 5.31.9, 5.37.1, 5.37.10, 6.3.10, 6.7.2, \
     7.1.9; one that is the SiteURL: 7.8.15, 10.6.0, 10.11.6",
    "tries the rule that is likelier for the version (7.8.7 is taken for the first with the second), then the other, and \
     what AllowCorsFrom names, before it fails; WebsocketURL and a site URL that sends on: on no server, from the source",
);

/// `server.plugins`.
pub(crate) const PLUGINS: Premise = premise(
    "the list of a server without plugins: recorded; a plugin that does not start, and Playbooks without a licence (9.11.12, \
     10.5.3): from reports alone",
    "reads the same list; `switched off` (501) was seen on no server",
);

/// `browser.*`.
pub(crate) const BROWSER: Premise = premise(
    "the elements were read in clients of 2018-07 (5.1), 2025-09 and 2026-07 (11.10), and seen in a browser on 10.6.0 and \
     10.11.6",
    "proves itself on the page for signing in; a client in no known form is `could not be made`, not a fault",
);

/// A section for the long help and mm-verify(1): every check, by what it takes for granted.
pub(crate) fn help(all: &[Definition]) -> String {
    let mut text = String::from("Versions on which what the checks take for granted was observed:\n");
    for line in NAMES.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    for (at, first) in all.iter().enumerate() {
        if all[..at].iter().any(|earlier| earlier.premise == first.premise) {
            continue;
        }
        let ids: Vec<&str> = all.iter().filter(|other| other.premise == first.premise).map(|other| other.id).collect();
        wrap(&mut text, 2, &ids.join(", "));
        wrap(&mut text, 6, &format!("observed: {}", first.premise.observed));
        wrap(&mut text, 6, &format!("elsewhere: {}", first.premise.elsewhere));
    }
    text
}

/// Columns of a line of help.
const WIDTH: usize = 100;

/// Adds `words` in lines of that width, `indent` columns from the margin.
fn wrap(text: &mut String, indent: usize, words: &str) {
    let mut line = String::new();
    for word in words.split_whitespace() {
        if !line.is_empty() && indent + line.len() + word.len() >= WIDTH {
            let _ = writeln!(text, "{:indent$}{line}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{:indent$}{line}", "");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ALL;

    /// Whether a text says where something was seen: a version, one of the names, or that it is of none.
    fn names_versions(text: &str) -> bool {
        let number = |word: &str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
        text.split([' ', ',', ';', ':', '(', ')'])
            .any(|word| number(word) || ["recorded", "upgraded", "no"].contains(&word))
    }

    #[test]
    fn every_check_says_on_which_versions_it_was_observed_and_what_it_does_elsewhere() {
        for check in ALL {
            assert!(names_versions(check.premise.observed), "{}: {}", check.id, check.premise.observed);
            assert!(!check.premise.elsewhere.is_empty(), "{}", check.id);
        }
    }

    #[test]
    fn the_help_has_every_check_once_in_lines_that_fit() {
        let help = help(ALL);
        for check in ALL {
            let lines = help.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
            let count = lines.flat_map(|line| line.split([',', ' '])).filter(|word| *word == check.id).count();
            assert_eq!(count, 1, "{}: {help}", check.id);
        }
        let mut wrapped = help.lines().skip_while(|line| !line.is_empty());
        assert!(wrapped.all(|line| line.len() <= WIDTH), "{help}");
    }
}
