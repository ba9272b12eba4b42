//! Checks of who gets in: ways to log in that an edition lacks, and the licence.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::Severity;
use semver::Version;

use super::database::{DatabaseView, text};
use super::{Bad, Check, Outcome, licence};

pub(super) fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    vec![
        Check {
            id: "logins",
            title: "Ways to log in that the edition lacks",
            source: "mattermost/docs: important-upgrade-notes v11.0, editions-and-offerings",
            look: logins,
        },
        Check {
            id: "licence",
            title: "Licence",
            source: "mattermost/docs: important-upgrade-notes v10.8",
            look: current_licence,
        },
    ]
}

/// The release from which on Team Edition does not know GitLab.
const WITHOUT_GITLAB: Version = Version::new(11, 0, 0);
/// Ways to log in that Team Edition never had.
const OF_ENTERPRISE: [&str; 5] = ["ldap", "saml", "google", "office365", "openid"];

fn logins(view: &DatabaseView<'_>) -> Result<Outcome> {
    let way = &view.way;
    if way.edition != Edition::Team {
        return Ok(Outcome::Beside("Enterprise Edition has them all".into()));
    }
    let gitlab = way.crossing(&WITHOUT_GITLAB);
    let leaves = way.before == Some(Edition::Enterprise);
    let first = way.hops.first().filter(|_| leaves).or(gitlab);
    let Some(first) = first else { return Ok(Outcome::not_crossed("11.0, and the edition stays")) };
    let rows = view.database.rows(
        "SELECT authservice AS service, pg_catalog.count(*) AS n FROM users WHERE deleteat = 0 AND authservice <> '' \
         GROUP BY 1 ORDER BY 1",
    )?;
    let mut evidence = Vec::new();
    for row in &rows {
        let service = text(row, "service");
        let number = ui::count(row["n"].as_u64().unwrap_or(0), "active user");
        if service == "gitlab" && gitlab.is_some() {
            evidence.push(format!("{number} with a login of GitLab, which 11.x Team Edition does not have"));
        } else if leaves && OF_ENTERPRISE.contains(&service.as_str()) {
            evidence.push(format!("{number} with a login of {service}, which Team Edition does not have"));
        }
    }
    if leaves {
        let guests = view.count("users", "deleteat = 0 AND roles LIKE '%system_guest%'")?;
        if guests > 0 {
            evidence.push(format!("{}, which Team Edition does not have", ui::count(guests, "active guest")));
        }
    }
    Ok(Outcome::of(evidence, "everybody can log in as before", |evidence| {
        Bad {
        severity: Severity::Action,
        evidence,
        hop: Some(first.to.clone()),
        fix: "before that hop let them log in another way (mmctl user migrate-auth, or e-mail and password), or stay with an \
              edition and release that have it"
            .into(),
    }
    }))
}

/// The release that accepts the old licences no more.
const WITHOUT_OLD: Version = Version::new(10, 8, 0);
const DAY: i64 = 24 * 60 * 60 * 1000;

fn current_licence(view: &DatabaseView<'_>) -> Result<Outcome> {
    let way = &view.way;
    if way.edition == Edition::Team {
        return Ok(Outcome::Beside("Team Edition needs none".into()));
    }
    let Some(licence) = licence::read(view.database, way.outside)? else {
        return Ok(Outcome::Beside(way.outside.looked()));
    };
    let hop = way.crossing(&WITHOUT_OLD).filter(|_| matches!(licence.name.as_str(), "E10" | "E20"));
    let mut evidence = Vec::new();
    if hop.is_some() {
        evidence.push(format!("it is an {}, which 10.8 does not accept any more", licence.name));
    }
    let now = view
        .database
        .value("SELECT (extract(epoch FROM pg_catalog.now()) * 1000)::bigint AS now")?
        .as_i64()
        .unwrap_or(0);
    if let Some(ends) = licence.ends.filter(|ends| *ends > 0 && *ends < now) {
        evidence.push(format!("it ended {} ago", ui::count((now - ends) / DAY, "day")));
    }
    let users = view.count("users", "deleteat = 0")?;
    if let Some(seats) = licence.seats.filter(|seats| *seats > 0 && *seats < users) {
        evidence.push(format!("it is for {}, and {users} are active", ui::count(seats, "user")));
    }
    Ok(Outcome::of(evidence, &format!("{} accepted on the whole way", licence.name), |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: hop.map(|hop| hop.to.clone()),
        fix: "get a current licence and install it in System Console > Edition and License before the upgrade".into(),
    }))
}
