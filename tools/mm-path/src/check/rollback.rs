//! The way back, as far as it can be seen without trying it: mm-pgbump check and whoever stops the server for a hop try it.

use mm_common::contract::error::{Kind, Result};
use mm_common::machine::user;
use mm_common::mattermost::catalogue::Severity;
use mm_common::mattermost::way_back::{self, administrator};
use mm_common::postgres::proven::Claim;

use super::host::HostView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![Check {
        id: way_back::ACCEPT,
        title: "The database can be put back",
        source: "PostgreSQL's manual: ALTER DATABASE",
        look,
    }]
}

fn look(view: &HostView<'_>) -> Result<Outcome> {
    let Some(source) = &view.installation.source else {
        return Ok(Outcome::Beside("the server does not use PostgreSQL".into()));
    };
    if !user::is_root() {
        return Ok(Outcome::Good("not tried, and not looked at: that takes root".into()));
    }
    let state = view.installation.state.path();
    let claim = Claim { role: &source.user, state, accepted: false, lock: None };
    match administrator(view.installation, &claim) {
        Ok(found) => Ok(Outcome::Good(format!(
            "not tried; {} may create and rename databases",
            if found.is_superuser { "a superuser" } else { source.user.as_str() }
        ))),
        Err(error) if error.kind() == Kind::Refused => Ok(Outcome::Bad(Bad {
            severity: Severity::Action,
            evidence: vec![format!("not tried: {}", error.one_line())],
            hop: None,
            fix: error.next_step().unwrap_or_default().to_owned(),
        })),
        Err(error) => Err(error),
    }
}
