//! How the server is after a tool has failed: one sentence, whatever the exit code.

use super::Session;
use crate::contract::error::Kind;
use crate::machine::{door, signals};
use crate::mattermost::site::{self, private};

/// The verbs that change the server, or look at it in the middle of a hop. Who asks for a list has not asked how it is.
const OF_SERVER: [(&str, &[&str]); 5] = [
    ("mm-fetch", &["run"]),
    ("mm-backup", &["create", "complete", "restore", "recover"]),
    ("mm-pgbump", &["run", "move", "rollback", "recover", "drop-old"]),
    ("mm-swap", &["stage", "run", "rollback", "recover", "publish"]),
    ("mm-verify", &["run", "watch", "repair"]),
];

/// What runs now, whether users are in, and what has become of it all. Nothing where this tool was not about a server, or
/// where another one is at work, which may just be stopping it.
pub(super) fn sentence(session: &Session, kind: Kind) -> Option<String> {
    let is_of_server = OF_SERVER.iter().any(|(tool, verbs)| *tool == session.tool && verbs.contains(&&*session.verb));
    let is_told = !matches!(kind, Kind::Usage | Kind::BadDocument | Kind::Undelivered | Kind::Locked);
    let is_alone = session.tool == "mm-fetch" && session.document.get("site").is_none();
    if !is_of_server || !is_told || is_alone {
        return None;
    }
    // What has been asked to stop has stopped.
    let _look = signals::undoing("saying how the server is");
    let wanted = session.wanted().ok()?;
    let ground = site::ground_of_ruin(&wanted).ok()?;
    let open = door::open(&ground.state, &ground.root, &[]).unwrap_or_default();
    let is_half = matches!(kind, Kind::HalfDone) || !open.is_empty();
    let server = match site::probe(&wanted) {
        Ok(seen) => match (seen.service.is_running(), private::noted(&seen.state)) {
            (Ok(true), Ok(Some(_))) => format!("the server runs {}, without users", seen.version),
            (Ok(true), Ok(None)) => format!("the server runs {}, public", seen.version),
            (Ok(false), _) => format!("the server {} is stopped", seen.version),
            _ => "whether the server runs could not be seen".into(),
        },
        Err(_) => match ground.service.is_running() {
            Ok(true) => "the server runs, and which release could not be seen".into(),
            Ok(false) => "the server is stopped".into(),
            Err(_) => "whether the server runs could not be seen".into(),
        },
    };
    let rest = match kind {
        _ if is_half => "; a step is half done, and nothing old was deleted",
        Kind::RolledBack => "; it is as before, and nothing was lost",
        Kind::PartlyDone => "; what could be done is done",
        // What users miss is what it has told.
        _ if session.tool == "mm-verify" => "",
        _ if session.changed => "",
        _ => "; nothing was changed",
    };
    Some(format!("{server}{rest}"))
}
