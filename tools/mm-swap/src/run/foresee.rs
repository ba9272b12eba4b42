//! `mm-swap run --dry-run`.

use mm_common::contract::error::Result;
use mm_common::contract::sections::Swap;
use mm_common::contract::ui;
use mm_common::run::Session;

use super::prepare::{modified, prepare};
use super::{arrived, is_installed};
use crate::arguments::RunArguments;
use crate::operation::Operation;
use crate::{stage, target};

/// What a run would do, with nothing touched.
pub(super) fn foresee(session: &mut Session, arguments: &RunArguments) -> Result<String> {
    let site = session.probe()?;
    if let Some(open) = Operation::open(&site.state)? {
        return Ok(format!("would first recover the interrupted swap from {} to {}", open.from, open.to));
    }
    if let Some(message) = arrived(session, arguments)? {
        return Ok(message);
    }
    if target::is_of_database_alone(session, arguments.archive.as_deref())? {
        return Ok(format!("the hop changes the database alone; would see to it that {} runs", site.version));
    }
    if arguments.archive.is_none()
        && let Some(hop) = target::unfetched(session)?
    {
        return Ok(format!(
            "would go from {} to {}; which entries that replaces can be told once it has been fetched",
            hop.from, hop.to
        ));
    }
    let target = target::of(session, arguments.archive.as_deref())?;
    if is_installed(&site, &target) {
        return Ok(format!("{} is installed already; nothing would be done", site.version));
    }
    let prepared = prepare(session, arguments, &site, &target)?;
    stage::require_space(&site.root, &target.manifest)?;
    let paths: Vec<String> = prepared.plan.steps.iter().map(|step| step.path.clone()).collect();
    session.human = Some(crate::human::plan(&site, &target.manifest, &prepared.plan));
    let message = format!(
        "would replace {} to go from {} to {}",
        ui::count(paths.len(), "entry"),
        site.version,
        target.manifest.version
    );
    session.document.set(
        "swap",
        &Swap {
            from: site.version.clone(),
            to: target.manifest.version.clone(),
            exchanged: paths,
            retired: None,
            modified: modified(&site, &prepared)?,
            window_seconds: 0.0,
            healthy_after_seconds: 0.0,
            private_address: None,
        },
    )?;
    Ok(message)
}
