//! Reading what `pg_dump`, `pg_restore` and `pg_dumpall` print: which statement belongs to which object.

use std::collections::{BTreeMap, BTreeSet};

use super::{Definitions, RightsOf};
use crate::contract::digest;

/// Kinds for which the order of the statements means nothing.
const UNORDERED: &[&str] = &["ACL ", "DEFAULT ACL ", "DATABASE PROPERTIES "];

/// Kinds that stand where the settings before them say.
const PLACED: &[&str] = &["TABLE ", "MATERIALIZED VIEW ", "INDEX ", "CONSTRAINT "];

/// A piece of such a text.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// The line that announces an object.
    Heading(&'a str),
    /// A statement, with its semicolon.
    Statement(&'a str),
}

/// The objects, each with its statements.
pub(super) fn sections(text: &str) -> Definitions {
    let mut found = Definitions::new();
    let mut settings = Settings::default();
    let mut section: Option<(String, Vec<String>)> = None;
    for piece in pieces(text) {
        match piece {
            Piece::Heading(line) => {
                keep(&mut found, section.take());
                section = name(line).map(|name| (name, Vec::new()));
            }
            Piece::Statement(statement) if settings.take(statement) => {}
            Piece::Statement(statement) => {
                if let Some((name, statements)) = &mut section {
                    let first = statements.is_empty();
                    statements
                        .push(settings.about(statement, first && PLACED.iter().any(|kind| name.starts_with(kind))));
                }
            }
        }
    }
    keep(&mut found, section);
    found
}

/// Every statement about an object, in order: the owner of that, and as whom it is to be run where that is somebody else.
pub(super) fn statements(text: &str) -> Vec<(String, Option<String>, String)> {
    let mut found = Vec::new();
    let mut settings = Settings::default();
    let mut owner = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Heading(line) => {
                let named = line.rsplit_once("; Owner: ").map_or("", |(_, owner)| owner);
                named.split("; Tablespace: ").next().unwrap_or_default().clone_into(&mut owner);
            }
            Piece::Statement(statement) if settings.take(statement) => {}
            Piece::Statement(statement) => found.push((owner.clone(), settings.session.clone(), statement.to_owned())),
        }
    }
    found
}

/// The statements about each object, in order.
pub(super) fn rights(text: &str) -> BTreeMap<String, RightsOf> {
    let mut found = BTreeMap::<String, RightsOf>::new();
    let mut settings = Settings::default();
    let mut object = None;
    for piece in pieces(text) {
        match piece {
            Piece::Heading(line) => object = name(line),
            Piece::Statement(statement) if settings.take(statement) => {}
            Piece::Statement(statement) => {
                let said = (settings.session.clone(), statement.to_owned());
                if let Some(object) = &object {
                    found.entry(object.clone()).or_default().push(said);
                }
            }
        }
    }
    found
}

fn keep(found: &mut Definitions, section: Option<(String, Vec<String>)>) {
    let Some((name, mut statements)) = section.filter(|(_, statements)| !statements.is_empty()) else { return };
    if UNORDERED.iter().any(|kind| name.starts_with(kind)) {
        statements.sort();
    }
    let text = statements.join("\n");
    match found.get_mut(&name) {
        // Names are not always unique: operators are called alike.
        Some(others) => {
            let mut all: Vec<&str> = others.split("\n\n").chain([text.as_str()]).collect();
            all.sort_unstable();
            *others = all.join("\n\n");
        }
        None => drop(found.insert(name, text)),
    }
}

/// Roles and tablespaces: each statement is its own name.
pub(super) fn globals(text: &str) -> Definitions {
    let statements: BTreeSet<String> = pieces(text)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Statement(statement) if !is_setting(statement) => Some(statement),
            _ => None,
        })
        .map(|statement| without_password(&membership(statement)))
        .collect();
    statements.into_iter().map(|statement| (statement, "said".to_owned())).collect()
}

/// `GRANT role TO member`, without who has granted it: up to 15 that may be a role that is there no more, and nothing
/// depends on it.
fn membership(statement: &str) -> String {
    let is_one = statement.starts_with("GRANT ") && !statement.contains(" ON ");
    match statement.split_once(" GRANTED BY ").filter(|_| is_one) {
        Some((grant, _)) => format!("{grant};"),
        None => statement.to_owned(),
    }
}

/// A statement with the digest of its password in the place of that.
fn without_password(statement: &str) -> String {
    let Some((before, rest)) = statement.split_once(" PASSWORD '") else { return statement.to_owned() };
    let (password, after) = rest.split_once('\'').unwrap_or((rest, ""));
    let digest = digest::of_bytes(password.as_bytes());
    format!("{before} PASSWORD (of digest {}){after}", &digest[..16])
}

/// What stands between statements and holds for those that follow.
#[derive(Debug, Default)]
struct Settings {
    tablespace: String,
    access_method: String,
    session: Option<String>,
}

impl Settings {
    /// Whether a statement was one of these.
    fn take(&mut self, statement: &str) -> bool {
        let statement = statement.trim_end_matches(';');
        let value = |name: &str| statement.strip_prefix("SET ")?.strip_prefix(name)?.strip_prefix(" = ");
        if let Some(place) = value("default_tablespace") {
            place.trim_matches('\'').clone_into(&mut self.tablespace);
        } else if let Some(method) = value("default_table_access_method") {
            // What every server has; earlier than 12 they do not say so.
            if method == "heap" { String::new() } else { method.to_owned() }.clone_into(&mut self.access_method);
        } else if let Some(role) = statement.strip_prefix("SET SESSION AUTHORIZATION ") {
            self.session = (role != "DEFAULT").then(|| role.to_owned());
        } else if statement == "RESET SESSION AUTHORIZATION" {
            self.session = None;
        } else {
            return is_setting(statement);
        }
        true
    }

    /// A statement, and what holds for it.
    fn about(&self, statement: &str, is_placed: bool) -> String {
        let mut text = statement.to_owned();
        if let Some(role) = &self.session {
            text = format!("as {role}: {text}");
        }
        let places = [("in the tablespace", &self.tablespace), ("of the access method", &self.access_method)];
        for (words, place) in places.iter().filter(|(_, place)| is_placed && !place.is_empty()) {
            text.extend([" (", words, " ", place, ")"]);
        }
        text
    }
}

fn is_setting(statement: &str) -> bool {
    statement.starts_with("SET ") || statement.starts_with("SELECT pg_catalog.set_config(")
}

/// `TABLE public.posts` of `-- Name: posts; Type: TABLE; Schema: public; Owner: mmuser`.
fn name(line: &str) -> Option<String> {
    let (rest, owner) = line.strip_prefix("-- Name: ")?.rsplit_once("; Owner: ")?;
    let (rest, schema) = rest.rsplit_once("; Schema: ")?;
    let (name, kind) = rest.rsplit_once("; Type: ")?;
    let owner = owner.split("; Tablespace: ").next().unwrap_or_default();
    Some(match (kind, schema) {
        // Its name begins with its kind already.
        ("USER MAPPING", _) => name.to_owned(),
        // These have no name of their own.
        ("DEFAULT ACL", _) => format!("{kind} {schema}.{name} of {owner}"),
        (_, "-") => format!("{kind} {name}"),
        _ => format!("{kind} {schema}.{name}"),
    })
}

/// Takes a text apart. What looks like a heading or the end of a statement inside of quotes is neither.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
        let words = line.trim_start();
        // Between statements: comments, and commands of psql.
        if words.is_empty() || words.starts_with("--") || words.starts_with('\\') {
            if words.starts_with("-- Name: ") {
                found.push(Piece::Heading(words));
            }
            at += line.len() + 1;
            continue;
        }
        let end = end_of_statement(rest);
        found.push(Piece::Statement(rest[..end].trim()));
        at += end;
    }
    found
}

/// Where the statement at the beginning of `text` ends: behind a semicolon at the end of a line and outside of quotes.
fn end_of_statement(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            b'\'' => {
                let escapes = at > 0 && matches!(bytes[at - 1], b'E' | b'e') && (at < 2 || !is_word(bytes[at - 2]));
                after_quote(bytes, at, b'\'', escapes)
            }
            b'"' => after_quote(bytes, at, b'"', false),
            b'$' if at == 0 || !is_word(bytes[at - 1]) => after_dollars(text, at),
            b';' if matches!(bytes.get(at + 1), None | Some(b'\n' | b'\r')) => return at + 1,
            _ => at + 1,
        };
    }
    bytes.len()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn after_quote(bytes: &[u8], start: usize, quote: u8, escapes: bool) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        if bytes[at] == b'\\' && escapes {
            at += 2;
        } else if bytes[at] == quote {
            // Doubled it is one of the text.
            if bytes.get(at + 1) != Some(&quote) {
                return at + 1;
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn after_dollars(text: &str, start: usize) -> usize {
    let rest = &text[start + 1..];
    let Some(length) = rest.find('$') else { return start + 1 };
    if rest[..length].bytes().any(|byte| !is_word(byte)) || rest.as_bytes()[0].is_ascii_digit() {
        return start + 1;
    }
    let tag = &text[start..start + length + 2];
    let inside = start + tag.len();
    text[inside..].find(tag).map_or(text.len(), |end| inside + end + tag.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DUMP: &str = r#"--
-- PostgreSQL database dump
--

\restrict x8J

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: mm
--

CREATE FUNCTION public.f() RETURNS text
    LANGUAGE sql
    AS $_$ SELECT 'a;
--
-- Name: no; Type: TABLE; Schema: x; Owner: y
--
' || $1; $_$;


ALTER FUNCTION public.f() OWNER TO mm;

SET default_tablespace = shelf;

SET default_table_access_method = heap;

--
-- Name: t; Type: TABLE; Schema: a b; Owner: mm; Tablespace: shelf
--

CREATE TABLE "a b".t (
    x text DEFAULT E'it\'s;
'
);


SET default_tablespace = '';

--
-- Name: TABLE t; Type: ACL; Schema: a b; Owner: mm
--

GRANT SELECT ON TABLE "a b".t TO z;
SET SESSION AUTHORIZATION z;
GRANT SELECT ON TABLE "a b".t TO b;
RESET SESSION AUTHORIZATION;
GRANT SELECT ON TABLE "a b".t TO a;


--
-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: -; Owner: mm
--

ALTER DEFAULT PRIVILEGES FOR ROLE mm GRANT SELECT ON TABLES  TO r;


--
-- PostgreSQL database dump complete
--

\unrestrict x8J
"#;

    #[test]
    fn each_statement_belongs_to_its_object() {
        let found = sections(DUMP);
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "ACL a b.TABLE t",
                "DEFAULT ACL -.DEFAULT PRIVILEGES FOR TABLES of mm",
                "FUNCTION public.f()",
                "TABLE a b.t"
            ]
        );
        assert!(found["FUNCTION public.f()"].ends_with("$_$;\nALTER FUNCTION public.f() OWNER TO mm;"));
        assert!(found["TABLE a b.t"].ends_with("\n);  (in the tablespace shelf)".replace("  ", " ").as_str()));
        let rights: Vec<&str> = found["ACL a b.TABLE t"].lines().collect();
        assert_eq!(
            rights,
            [
                "GRANT SELECT ON TABLE \"a b\".t TO a;",
                "GRANT SELECT ON TABLE \"a b\".t TO z;",
                "as z: GRANT SELECT ON TABLE \"a b\".t TO b;"
            ]
        );
    }

    #[test]
    fn of_a_password_the_digest_is_kept_and_of_a_membership_not_who_granted_it() {
        let found = globals(
            "CREATE ROLE r;\nALTER ROLE r WITH LOGIN PASSWORD 'md5geheim' VALID UNTIL 'x';\nGRANT g TO r WITH ADMIN OPTION GRANTED BY p;\n",
        );
        let all = found.keys().cloned().collect::<Vec<_>>().join("\n");
        assert!(!all.contains("geheim") && all.contains("PASSWORD (of digest ") && all.contains(" VALID UNTIL 'x';"));
        assert!(found.contains_key("GRANT g TO r WITH ADMIN OPTION;"), "{all}");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,200}") {
            let _ = (sections(&text), globals(&text));
        }

        #[test]
        fn a_literal_ends_no_statement(inside in "[a-z;\n$'\"-]{0,40}") {
            let text = format!("-- Name: v; Type: VIEW; Schema: s; Owner: o\nCOMMENT ON x IS '{}';\n\n-- Name: w; Type: VIEW; Schema: s; Owner: o\nSELECT 1;\n", inside.replace('\'', "''"));
            let found = sections(&text);
            prop_assert_eq!(found.len(), 2);
            prop_assert_eq!(found["VIEW s.w"].as_str(), "SELECT 1;");
        }
    }
}
