//! How long a started server is watched before it counts as healthy.
//!
//! With the cargo feature `checkpoints`, which no release build has, `MM_CHECKPOINT_PACE=short` shortens all of it, for
//! tests of anything but the waiting: a stand-in shows its faults at once or never.

use std::time::Duration;

/// The waits after a start. The values are those of an administrator's server unless a test has shortened them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// A server that lives this long under one process id is not in a crash loop: the failures observed at start happen
    /// within two seconds, once the database answers.
    pub(super) stable: Duration,
    /// A server that answers this long without a break stays: what it does last before it listens, and what it begins
    /// then, may end it as well, however long the migrations have taken before.
    pub(super) answers: Duration,
    /// How long the flags of application migrations are waited for once everything else is well. They are set within
    /// seconds of the start (observed); some are set by jobs only and never after a jump, so their absence is no failure.
    pub(super) flags: Duration,
}

/// For a server that its users have by then: the wait is none of theirs.
const REAL: Pace =
    Pace { stable: Duration::from_secs(4), answers: Duration::from_secs(3), flags: Duration::from_secs(20) };

/// For a server that nobody can get to yet: the time in which the observed failures happen, from its start on, and nothing
/// on top of that. The public start after it is watched for all of the time above.
const UNSEEN: Pace = Pace { stable: Duration::from_secs(2), answers: Duration::ZERO, ..REAL };

fn real(users_are_out: bool) -> Pace {
    if users_are_out { UNSEEN } else { REAL }
}

/// The waits of this build.
#[cfg(not(feature = "checkpoints"))]
pub(super) fn pace(users_are_out: bool) -> Pace {
    real(users_are_out)
}

/// The waits of this build, or the short ones where a test asks for them.
#[cfg(feature = "checkpoints")]
pub(super) fn pace(users_are_out: bool) -> Pace {
    const SHORT: Pace =
        Pace { stable: Duration::from_millis(700), answers: Duration::from_millis(400), flags: Duration::from_secs(2) };
    if std::env::var_os("MM_CHECKPOINT_PACE").is_some_and(|wanted| wanted == "short") {
        SHORT
    } else {
        real(users_are_out)
    }
}
