//! Which restore points to keep. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How many to keep of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Keep {
    /// Keep the newest N restore points
    #[arg(long = "keep-last", value_name = "N")]
    pub last: Option<usize>,
    /// Keep the newest one of each of the last N days that have one
    #[arg(long = "keep-daily", value_name = "N")]
    pub daily: Option<usize>,
    /// Keep the newest one of each of the last N weeks that have one
    #[arg(long = "keep-weekly", value_name = "N")]
    pub weekly: Option<usize>,
    /// Keep the newest one of each of the last N months that have one
    #[arg(long = "keep-monthly", value_name = "N")]
    pub monthly: Option<usize>,
    /// Keep the newest one of each of the last N years that have one
    #[arg(long = "keep-yearly", value_name = "N")]
    pub yearly: Option<usize>,
}

impl Keep {
    /// Whether anything was asked for.
    pub(crate) fn is_given(&self) -> bool {
        [self.last, self.daily, self.weekly, self.monthly, self.yearly].iter().any(Option::is_some)
    }
}

/// A restore point, as far as keeping it goes.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    /// Its identifier.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// A journal of another tool names it.
    pub needed: bool,
    /// Its database is not stored: it takes nobody's place.
    pub incomplete: bool,
}

/// The identifiers that may go. `points` are the good ones of one installation, oldest first. The newest always stays.
pub(crate) fn superfluous(points: &[Point], keep: Keep) -> Vec<String> {
    let mut kept = vec![false; points.len()];
    if let Some(newest) = kept.last_mut() {
        *newest = true;
    }
    // The newest that is complete stays too.
    let last = keep.last.unwrap_or(0).max(1);
    let mut counted = 0;
    for (point, kept) in points.iter().zip(&mut kept).rev() {
        if counted == last {
            break;
        }
        *kept = true;
        counted += usize::from(!point.incomplete);
    }
    let periods: [(Option<usize>, &str); 4] =
        [(keep.daily, "%Y-%m-%d"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m"), (keep.yearly, "%Y")];
    for (count, format) in periods {
        let mut seen: Vec<String> = Vec::new();
        for (point, kept) in points.iter().zip(&mut kept).rev() {
            let period = point.created.to_zoned(TimeZone::UTC).strftime(format).to_string();
            if !seen.contains(&period) && seen.len() < count.unwrap_or(0) {
                *kept = true;
                if !point.incomplete {
                    seen.push(period);
                }
            }
        }
    }
    points.iter().zip(kept).filter(|(point, kept)| !kept && !point.needed).map(|(point, _)| point.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(times: &[&str]) -> Vec<Point> {
        times
            .iter()
            .map(|time| Point { id: (*time).into(), created: time.parse().unwrap(), needed: false, incomplete: false })
            .collect()
    }

    #[test]
    fn the_newest_stays_whatever_is_asked() {
        let points = points(&["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"]);
        assert_eq!(superfluous(&points, Keep { last: Some(0), ..Keep::default() }), ["2026-01-01T03:00:00Z"]);
        assert!(superfluous(&[], Keep { last: Some(1), ..Keep::default() }).is_empty());
    }

    #[test]
    fn the_newest_of_each_period_is_kept() {
        let points = points(&[
            "2025-12-31T03:00:00Z",
            "2026-01-01T03:00:00Z",
            "2026-01-01T15:00:00Z",
            "2026-01-02T03:00:00Z",
            "2026-01-03T03:00:00Z",
        ]);
        let daily = superfluous(&points, Keep { daily: Some(3), ..Keep::default() });
        assert_eq!(daily, ["2025-12-31T03:00:00Z", "2026-01-01T03:00:00Z"]);
        let yearly = superfluous(&points, Keep { yearly: Some(5), ..Keep::default() });
        assert_eq!(yearly, ["2026-01-01T03:00:00Z", "2026-01-01T15:00:00Z", "2026-01-02T03:00:00Z"]);
        // 29 December 2025 to 4 January 2026 is one ISO week.
        let weekly = superfluous(&points, Keep { weekly: Some(2), ..Keep::default() });
        assert_eq!(weekly.len(), 4);
    }

    #[test]
    fn one_that_a_journal_needs_stays() {
        let mut points = points(&["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"]);
        points[0].needed = true;
        assert!(superfluous(&points, Keep { last: Some(1), ..Keep::default() }).is_empty());
    }

    #[test]
    fn one_that_is_not_complete_takes_the_place_of_none() {
        let mut points = points(&["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z", "2026-01-02T04:00:00Z"]);
        points[2].incomplete = true;
        for keep in [Keep { last: Some(1), ..Keep::default() }, Keep { daily: Some(1), ..Keep::default() }] {
            assert_eq!(superfluous(&points, keep), ["2026-01-01T03:00:00Z"]);
        }
        // It goes as any other when complete ones have come after it.
        points.swap(0, 2);
        assert_eq!(superfluous(&points, Keep { last: Some(1), ..Keep::default() }).len(), 2);
    }

    proptest! {
        /// Whatever was made when and whatever is asked for.
        #[test]
        fn what_has_to_stay_stays(
            hours in proptest::collection::btree_set(0_i64..20_000, 0..40),
            needed: u64,
            (last, daily, monthly) in (0_usize..6, 0_usize..6, 0_usize..6),
            more in 0_usize..4,
        ) {
            let points: Vec<Point> = hours
                .iter()
                .enumerate()
                .map(|(number, hour)| Point {
                    id: number.to_string(),
                    created: Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap(),
                    needed: needed >> (number % 64) & 1 == 1,
                    incomplete: false,
                })
                .collect();
            let keep = Keep { last: Some(last), daily: Some(daily), monthly: Some(monthly), ..Keep::default() };
            let gone = superfluous(&points, keep);
            let stays = |point: &&Point| !gone.contains(&point.id);

            let newest = points.len().saturating_sub(last.max(1));
            prop_assert!(points[newest..].iter().all(|point| stays(&point)), "one of the newest is gone");
            prop_assert!(points.iter().filter(|point| point.needed).all(|point| stays(&point)), "a needed one is gone");
            // Every one of the newest days has one, and it is the last of that day.
            let day = |point: &Point| point.created.to_zoned(TimeZone::UTC).date();
            let mut days: Vec<_> = points.iter().map(day).collect();
            days.dedup();
            for one in days.iter().rev().take(daily) {
                let last = points.iter().rev().find(|point| day(point) == *one).unwrap();
                prop_assert!(stays(&last), "the last of {} is gone", one);
            }
            prop_assert!(points.len() - gone.len() <= 1 + last + daily + monthly + points.iter().filter(|p| p.needed).count());
            // Asking for more never removes more.
            let wider = Keep { last: Some(last + more), daily: Some(daily + more), ..keep };
            prop_assert!(superfluous(&points, wider).iter().all(|id| gone.contains(id)));
            // What is left is left again.
            let left: Vec<Point> = points.iter().filter(stays).cloned().collect();
            prop_assert!(superfluous(&left, keep).is_empty());
        }
    }
}
