//! How a run leaves the server: in one sentence, and what a person can type about it.

use mm_common::contract::{call, shell};
use mm_common::machine::door::Open;
use mm_common::machine::service::Manager;
use serde::Serialize;

use super::tale::{Current, Server};

/// What stands at the end of a run that has stopped.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct End {
    /// What runs, and for whom.
    pub(crate) sentence: String,
    /// Whether users are kept out of a server whose verification has not passed: nobody lets them in unasked.
    pub(crate) kept_out: bool,
    /// The command that lets them in.
    pub(crate) publish: Option<String>,
    /// The command that starts a server that is stopped with nothing half done, where its manager has one.
    pub(crate) start: Option<String>,
    /// The command that brings back the state before the run, where it has changed something.
    pub(crate) back: Option<String>,
}

impl End {
    /// Of what is there. `root` is the install root.
    pub(crate) fn of(
        server: Option<&Server>,
        hop: Option<&Current>,
        open: &[Open],
        (manager, root): (Option<&Manager>, &std::path::Path),
    ) -> Self {
        let Some(server) = server else {
            let sentence = "what runs could not be seen".into();
            return Self { sentence, kept_out: false, publish: None, start: None, back: None };
        };
        let in_place = hop.is_some_and(|hop| hop.in_place);
        let is_private = server.running && server.private_address.is_some();
        let kept_out = is_private && in_place && open.is_empty();
        let installed = &server.installed;
        let sentence = if !server.running {
            format!("the server {installed} is STOPPED{}", if open.is_empty() { ", nothing is half done" } else { "" })
        } else if kept_out {
            format!("{installed} runs without users: its verification has not passed")
        } else if is_private {
            format!("the server runs {installed} without users")
        } else if in_place {
            format!("the server runs {installed}, public: users are in, though its verification has not passed")
        } else {
            format!("the server runs {installed}, public")
        };
        let publish = kept_out.then(|| call::hint(&format!("mm-swap publish --install {}", shell::word(root))).into());
        let is_down = !server.running && open.is_empty();
        Self { sentence, kept_out, publish, start: manager.filter(|_| is_down).and_then(start), back: None }
    }
}

fn start(manager: &Manager) -> Option<String> {
    match manager {
        Manager::Systemd { unit } => Some(format!("systemctl start {}", shell::word(unit))),
        Manager::Sysv { name } => Some(format!("service {} start", shell::word(name))),
        Manager::Supervisor { name } => Some(format!("supervisorctl start {}", shell::word(name))),
        Manager::Command { start, .. } => Some(start.clone()),
        Manager::Exec => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(running: bool, private: bool) -> Server {
        let private_address = private.then(|| "http://127.0.0.1:1".to_owned());
        Server { installed: "10.5.14".into(), edition: "team".into(), running, private_address }
    }

    #[test]
    fn each_end_is_a_sentence() {
        let hop = |in_place| Current {
            number: 1,
            of: 2,
            from: "9.11.18".into(),
            to: "10.5.14".into(),
            changes: Vec::new(),
            in_place,
            expected_seconds: None,
        };
        let unit = Manager::Systemd { unit: "mattermost.service".into() };
        let end = |running, private, in_place| {
            let server = server(running, private);
            End::of(Some(&server), Some(&hop(in_place)), &[], (Some(&unit), "/opt/a b".as_ref()))
        };
        assert_eq!(end(true, false, false).sentence, "the server runs 10.5.14, public");
        assert!(end(true, false, true).sentence.ends_with("though its verification has not passed"));
        assert_eq!(end(true, true, false).sentence, "the server runs 10.5.14 without users");
        let kept = end(true, true, true);
        assert!(kept.kept_out && kept.publish.as_deref() == Some("mm-swap publish --install '/opt/a b'"), "{kept:?}");
        let down = end(false, false, false);
        assert_eq!(down.sentence, "the server 10.5.14 is STOPPED, nothing is half done");
        assert_eq!(down.start.as_deref(), Some("systemctl start mattermost.service"));
        assert!(down.publish.is_none() && !down.kept_out);
        let unseen = End::of(None, None, &[], (None, "/".as_ref()));
        assert!(unseen.sentence.contains("could not be seen") && !unseen.kept_out);
    }
}
