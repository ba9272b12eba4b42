//! What is done about an upgrade that was cut off.

use super::Phase;

/// Who ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `run` and `recover`, to which both ends are right.
    Either,
    /// `rollback`, which is to end with the old cluster.
    Back,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The new cluster goes, and the old one is as before.
    TakeBack,
    /// The new cluster is proven: it is opened, and the server led to it.
    Open {
        /// Nobody was in the new cluster: if it cannot be opened, the upgrade is taken back.
        may_take_back: bool,
    },
    /// The server works with the new cluster, only the record of it is missing.
    Record,
    /// The clusters are exchanged back; the new one stays, with what was written there.
    Exchange,
}

/// Decides it by the phase that had begun, and by whether the new cluster was open to everybody: what users wrote there is
/// nowhere else.
pub fn recovery(ending: Ending, phase: Phase, was_open: bool) -> Recovery {
    match (phase, ending) {
        (Phase::RollingBack, _) | (Phase::Done, Ending::Back) => Recovery::Exchange,
        (Phase::Done, Ending::Either) => Recovery::Record,
        (Phase::Finishing, Ending::Either) => Recovery::Open { may_take_back: !was_open },
        (Phase::Finishing, Ending::Back) if was_open => Recovery::Exchange,
        // Before that phase nobody was let in.
        (Phase::Reading | Phase::Upgrading | Phase::Proving | Phase::Finishing, _) => Recovery::TakeBack,
    }
}

impl Recovery {
    /// What is done, after "would".
    pub fn in_words(self, from: &str, to: &str) -> String {
        match self {
            Self::TakeBack => format!("take the upgrade to {to} back, which was cut off: {from} serves as before"),
            Self::Open { .. } => format!("finish the upgrade of {from} to {to}, which is proven"),
            Self::Record => format!("record the upgrade of {from} to {to}, which is done"),
            Self::Exchange => format!("stop {to}, which is kept, and let {from} serve again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_one_end() {
        use Ending::{Back, Either};
        use Phase::{Done, Finishing, Proving, Reading, RollingBack, Upgrading};
        use Recovery::{Exchange, Open, Record, TakeBack};
        let table = [
            (Reading, [TakeBack, TakeBack], [TakeBack, TakeBack]),
            (Upgrading, [TakeBack, TakeBack], [TakeBack, TakeBack]),
            (Proving, [TakeBack, TakeBack], [TakeBack, TakeBack]),
            (Finishing, [Open { may_take_back: true }, Open { may_take_back: false }], [TakeBack, Exchange]),
            (Done, [Record, Record], [Exchange, Exchange]),
            (RollingBack, [Exchange, Exchange], [Exchange, Exchange]),
        ];
        for (phase, either, back) in table {
            for (was_open, at) in [(false, 0), (true, 1)] {
                assert_eq!(recovery(Either, phase, was_open), either[at], "{phase:?} {was_open}");
                assert_eq!(recovery(Back, phase, was_open), back[at], "{phase:?} {was_open}");
            }
        }
    }
}
