//! Checks of the systemd unit.

use mm_common::contract::error::{Error, Result};
use mm_common::machine::service::Manager;
use mm_common::mattermost::catalogue::Severity;
use semver::Version;

use super::host::HostView;
use super::{Bad, Check, Outcome, Way};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![
        Check {
            id: "unit-timeout",
            title: "Time that the unit gives a start",
            source: "mattermost/docs#1799; important-upgrade-notes v6.0",
            look: |view| on_the_unit(view, timeout),
        },
        Check {
            id: "unit-postgres",
            title: "Unit that stops with PostgreSQL",
            source: "mattermost/docs: systemd units with BindsTo=postgresql.service",
            look: |view| on_the_unit(view, |unit, way| Ok(bound_to_postgres(unit, way))),
        },
        Check {
            id: "unit-platform",
            title: "Unit that runs bin/platform",
            source: "mattermost/docs: important-upgrade-notes v5.0, v5.37",
            look: |view| on_the_unit(view, |unit, way| Ok(platform(unit, way))),
        },
        Check {
            id: "unit-flags",
            title: "Flags that a newer server does not know",
            source: "a server of 9.x ends with `unknown flag`",
            look: |view| on_the_unit(view, |unit, way| Ok(flags(unit, way))),
        },
    ]
}

/// What `systemctl show` says of the unit, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Unit {
    timeout: String,
    bound: String,
    exec_start: String,
}

fn on_the_unit(view: &HostView<'_>, judge: fn(&Unit, &Way<'_>) -> Result<Outcome>) -> Result<Outcome> {
    let Manager::Systemd { unit } = &view.installation.service.manager else {
        return Ok(Outcome::Beside(format!(
            "the service is run by {}, not by systemd",
            view.installation.service.manager.name()
        )));
    };
    judge(&parse(&(view.show_unit)(unit)?), &view.way)
}

fn parse(shown: &str) -> Unit {
    let mut unit = Unit::default();
    for (key, value) in shown.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "TimeoutStartUSec" => value.clone_into(&mut unit.timeout),
            "ExecStart" => value.clone_into(&mut unit.exec_start),
            "BindsTo" | "Requires" | "PartOf" => {
                unit.bound.push_str(value);
                unit.bound.push(' ');
            }
            _ => {}
        }
    }
    unit
}

/// What Mattermost's own unit gives.
const USUAL_SECONDS: u64 = 3600;

fn timeout(unit: &Unit, _way: &Way<'_>) -> Result<Outcome> {
    let Some(seconds) = span(&unit.timeout) else {
        return match unit.timeout.as_str() {
            "infinity" => Ok(Outcome::Good("no limit".into())),
            other => Err(Error::failed(format!("cannot understand TimeoutStartUSec={other}"))),
        };
    };
    let evidence = (seconds < USUAL_SECONDS)
        .then(|| format!("TimeoutStartSec is {seconds} s; a migration that takes longer is killed"));
    Ok(Outcome::of(evidence.into_iter().collect(), &format!("{seconds} s"), |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix: format!("mm-swap lifts it for its own starts; set TimeoutStartSec={USUAL_SECONDS} for those of others"),
    }))
}

/// A time span as systemd prints it (`1h 30min 5s`); none for `infinity` and for what is no span.
fn span(text: &str) -> Option<u64> {
    let mut seconds = 0;
    for word in text.split_whitespace() {
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let number: u64 = word[..digits].parse().ok()?;
        let unit = match &word[digits..] {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            "ms" | "us" => 0,
            _ => return None,
        };
        seconds += number * unit;
    }
    (!text.trim().is_empty()).then_some(seconds)
}

fn bound_to_postgres(unit: &Unit, way: &Way<'_>) -> Outcome {
    let evidence = unit
        .bound
        .split_whitespace()
        .filter(|name| name.starts_with("postgresql"))
        .map(|name| format!("it stops when {name} does"))
        .collect();
    Outcome::of(evidence, "it does not", |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: way.bump().map(|hop| hop.to.clone()),
        fix: "nothing is to be done for these tools; know that restarting PostgreSQL by hand stops Mattermost".into(),
    })
}

/// Gone in 9.x.
const GONE: &str = "--disableconfigwatch";

fn flags(unit: &Unit, way: &Way<'_>) -> Outcome {
    let Some(hop) = way.crossing(&Version::new(9, 0, 0)) else { return Outcome::not_crossed("9.0") };
    let evidence = unit.exec_start.contains(GONE).then(|| format!("ExecStart has {GONE}, which 9.0 does not know"));
    Outcome::of(evidence.into_iter().collect(), "none", |evidence| Bad {
        severity: Severity::Block,
        evidence,
        hop: Some(hop.to.clone()),
        fix: format!("take {GONE} out of ExecStart, then systemctl daemon-reload"),
    })
}

fn platform(unit: &Unit, way: &Way<'_>) -> Outcome {
    let Some(hop) = way.crossing(&Version::new(5, 37, 0)) else { return Outcome::not_crossed("5.37") };
    let evidence = unit
        .exec_start
        .contains("bin/platform")
        .then(|| "ExecStart runs bin/platform, which 5.37 does not have".to_owned());
    Outcome::of(evidence.into_iter().collect(), "it runs bin/mattermost", |evidence| Bad {
        severity: Severity::Block,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "let ExecStart run bin/mattermost with the install root as WorkingDirectory, then systemctl daemon-reload"
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use mm_common::contract::version::Edition;
    use mm_common::mattermost::carried::Carried;
    use mm_common::mattermost::catalogue::Catalogue;

    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use super::*;
    use crate::check::Outside;
    use crate::plan::{Start, plan};
    use crate::wish::{Policy, Wish};

    /// Judges a unit on the way from 5.29.0 to `to`.
    fn judged(shown: &str, to: &str, judge: fn(&Unit, &Way<'_>) -> Result<Outcome>) -> Outcome {
        let catalogue = Catalogue::embedded().unwrap();
        let start = Start::on_paper(Version::new(5, 29, 0), Edition::Team);
        let wish = Wish {
            to: to.parse().unwrap(),
            policy: Policy::Direct,
            via: Vec::new(),
            avoid: Vec::new(),
            postgres: None,
            edition: None,
        };
        let hops = plan(&catalogue, &start, &wish).unwrap().path.hops;
        let way = Way {
            catalogue: &catalogue,
            from: &start.version,
            hops: &hops,
            edition: Edition::Team,
            before: None,
            config: None,
            licence: None,
            outside: &Outside::nowhere(),
            carried: &BTreeMap::new(),
        };
        judge(&parse(shown), &way).unwrap()
    }

    fn severity(outcome: &Outcome) -> Option<Severity> {
        match outcome {
            Outcome::Bad(bad) => Some(bad.severity),
            Outcome::Good(_) | Outcome::Beside(_) => None,
        }
    }

    #[test]
    fn a_short_time_for_a_start_is_told_and_a_long_one_is_not() {
        assert_eq!(severity(&judged("TimeoutStartUSec=1min 30s\n", "6.3", timeout)), Some(Severity::Warn));
        assert_eq!(severity(&judged("TimeoutStartUSec=1h\n", "6.3", timeout)), None);
        assert_eq!(severity(&judged("TimeoutStartUSec=infinity\n", "6.3", timeout)), None);
        assert!(timeout(&parse("TimeoutStartUSec=soon\n"), &way_of_nothing(&Catalogue::embedded().unwrap())).is_err());
    }

    fn way_of_nothing(catalogue: &Catalogue) -> Way<'_> {
        const HERE: Version = Version::new(10, 6, 1);
        static FROM: Version = HERE;
        static NOTHING: BTreeMap<Version, Carried> = BTreeMap::new();
        static NOWHERE: LazyLock<Outside> = LazyLock::new(Outside::nowhere);
        let (edition, outside, carried) = (Edition::Team, &NOWHERE, &NOTHING);
        Way { catalogue, from: &FROM, hops: &[], edition, before: None, config: None, licence: None, outside, carried }
    }

    #[test]
    fn being_bound_to_postgresql_is_told() {
        assert_eq!(
            severity(&judged("BindsTo=postgresql.service\nRequires=-.mount\n", "6.3", |unit, way| Ok(
                bound_to_postgres(unit, way)
            ))),
            Some(Severity::Warn)
        );
        assert_eq!(
            severity(&judged("BindsTo=\nRequires=network.target\n", "6.3", |unit, way| Ok(bound_to_postgres(
                unit, way
            )))),
            None
        );
    }

    #[test]
    fn the_platform_binary_blocks_only_where_it_goes_away() {
        let unit = "ExecStart={ path=/opt/mattermost/bin/platform ; argv[]=/opt/mattermost/bin/platform }\n";
        assert_eq!(severity(&judged(unit, "5.37", |unit, way| Ok(platform(unit, way)))), Some(Severity::Block));
        assert_eq!(judged(unit, "5.31", |unit, way| Ok(platform(unit, way))), Outcome::not_crossed("5.37"));
        assert_eq!(
            severity(&judged(&unit.replace("platform", "mattermost"), "5.37", |unit, way| Ok(platform(unit, way)))),
            None
        );
    }
}
