//! What one major writes otherwise than another about one and the same thing. Each of these is named with its reason; all
//! else that differs is a difference.

use super::{Definitions, expression, maintain};

/// Kinds whose statements may hold expressions.
const WITH_EXPRESSIONS: &[&str] = &[
    "TABLE ",
    "FOREIGN TABLE ",
    "CONSTRAINT ",
    "CHECK CONSTRAINT ",
    "DEFAULT ",
    "DOMAIN ",
    "INDEX ",
    "MATERIALIZED VIEW ",
    "POLICY ",
    "PUBLICATION TABLE ",
    "RULE ",
    "STATISTICS ",
    "TRIGGER ",
    "VIEW ",
];

/// The majors of the two servers.
pub type Majors = (u32, u32);

/// Whether one of the servers is older than `major`, and the other is not.
fn crosses(majors: Majors, major: u32) -> bool {
    (majors.0 < major) != (majors.1 < major)
}

/// Definitions without what depends on the major alone.
pub fn levelled(definitions: &Definitions, majors: Majors) -> Definitions {
    definitions.iter().map(|(name, text)| (level_name(name, majors), level(name, text, majors))).collect()
}

/// The name of an object. A statement about roles is its own.
pub fn level_name(name: &str, majors: Majors) -> String {
    // Arguments of procedures may be `OUT` from 14 on, so `IN` is said; what is about one is named by them.
    let is_about = ["ACL ", "COMMENT "].iter().any(|kind| name.starts_with(kind));
    if crosses(majors, 14) && is_about && name.contains("PROCEDURE ") {
        return without_in(name);
    }
    // From 16 on a membership says itself whether it is inherited; before, the role did.
    match name.strip_prefix("GRANT ").filter(|grant| crosses(majors, 16) && !grant.contains(" ON ")) {
        Some(grant) => {
            let (roles, options) = grant.trim_end_matches(';').split_once(" WITH ").unwrap_or((grant, ""));
            let admin = if options.contains("ADMIN OPTION") { " WITH ADMIN OPTION" } else { "" };
            format!("GRANT {}{admin};", roles.trim_end_matches(';'))
        }
        None => name.to_owned(),
    }
}

/// The statements of the object `name`, without what depends on the major alone.
pub fn level(name: &str, text: &str, majors: Majors) -> String {
    let is = |kinds: &[&str]| kinds.iter().any(|kind| name.starts_with(kind));
    // A moment is written as of the time zone of whoever dumps, which is a setting.
    let mut text = in_utc(text);
    if is(&["DATABASE "]) {
        // Up to 14 the C library was the only provider, and was not named.
        text = text.replace(" LOCALE_PROVIDER = libc", "");
    }
    if is(&["POLICY "]) {
        text = sorted_roles(&text);
    }
    if crosses(majors, 12) && is(&["TRIGGER "]) {
        // The word that was always allowed became the one that is written.
        text = text.replace(" EXECUTE PROCEDURE ", " EXECUTE FUNCTION ");
    }
    if crosses(majors, 14) {
        // Ranges of ranges came with 14: their names are made up there.
        if is(&["TYPE "]) {
            let kept = text.lines().filter(|line| !line.trim_start().starts_with("multirange_type_name = "));
            text = kept.map(|line| line.trim_end_matches(',')).collect::<Vec<_>>().join("\n");
        }
        // Arguments of procedures may be `OUT` from 14 on, so `IN` is said.
        if is(&["PROCEDURE ", "ACL ", "COMMENT "]) {
            text = without_in(&text);
        }
    }
    if crosses(majors, 16) {
        // From 16 on a column is written without its table where there is only one.
        if is(&["VIEW ", "MATERIALIZED VIEW ", "RULE ", "POLICY "]) || text.contains("\n    BEGIN ATOMIC\n") {
            text = unqualified(&text);
        }
        // 16 writes the names of ICU's locales in one of several ways.
        if is(&["COLLATION ", "DATABASE "]) && text.contains("icu") {
            text = without_value(&without_value(&text, "locale = '"), "ICU_LOCALE = '");
        }
    }
    if crosses(majors, 17) && is(&["ACL ", "DEFAULT ACL "]) {
        text = maintain::levelled(&text);
    }
    // From 18 on what is not null is a constraint with a name. The server makes it up, and a dump tells it where another
    // one was to be expected: in a long name, or beside a constraint that is called so.
    if crosses(majors, 18) && is(&["TABLE ", "FOREIGN TABLE "]) {
        text = without_names_of_not_null(&text);
    }
    // How often the server has read an expression depends on no major.
    if is(WITH_EXPRESSIONS) { expression::settled(&text) } else { text }
}

/// The roles of a policy in the order of their names: the server has them in the order in which they were made.
fn sorted_roles(text: &str) -> String {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(list) = rest.strip_prefix(" TO ") {
            let mut roles = vec![""];
            let mut end = 0;
            while let Some(first) = list[end..].chars().next().filter(|first| !matches!(first, ' ' | ';')) {
                let length = match first {
                    '"' => quoted(&list[end..], '"'),
                    other => other.len_utf8(),
                };
                if first == ',' {
                    // A blank follows it.
                    end += 2;
                    roles.push("");
                } else {
                    let start = end - roles.last().map_or(0, |role| role.len());
                    end += length;
                    roles.pop();
                    roles.push(&list[start..end]);
                }
            }
            roles.sort_unstable();
            return format!("{} TO {}{}", &text[..at], roles.join(", "), &list[end..]);
        }
        at += match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => quoted(rest, quote),
            other => other.map_or(1, char::len_utf8),
        };
    }
    text.to_owned()
}

fn without_in(text: &str) -> String {
    text.replace("(IN ", "(").replace(", IN ", ", ")
}

/// `NOT NULL` for `CONSTRAINT name NOT NULL`, outside of literals.
fn without_names_of_not_null(text: &str) -> String {
    let name = |rest: &str| match rest.strip_prefix('"') {
        Some(_) => quoted(rest, '"'),
        None => rest.find(' ').unwrap_or(rest.len()),
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '"', 'C']) {
        let (before, here) = rest.split_at(at);
        out.push_str(before);
        let named = here.strip_prefix("CONSTRAINT ").filter(|_| before.is_empty() || before.ends_with(' '));
        if let Some(after) = named.map(|named| &named[name(named)..]).filter(|after| after.starts_with(" NOT NULL")) {
            rest = &after[1..];
            continue;
        }
        let length = here.chars().next().filter(|first| *first != 'C').map_or(1, |quote| quoted(here, quote));
        out.push_str(&here[..length]);
        rest = &here[length..];
    }
    out + rest
}

/// A text with each literal that is a moment (`'2020-02-02 09:02:02+09'`) as of UTC.
fn in_utc(text: &str) -> String {
    let pieces: Vec<&str> = text.split('\'').collect();
    let is_moment = |piece: &str| piece.len() >= 22 && piece.as_bytes()[4] == b'-' && piece.as_bytes()[13] == b':';
    let one = |piece: &&str| match piece.parse::<jiff::Timestamp>() {
        Ok(moment) if is_moment(piece) => moment.to_string(),
        _ => (*piece).to_owned(),
    };
    pieces.iter().map(one).collect::<Vec<_>>().join("'")
}

/// Names without what stands before their last dot, outside of literals.
fn unqualified(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => quoted(rest, '\''),
            '"' => quoted(rest, '"'),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (piece, after) = rest.split_at(length);
        let is_name = first == '"' || (is_word(first) && !first.is_ascii_digit());
        let qualifies =
            is_name && after.strip_prefix('.').is_some_and(|next| next.starts_with(|c| is_word(c) || c == '"'));
        if qualifies {
            rest = &after[1..];
        } else {
            out.push_str(piece);
            rest = after;
        }
    }
    out
}

/// How long the quoted text at the beginning is.
pub(in crate::postgres) fn quoted(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(next) = text.get(at..).and_then(|rest| rest.find(quote)) {
        at += next + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

fn without_value(text: &str, before: &str) -> String {
    let Some((start, rest)) = text.split_once(before) else { return text.to_owned() };
    format!("{start}{before}{}", rest.split_once('\'').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_a_policy_are_in_no_order() {
        let of = |roles: &str| {
            format!("CREATE POLICY \"x TO y\" ON a.b FOR UPDATE TO {roles} USING ((a <> ' TO c, b '::text));")
        };
        let is = |one: &str, other: &str| {
            level("POLICY a.b x", &of(one), (15, 15)) == level("POLICY a.b x", &of(other), (15, 15))
        };
        assert!(is("third, \"a, \"\"b\", reader", "reader, third, \"a, \"\"b\""));
        assert!(!is("third, reader", "third, other"));
        assert_eq!(level("POLICY a.b x", "CREATE POLICY x ON a.b;", (15, 15)), "CREATE POLICY x ON a.b;");
    }

    #[test]
    fn what_a_major_alone_writes_otherwise_is_levelled() {
        let old = "CREATE VIEW public.v AS\n SELECT posts.id,\n    'a.b' AS \"x.y\"\n   FROM public.posts;";
        let new = "CREATE VIEW public.v AS\n SELECT id,\n    'a.b' AS \"x.y\"\n   FROM public.posts;";
        assert_eq!(level("VIEW public.v", old, (15, 17)), level("VIEW public.v", new, (15, 17)));
        assert_ne!(level("VIEW public.v", old, (13, 15)), level("VIEW public.v", new, (13, 15)));

        let range = |more: &str| format!("CREATE TYPE s.r AS RANGE (\n    subtype = integer{more}\n);");
        let new = range(",\n    multirange_type_name = s.rm");
        assert_eq!(level("TYPE s.r", &new, (13, 15)), level("TYPE s.r", &range(""), (13, 15)));

        let database = "CREATE DATABASE x WITH TEMPLATE = template0 LOCALE_PROVIDER = libc LOCALE = 'C';";
        assert!(!level("DATABASE x", database, (13, 15)).contains("libc"));
        for of in ["ACL x.", "COMMENT x."] {
            let (old, new) =
                (format!("{of}PROCEDURE f(a integer, b text)"), format!("{of}PROCEDURE f(IN a integer, IN b text)"));
            assert_eq!(level_name(&new, (13, 15)), old);
            assert_eq!(level_name(&new, (14, 15)), new);
        }
        let grant = "GRANT a TO b WITH ADMIN OPTION, INHERIT TRUE;";
        assert_eq!(level_name(grant, (15, 17)), "GRANT a TO b WITH ADMIN OPTION;");
        assert_eq!(level_name("GRANT a TO b;", (15, 17)), "GRANT a TO b;");
    }

    #[test]
    fn what_is_not_null_has_a_name_from_18_on() {
        let table = |first: &str, second: &str| {
            format!(
                "CREATE TABLE s.x (\n    \"a b\" text DEFAULT 'CONSTRAINT x NOT NULL' {first},\n    b int {second},\n    CONSTRAINT c CHECK (b > 0)\n);"
            )
        };
        let old = table("NOT NULL", "NOT NULL");
        let new = table("CONSTRAINT x_not_null1 NOT NULL", "CONSTRAINT \"x NOT NULL\" NOT NULL");
        assert_eq!(level("TABLE s.x", &new, (17, 18)), old);
        assert_eq!(level("TABLE s.x", &old, (17, 18)), old);
        assert_eq!(level("TABLE s.x", &new, (18, 18)), new);
    }

    #[test]
    fn a_moment_is_the_same_in_every_time_zone() {
        let of =
            |moment: &str| level("TABLE a.b", &format!("at timestamptz DEFAULT '{moment}'::timestamptz, '"), (15, 15));
        assert_eq!(of("2020-02-02 09:02:02+09"), of("2020-02-02 00:02:02+00"));
        assert_eq!(of("2020-02-02 05:47:02.5+05:45"), of("2020-02-02 00:02:02.5+00"));
        assert_ne!(of("2020-02-02 09:02:02+09"), of("2020-02-02 09:02:02+00"));
    }

    #[test]
    fn between_servers_of_one_major_nothing_is_levelled() {
        for (name, text) in [("VIEW a.v", "SELECT a.b"), ("TYPE a.r", "    multirange_type_name = s.rm")] {
            assert_eq!(level(name, text, (15, 15)), text);
        }
    }
}
