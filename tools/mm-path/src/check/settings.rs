//! Checks of where settings come from.

use mm_common::mattermost::catalogue::Severity;
use semver::Version;

use super::host::HostView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![
        Check {
            id: "variables",
            title: "Settings overridden by the environment",
            source: "mattermost/docs: configuration in the environment",
            look: |view| Ok(variables(view)),
        },
        Check {
            id: "session-length",
            title: "Session lengths in days in the environment",
            source: "mattermost/docs: important-upgrade-notes v7.0",
            look: |view| Ok(session_length(view)),
        },
        Check {
            id: "site-url",
            title: "Address that websockets may come from",
            source: "mattermost/mattermost#6168; mattermost/docs: important-upgrade-notes v7.8, v8.0",
            look: |view| Ok(site_url(view)),
        },
        Check {
            id: "config-store",
            title: "Configuration in the database",
            source: "mattermost/docs: configuration in a database",
            look: |view| Ok(config_store(view)),
        },
    ]
}

/// Names only: values may be secrets.
fn variables(view: &HostView<'_>) -> Outcome {
    let names = view.installation.config.overrides.iter().map(|variable| variable.name.clone());
    // That one says where the configuration is, and overrides none of it.
    let mut names: Vec<String> = names.filter(|name| name.starts_with("MM_") && name != "MM_CONFIG").collect();
    names.sort_unstable();
    Outcome::of(names, "none", |evidence| Bad {
        severity: Severity::Info,
        evidence,
        hop: None,
        fix: "look up their names in the notes of each hop: what is renamed in config.json is not renamed there, and \
              saving in the System Console writes their values into it"
            .into(),
    })
}

fn session_length(view: &HostView<'_>) -> Outcome {
    let Some(hop) = view.way.crossing(&Version::new(7, 0, 0)) else { return Outcome::not_crossed("7.0") };
    let names = view.installation.config.overrides.iter().map(|variable| variable.name.as_str());
    let evidence: Vec<String> = names
        .filter(|name| name.starts_with("MM_SERVICESETTINGS_SESSIONLENGTH") && name.ends_with("INDAYS"))
        .map(str::to_owned)
        .collect();
    Outcome::of(evidence, "none", |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "with 7.0 rename each to ...INHOURS and multiply its value by 24: the server does not".into(),
    })
}

/// The releases that let websockets of browsers come from the site's own address alone: of 7.8, and of the lines after it.
const STRICT: [Version; 2] = [Version::new(7, 8, 7), Version::new(8, 0, 0)];

fn site_url(view: &HostView<'_>) -> Outcome {
    let Some(hop) = STRICT.iter().find_map(|release| view.way.crossing(release)) else {
        return Outcome::not_crossed("7.8.7 or 8.0");
    };
    let setting = |key: &str| view.installation.config.text("ServiceSettings", key).filter(|text| !text.is_empty());
    let (site_url, others) = (setting("SiteURL"), setting("AllowCorsFrom"));
    let evidence = (site_url.is_none() && others.is_none())
        .then(|| "ServiceSettings.SiteURL is empty, and so is AllowCorsFrom".to_owned());
    Outcome::of(evidence.into_iter().collect(), &site_url.or(others).unwrap_or_default(), |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "set SiteURL to the address that people use: browsers that come from another one see no new messages"
            .into(),
    })
}

fn config_store(view: &HostView<'_>) -> Outcome {
    let config = &view.installation.config;
    let in_database = config.path.is_none().then(|| "MM_CONFIG names a database".to_owned());
    let good = config.path.as_ref().map(|path| format!("in {}", path.display())).unwrap_or_default();
    Outcome::of(in_database.into_iter().collect(), &good, |evidence| Bad {
        severity: Severity::Info,
        evidence,
        hop: None,
        fix:
            "going back means that database too: mm-backup dumps it with the rest, and when it is not the server's own \
              it is restored by hand (mm-backup restore ID --config --into-database URL)"
                .into(),
    })
}
