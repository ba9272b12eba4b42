//! Where on a path PostgreSQL is upgraded, and to which major.

use mm_common::mattermost::catalogue::{Catalogue, Requirement};
use semver::Version;

/// A PostgreSQL upgrade before a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bump {
    /// The hop it belongs to, counted from 0.
    pub(crate) hop: usize,
    /// The major it starts from.
    pub(crate) from: u32,
    /// The major it ends on.
    pub(crate) to: u32,
    /// The release that made it necessary; none when it is only wished for.
    pub(crate) because_of: Option<Version>,
}

/// Why the path cannot be made to fit the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The wished-for major is older than the present one.
    Backwards { from: u32, wished: u32 },
    /// A release on the path refuses the wished-for major.
    TooOld { wished: u32, needed: u32, release: Version },
    /// The wished-for major is neither installed nor can it be.
    NotHere { wished: u32, available: Vec<u32> },
    /// No major that is installed or can be installed is new enough.
    NoneAvailable { needed: u32, available: Vec<u32>, release: Version },
}

/// What is known of PostgreSQL on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// The major that runs (9 for 9.x).
    pub major: u32,
    /// The majors that are installed or can be installed; none when that is not known (on paper, or a remote server).
    pub available: Option<Vec<u32>>,
    /// It is no cluster of this host's postgresql-common: it moves, or is upgraded by whoever runs it.
    pub elsewhere: bool,
}

/// Places the PostgreSQL upgrade: on the first hop whose release refuses the present major, to the lowest major that
/// all remaining hops accept, or to the wished-for one. A wish that no release demands is granted on the last hop,
/// where the newest servers meet the newest database.
///
/// Mattermost names no upper limit, so a newer major is taken to be accepted by every release.
pub(crate) fn place(
    catalogue: &Catalogue,
    stops: &[Version],
    server: &Server,
    wish: Option<u32>,
) -> Result<Option<Bump>, Misfit> {
    if let Some(wished) = wish.filter(|wished| *wished < server.major) {
        return Err(Misfit::Backwards { from: server.major, wished });
    }
    let needs =
        |version: &Version| catalogue.requirement(version).and_then(|entry: &Requirement| entry.postgres).unwrap_or(0);
    let refusing = stops.iter().position(|version| needs(version) > server.major);
    let Some(hop) = refusing else {
        let last = stops.len().checked_sub(1);
        if let (Some(wished), Some(available), Some(_)) = (wish, &server.available, last)
            && !available.contains(&wished)
        {
            return Err(Misfit::NotHere { wished, available: available.clone() });
        }
        let bump = wish.filter(|wished| *wished > server.major).zip(last);
        return Ok(bump.map(|(to, hop)| Bump { hop, from: server.major, to, because_of: None }));
    };
    let hardest = stops[hop..].iter().max_by_key(|version| needs(version)).unwrap_or(&stops[hop]);
    let needed = needs(hardest);
    let to = match (wish, &server.available) {
        (Some(wished), _) if wished < needed => {
            return Err(Misfit::TooOld { wished, needed, release: hardest.clone() });
        }
        (Some(wished), Some(available)) if !available.contains(&wished) => {
            return Err(Misfit::NotHere { wished, available: available.clone() });
        }
        (Some(wished), _) => wished,
        (None, None) => needed,
        (None, Some(available)) => match available.iter().copied().filter(|major| *major >= needed).min() {
            Some(major) => major,
            None => {
                return Err(Misfit::NoneAvailable { needed, available: available.clone(), release: hardest.clone() });
            }
        },
    };
    Ok(Some(Bump { hop, from: server.major, to, because_of: Some(stops[hop].clone()) }))
}

/// The release on the path that refuses a wished-for major hardest, when one does: whatever runs now, the path is not to
/// end there.
pub(crate) fn refusal(catalogue: &Catalogue, stops: &[Version], wished: u32) -> Option<Misfit> {
    let needs = |version: &Version| catalogue.requirement(version).and_then(|entry| entry.postgres).unwrap_or(0);
    let release = stops.iter().max_by_key(|version| needs(version)).filter(|version| needs(version) > wished)?;
    Some(Misfit::TooOld { wished, needed: needs(release), release: release.clone() })
}
