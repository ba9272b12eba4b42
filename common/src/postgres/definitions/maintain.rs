//! The right `MAINTAIN`, which came with 17. Before, the owner of a table could do what it allows whatever its rights were.
//! One who has given up rights on its own table has it there: what takes the others from it was written before there was
//! this one.

use std::collections::BTreeSet;

const RIGHT: &str = "MAINTAIN";

/// All rights on a table before there was that one, as a `pg_dump` that knows it writes them.
const ALL_BEFORE: [&str; 7] = ["SELECT", "INSERT", "REFERENCES", "DELETE", "TRIGGER", "TRUNCATE", "UPDATE"];

/// The statements about the rights on an object, without what the owner of a table has there from 17 on.
pub(super) fn levelled(text: &str) -> String {
    let given_up: BTreeSet<&str> = text
        .lines()
        .filter_map(statement)
        .filter(|statement| statement.verb == "REVOKE" && statement.is_all())
        .map(|statement| statement.role())
        .collect();
    let mut lines: Vec<String> = text.lines().filter_map(|line| one(line, &given_up)).collect();
    // They are in no order.
    lines.sort();
    lines.join("\n")
}

fn one(line: &str, given_up: &BTreeSet<&str>) -> Option<String> {
    let Some(said) = statement(line).filter(|said| given_up.contains(said.role())) else {
        return Some(line.to_owned());
    };
    let Statement { before, verb, rights, after } = said;
    if verb == "REVOKE" && said.is_all() {
        return Some(format!("{before}REVOKE ALL{after}"));
    }
    let kept: Vec<&str> = rights.split(',').filter(|right| *right != RIGHT).collect();
    (!kept.is_empty()).then(|| format!("{before}{verb} {}{after}", kept.join(",")))
}

/// `GRANT SELECT,MAINTAIN ON TABLE a.b TO c;`, and what stands before it of default privileges.
#[derive(Clone, Copy)]
struct Statement<'a> {
    before: &'a str,
    verb: &'a str,
    rights: &'a str,
    /// From ` ON ` on.
    after: &'a str,
}

impl<'a> Statement<'a> {
    fn is_all(&self) -> bool {
        let rights: BTreeSet<&str> = self.rights.split(',').collect();
        self.rights == "ALL" || rights == ALL_BEFORE.into()
    }

    fn role(&self) -> &'a str {
        let (_, role) =
            self.after.rsplit_once(if self.verb == "GRANT" { " TO " } else { " FROM " }).unwrap_or_default();
        role.trim_end_matches(';').trim_end_matches(" WITH GRANT OPTION")
    }
}

fn statement(line: &str) -> Option<Statement<'_>> {
    let start = ["GRANT ", "REVOKE "].iter().find_map(|verb| {
        let is_default = line.starts_with("ALTER DEFAULT PRIVILEGES ");
        if is_default { line.find(&format!(" {verb}")).map(|at| at + 1) } else { line.starts_with(verb).then_some(0) }
    })?;
    let (before, rest) = line.split_at(start);
    let (verb, rest) = rest.split_once(' ')?;
    let at = rest.find(" ON ")?;
    Some(Statement { before, verb, rights: &rest[..at], after: &rest[at..] })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `pg_dump` 17.12 writes it of 15.18, and of what `pg_upgrade` has made of that in 17.
    #[test]
    fn what_an_owner_has_given_up_is_given_up_though_it_maintains_its_table() {
        let all = ALL_BEFORE.join(",");
        let then = format!("GRANT SELECT ON TABLE a.b TO third;\nREVOKE {all} ON TABLE a.b FROM third;");
        let now = "GRANT SELECT,MAINTAIN ON TABLE a.b TO third;\nREVOKE ALL ON TABLE a.b FROM third;";
        assert_eq!(levelled(&then), levelled(now));
        let nothing = format!("REVOKE {all} ON TABLE a.b FROM \"the third\";");
        let now = "GRANT MAINTAIN ON TABLE a.b TO \"the third\";\nREVOKE ALL ON TABLE a.b FROM \"the third\";";
        assert_eq!(levelled(&nothing), levelled(now));
        let before = "ALTER DEFAULT PRIVILEGES FOR ROLE x IN SCHEMA s";
        let then = format!("{before} GRANT SELECT ON TABLES TO x;\n{before} REVOKE {all} ON TABLES FROM x;");
        let now = format!("{before} GRANT SELECT,MAINTAIN ON TABLES TO x;\n{before} REVOKE ALL ON TABLES FROM x;");
        assert_eq!(levelled(&then), levelled(&now));
    }

    #[test]
    fn what_others_have_of_it_and_any_other_right_is_told() {
        for (then, now) in [
            ("GRANT SELECT ON TABLE a.b TO r;", "GRANT SELECT,MAINTAIN ON TABLE a.b TO r;"),
            (
                "GRANT SELECT ON TABLE a.b TO o;\nREVOKE ALL ON TABLE a.b FROM o;",
                "GRANT SELECT,INSERT,MAINTAIN ON TABLE a.b TO o;\nREVOKE ALL ON TABLE a.b FROM o;",
            ),
            ("GRANT SELECT(a),UPDATE(b) ON TABLE a.b TO r;", "GRANT SELECT(a) ON TABLE a.b TO r;"),
        ] {
            assert_ne!(levelled(then), levelled(now), "{now}");
        }
    }
}
