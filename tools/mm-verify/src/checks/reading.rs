//! The calls the web client makes before anybody sees a team, made as several real users. A fault of the data shows
//! only for those whose rows it is in, and most of these calls work on a server that is useless to its users.

use std::collections::BTreeMap;
use std::time::Duration;

use mm_common::Result;
use mm_common::contract::ui;
use mm_common::machine::budget::Budget;
use mm_common::mattermost::api::Answer;
use serde_json::Value;

use crate::check::{Finding, some};
use crate::look::Look;
use crate::people::Person;

/// How many answers were good, and what the others said.
struct Tally {
    calls: usize,
    bad: Vec<String>,
    absent: bool,
    budget: Budget,
}

/// Some people, each in some hundred teams. Which teams there are is the server's word.
fn tally() -> Tally {
    let budget = Budget::new("lists of the server", 20_000, 4 << 30, Duration::from_secs(600));
    Tally { calls: 0, bad: Vec::new(), absent: false, budget }
}

impl Tally {
    fn add(&mut self, who: &Person, what: &str, answer: &Answer) -> Result<()> {
        self.budget.spend(answer.bytes.len() as u64)?;
        self.calls += 1;
        if answer.error_id() == Some("api.context.404.app_error") {
            // This release does not have the call.
            self.absent = true;
        } else if !answer.is_success() {
            self.bad.push(format!("{what} as {}: {}", who.username, answer.verdict()));
        }
        Ok(())
    }

    fn wrong(&mut self, who: &Person, what: &str) {
        self.bad.push(format!("{what} as {}", who.username));
    }

    fn finding(self, people: usize, hint: &str) -> Finding {
        if !self.bad.is_empty() {
            let count = self.bad.len();
            Finding::fail(format!("{count} of {}: {}", ui::count(self.calls, "call"), some(&self.bad, 3))).hint(hint)
        } else if self.absent {
            Finding::skip("this release does not have the call yet")
        } else {
            Finding::pass(format!("{} as {}", ui::count(self.calls, "call"), ui::count(people, "user")))
        }
    }
}

const NULLS: &str = "look at the check database.nulls; where it names columns, `mm-verify repair --list` has the fix. \
                     Else the server's log names the column: `converting NULL`";

pub(crate) fn me(look: &mut Look) -> Result<Finding> {
    let people = look.people()?;
    let mut tally = tally();
    for person in &people {
        let answer = look.server.get("/api/v4/users/me", Some(person.token.reveal()))?;
        tally.add(person, "GET /users/me", &answer)?;
        if answer.is_success() && answer.body["id"].as_str() != Some(&person.id) {
            tally.wrong(person, "GET /users/me names somebody else");
        }
    }
    // Every session is refused where the server cannot read its own tables: 6.7 and 7.1 on a newer schema (observed).
    let hint = "the server refuses good sessions: see its log; an older server on a newer schema does so";
    Ok(tally.finding(people.len(), hint))
}

/// The teams of a person, by the server's own answer.
fn teams_of(look: &Look, person: &Person) -> Result<(Answer, Vec<String>)> {
    let answer = look.server.get("/api/v4/users/me/teams", Some(person.token.reveal()))?;
    let teams = answer.body.as_array().into_iter().flatten();
    let ids = teams.filter_map(|team| team["id"].as_str()).map(str::to_owned).collect();
    Ok((answer, ids))
}

pub(crate) fn teams(look: &mut Look) -> Result<Finding> {
    let people = look.people()?;
    let mut tally = tally();
    for person in &people {
        let (answer, teams) = teams_of(look, person)?;
        tally.add(person, "GET /users/me/teams", &answer)?;
        if let Some(known) = person.teams.filter(|known| answer.is_success() && teams.len() as u64 != *known) {
            tally.wrong(
                person,
                &format!("GET /users/me/teams lists {}, the database has {known}", ui::count(teams.len(), "team")),
            );
        }
    }
    Ok(tally.finding(people.len(), "compare `teammembers` with the restore point; see the server's log"))
}

/// One call for each person and each of the person's teams; `TEAM` and `USER` in the path are replaced. With `all` it
/// has to list every channel that the database has the person in.
fn per_team(look: &mut Look, path: &str, all: bool) -> Result<Finding> {
    let people = look.people()?;
    let known = if all { channels_of(look, &people) } else { None };
    let (mut tally, mut fewer) = (tally(), false);
    for person in &people {
        for team in teams_of(look, person)?.1 {
            // A guest may be in a team and in none of its channels: then the server says that nothing was found.
            if known.as_ref().is_some_and(|known| known.of(person, &team) == 0) {
                continue;
            }
            let path = path.replace("TEAM", &team).replace("USER", &person.id);
            let answer = look.server.get(&format!("/api/v4{path}"), Some(person.token.reveal()))?;
            tally.add(person, &format!("GET {path}"), &answer)?;
            if !all || !answer.is_success() {
                continue;
            }
            let listed = answer.body.as_array().map_or(0, Vec::len);
            if listed == 0 {
                tally.wrong(person, &format!("GET {path} lists nothing"));
            } else if let Some(before) = known.as_ref().map(|known| known.of(person, &team)).filter(|n| listed < *n)
                // Somebody may have left a channel since.
                && let Some(now) = channels_of(look, &people).map(|known| known.of(person, &team))
                && listed < now
            {
                fewer = true;
                tally.wrong(
                    person,
                    &format!("GET {path} lists {listed} channels, the database has {}", now.min(before)),
                );
            }
        }
    }
    if tally.calls == 0 {
        return Err(Look::without("the server lists no team for anybody looked as"));
    }
    Ok(tally.finding(people.len(), if fewer { FEWER } else { NULLS }))
}

const FEWER: &str = "the server leaves out channels or direct messages that are in the database: see its log and the \
                     known issues of this release, or go back with `mm-swap rollback --database`";

/// In how many channels that are not archived the database has people, by user and team; direct messages have no team.
struct Known(BTreeMap<(String, String), usize>);

impl Known {
    /// What the server lists of a team: its channels, and the direct messages.
    fn of(&self, person: &Person, team: &str) -> usize {
        let number = |team: &str| self.0.get(&(person.id.clone(), team.to_owned())).copied().unwrap_or_default();
        number(team) + number("")
    }
}

/// None when the database cannot be asked: then what the server says has to do.
fn channels_of(look: &Look, people: &[Person]) -> Option<Known> {
    let ids = people.iter().map(|person| format!("'{}'", person.id.replace('\'', "''"))).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT m.userid, coalesce(c.teamid, '') AS team, pg_catalog.count(*) AS n FROM channelmembers m
         JOIN channels c ON c.id = m.channelid WHERE c.deleteat = 0 AND m.userid IN ({ids}) GROUP BY 1, 2"
    );
    let rows = look.database().ok()?.rows(&sql).ok()?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let number = |row: &Value| row["n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    Some(Known(rows.iter().map(|row| ((text(row, "userid"), text(row, "team")), number(row))).collect()))
}

pub(crate) fn members(look: &mut Look) -> Result<Finding> {
    per_team(look, "/users/me/teams/TEAM/channels/members", true)
}

pub(crate) fn channels(look: &mut Look) -> Result<Finding> {
    per_team(look, "/users/me/teams/TEAM/channels", true)
}

pub(crate) fn categories(look: &mut Look) -> Result<Finding> {
    per_team(look, "/users/me/teams/TEAM/channels/categories", false)
}

pub(crate) fn threads(look: &mut Look) -> Result<Finding> {
    per_team(look, "/users/USER/teams/TEAM/threads?per_page=10", false)
}

pub(crate) fn unread(look: &mut Look) -> Result<Finding> {
    let people = look.people()?;
    let mut tally = tally();
    for person in &people {
        let answer = look.server.get("/api/v4/users/me/teams/unread", Some(person.token.reveal()))?;
        tally.add(person, "GET /users/me/teams/unread", &answer)?;
    }
    Ok(tally.finding(people.len(), NULLS))
}

/// Whether a channel has messages that a server shows: those it has counted may be gone by a policy of retention, or deleted
/// one by one, and an edition without a licence leaves the older ones out and says so.
fn are_shown(look: &Look, channel: &str, answer: &Answer) -> bool {
    if answer.body["first_inaccessible_post_time"].as_u64().unwrap_or_default() > 0 {
        return false;
    }
    let sql = format!(
        "SELECT EXISTS (SELECT FROM posts WHERE channelid = '{}' AND deleteat = 0) AS there",
        channel.replace('\'', "''")
    );
    look.database().and_then(|database| database.value(&sql)).map_or(true, |there| there == true)
}

pub(crate) fn history(look: &mut Look) -> Result<Finding> {
    let people = look.people()?;
    let mut tally = tally();
    let mut posts = 0;
    for person in &people {
        let token = Some(person.token.reveal());
        for team in teams_of(look, person)?.1 {
            let channels = look.server.get(&format!("/api/v4/users/me/teams/{team}/channels"), token)?;
            tally.budget.spend(channels.bytes.len() as u64)?;
            // The channel with most messages says most.
            let count = |channel: &&Value| channel["total_msg_count"].as_u64().unwrap_or_default();
            let Some(channel) = channels.body.as_array().and_then(|all| all.iter().max_by_key(count)) else { continue };
            let id = channel["id"].as_str().unwrap_or_default();
            let path = format!("/channels/{id}/posts?page=0&per_page=30");
            let answer = look.server.get(&format!("/api/v4{path}"), token)?;
            tally.add(person, &format!("GET {path}"), &answer)?;
            let listed = answer.body["order"].as_array().map_or(0, Vec::len);
            posts += listed;
            if answer.is_success() && listed == 0 && count(&channel) > 0 && are_shown(look, id, &answer) {
                tally.wrong(person, &format!("GET {path} shows none of {}", ui::count(count(&channel), "message")));
            }
        }
    }
    if tally.calls == 0 {
        return Err(Look::without("the server lists no channel for anybody looked as"));
    }
    let finding = tally.finding(people.len(), NULLS);
    Ok(if finding.hint.is_none() {
        Finding::pass(format!("{}, {}", finding.evidence, ui::count(posts, "message")))
    } else {
        finding
    })
}
