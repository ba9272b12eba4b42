//! The content itself, as statements and files.

use serde_json::json;

use super::{Channel, Kind, Plan, Seeded, Team, User};
use crate::api::{Draft, NewFile, rows, statements};
use crate::database::{Insert, quoted};
use crate::emulated::Version;
use crate::text;

/// 2023-11-14 22:13:20 UTC; everything counts from here.
const START: i64 = 1_700_000_000_000;
/// Between two posts.
const STEP: i64 = 60_000;

pub(super) struct Content {
    pub(super) statements: Vec<String>,
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) report: Seeded,
}

struct Making {
    version: Version,
    out: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    users: Vec<User>,
    teams: Vec<Team>,
    channels: Vec<Channel>,
    /// Channel and user.
    members: Vec<(String, String)>,
}

pub(super) fn make(version: Version, plan: &Plan) -> Content {
    let mut making = Making {
        version,
        out: Vec::new(),
        files: Vec::new(),
        users: Vec::new(),
        teams: Vec::new(),
        channels: Vec::new(),
        members: Vec::new(),
    };
    making.people(plan.users.max(1));
    making.places(plan.teams.max(1));
    making.posts(plan);
    making.odds_and_ends();
    making.read_state();
    let files = making.files.iter().map(|(path, _)| path.clone()).collect();
    let report =
        Seeded { users: making.users, teams: making.teams, channels: making.channels, posts: plan.posts, files };
    Content { statements: making.out, files: making.files, report }
}

impl Making {
    fn people(&mut self, count: usize) {
        let first = [
            ("admin", Kind::Admin),
            ("alice", Kind::Member),
            ("bob", Kind::Reader),
            ("carol", Kind::Guest),
            ("dave", Kind::Outsider),
        ];
        for at in 0..count {
            let (username, kind) = first
                .get(at)
                .map_or_else(|| (format!("user{}", at + 1), Kind::Member), |(name, kind)| ((*name).to_owned(), *kind));
            let id = text::id_for(&format!("user {username}"));
            let (email, password) = (format!("{username}@example.test"), format!("Sekret-{username}-1"));
            let roles = match kind {
                Kind::Admin => "system_admin system_user",
                Kind::Guest => "system_guest",
                _ => "system_user",
            };
            self.out.push(rows::user(self.version, &id, &username, &email, &password, roles, START));
            let preference = Insert::into("preferences")
                .text("userid", &id)
                .text("category", "tutorial_step")
                .text("name", &id)
                .text("value", "999");
            let status = Insert::into("status")
                .text("userid", &id)
                .text("status", "offline")
                .bool("manual", false)
                .int("lastactivityat", START);
            self.out.push(preference.sql() + &status.sql());
            self.users.push(User { id, username, email, password, kind });
        }
    }

    fn places(&mut self, count: usize) {
        let users = self.users.clone();
        for at in 0..count {
            let name = match at {
                0 => "alpha".to_owned(),
                1 => "beta".to_owned(),
                _ => format!("team-{}", at + 1),
            };
            let team = text::id_for(&format!("team {name}"));
            let owner = users.first().map(|user| user.email.clone()).unwrap_or_default();
            self.out.push(rows::team(&team, &name, &format!("Team {name}"), &owner, at == 0, START));
            let inside: Vec<&User> = users
                .iter()
                .filter(|user| user.kind != Kind::Outsider && (user.kind != Kind::Guest || at == 0))
                .collect();
            for user in &inside {
                self.out.push(rows::team_member(self.version, &team, &user.id, role(user.kind), START));
                self.categories(&user.id, &team);
            }
            for (channel, kind) in
                [("town-square", "O"), ("off-topic", "O"), ("dev", "O"), ("board", "P"), ("empty", "O")]
            {
                let guests = channel == "dev";
                let members: Vec<&User> =
                    inside.iter().copied().filter(|user| guests || user.kind != Kind::Guest).collect();
                self.channel(&team, channel, kind, &members);
            }
            self.teams.push(Team { id: team, name });
        }
        let named = |name: &str| users.iter().find(|user| user.username == name);
        let (admin, alice) = (named("admin"), named("alice"));
        // One direct message channel with posts, one where nobody ever wrote.
        for pair in [[alice, named("bob")], [admin, alice]] {
            if let [Some(one), Some(other)] = pair {
                let mut ids = [one.id.as_str(), other.id.as_str()];
                ids.sort_unstable();
                let name = ids.join("__");
                self.channel("", &name, "D", &[one, other]);
            }
        }
    }

    fn channel(&mut self, team: &str, name: &str, kind: &str, members: &[&User]) {
        let id = text::id_for(&format!("channel {team} {name}"));
        let display = if kind == "D" { String::new() } else { name.replace('-', " ") };
        let creator = members.first().filter(|_| kind != "D").map(|user| user.id.clone()).unwrap_or_default();
        let new = rows::Channel { id: &id, team, kind, name, display: &display, creator: &creator, at: START };
        self.out.push(rows::channel(self.version, &new));
        for user in members {
            self.out.push(rows::channel_member(
                self.version,
                &id,
                &user.id,
                if kind == "D" { "user" } else { role(user.kind) },
                START,
            ));
            self.members.push((id.clone(), user.id.clone()));
        }
        self.channels.push(Channel { id, team: team.to_owned(), name: name.to_owned() });
    }

    fn categories(&mut self, user: &str, team: &str) {
        for (kind, name, sorting, order) in [
            ("favorites", "Favorites", "", 0),
            ("channels", "Channels", "", 10),
            ("direct_messages", "Direct Messages", "recent", 20),
        ] {
            let insert = Insert::into("sidebarcategories")
                .text("id", &format!("{kind}_{user}_{team}"))
                .text("userid", user)
                .text("teamid", team)
                .text("type", kind)
                .text("displayname", name)
                .text("sorting", sorting)
                .int("sortorder", order);
            // Whoever looked before 5.35 has rows from before; a seed of a newer schema writes them in full.
            let insert = insert
                .when(self.version.at_least(5, 35), |insert| insert.bool("muted", false).bool("collapsed", false));
            self.out.push(insert.sql());
        }
    }

    /// Two of three posts begin a thread or stand alone, every third answers an earlier one in its channel.
    fn posts(&mut self, plan: &Plan) {
        let busy: Vec<Channel> = self.channels.iter().filter(|channel| channel.name != "empty").cloned().collect();
        let silent = self.channels.iter().rposition(|channel| channel.team.is_empty());
        let busy: Vec<Channel> = busy
            .into_iter()
            .filter(|channel| silent.is_none_or(|at| self.channels.get(at).is_none_or(|quiet| quiet.id != channel.id)))
            .collect();
        let mut roots: Vec<Vec<String>> = vec![Vec::new(); busy.len()];
        let mut files = 0;
        for at in 0..plan.posts {
            let place = (at * 7 + at / 11) % busy.len().max(1);
            let (Some(channel), Some(earlier)) = (busy.get(place), roots.get_mut(place)) else { return };
            let members: Vec<&String> =
                self.members.iter().filter(|(id, _)| *id == channel.id).map(|(_, user)| user).collect();
            let Some(user) = members.get(at % members.len().max(1)).map(|user| (*user).clone()) else { continue };
            let id = text::id_for(&format!("post {at}"));
            let root = if at % 3 == 2 {
                earlier.get(at % earlier.len().max(1)).cloned().unwrap_or_default()
            } else {
                String::new()
            };
            if root.is_empty() {
                earlier.push(id.clone());
            }
            let time = START + (i64::try_from(at).unwrap_or_default() + 1) * STEP;
            let greeting = if at % 17 == 0 { " @alice" } else { "" };
            let message =
                format!("Message {at}: the quick brown fox — größer, 日本語, 'quotes' and \\backslashes\\.{greeting}");
            let mut attached = Vec::new();
            if files < plan.files && at % (plan.posts / plan.files.max(1)).max(1) == 0 {
                let file = text::id_for(&format!("file {files}"));
                let content = format!("content of file {files}\n").repeat(20);
                let size = i64::try_from(content.len()).unwrap_or_default();
                let name = format!("notes-{files}.txt");
                let new =
                    NewFile { id: &file, user: &user, channel: &channel.id, post: &id, name: &name, size, at: time };
                self.out.push(new.sql(self.version));
                self.files.push((new.path(), content.into_bytes()));
                attached.push(file);
                files += 1;
            }
            let props = if at % 5 == 0 { json!({"from_seed": "true", "b": 1, "a": [1, 2]}) } else { json!({}) };
            let draft = Draft {
                id: id.clone(),
                channel: channel.id.clone(),
                user: user.clone(),
                root,
                message,
                props,
                files: attached,
                at: time,
            };
            self.out.push(statements(self.version, &draft));
            if at % 13 == 0 {
                self.reaction(&id, &user, &channel.id, time + 1);
            }
        }
    }

    fn reaction(&mut self, post: &str, user: &str, channel: &str, at: i64) {
        let insert = Insert::into("reactions")
            .text("userid", user)
            .text("postid", post)
            .text("emojiname", "thumbsup")
            .int("createat", at);
        let insert = insert.when(self.version.at_least(5, 32), |insert| {
            insert.int("updateat", at).int("deleteat", 0).null("remoteid")
        });
        let insert = insert.when(self.version.at_least(7, 2), |insert| insert.text("channelid", channel));
        self.out.push(insert.sql() + &format!("UPDATE posts SET hasreactions = true WHERE id = {};\n", quoted(post)));
    }

    /// An emoji with its image, an incoming webhook, a command, values of a plugin.
    fn odds_and_ends(&mut self) {
        let (Some(admin), Some(team)) = (self.users.first().cloned(), self.teams.first().cloned()) else { return };
        let channel = self.channels.first().map(|channel| channel.id.clone()).unwrap_or_default();
        let emoji = text::id_for("emoji");
        let insert =
            Insert::into("emoji").text("id", &emoji).int("createat", START).int("updateat", START).int("deleteat", 0);
        self.out.push(insert.text("creatorid", &admin.id).text("name", "standin").sql());
        self.files.push((format!("emoji/{emoji}/image"), vec![0x89, b'P', b'N', b'G']));
        self.files.push((format!("users/{}/profile.png", admin.id), vec![0x89, b'P', b'N', b'G']));
        let hook = Insert::into("incomingwebhooks")
            .text("id", &text::id_for("hook"))
            .int("createat", START)
            .int("updateat", START)
            .int("deleteat", 0)
            .text("userid", &admin.id)
            .text("channelid", &channel)
            .text("teamid", &team.id)
            .text("displayname", "in")
            .text("description", "incoming")
            .text("username", "")
            .text("iconurl", "")
            .bool("channellocked", false);
        let command = Insert::into("commands")
            .text("id", &text::id_for("command"))
            .text("token", &text::id_for("command token"))
            .int("createat", START)
            .int("updateat", START)
            .int("deleteat", 0)
            .text("creatorid", &admin.id)
            .text("teamid", &team.id)
            .text("trigger", "hello")
            .text("method", "P")
            .text("url", "http://127.0.0.1:9/hello");
        self.out.push(hook.sql() + &command.sql());
        let value = Insert::into("pluginkeyvaluestore")
            .text("pluginid", "com.example.plugin")
            .text("pkey", "greeting")
            .text("pvalue", "\\x68656c6c6f");
        self.out.push(value.int("expireat", 0).sql());
    }

    /// The reader has read everything; the others stopped in the middle.
    fn read_state(&mut self) {
        let roots = |column: &str| if self.version.at_least(5, 35) { format!(", {column}") } else { String::new() };
        let all = roots("msgcountroot = c.totalmsgcountroot, mentioncountroot = 0");
        let half = roots("msgcountroot = c.totalmsgcountroot / 2");
        for user in &self.users {
            let id = quoted(&user.id);
            let what = if user.kind == Kind::Reader {
                format!("msgcount = c.totalmsgcount, mentioncount = 0, lastviewedat = c.lastpostat{all}")
            } else {
                format!(
                    "msgcount = c.totalmsgcount / 2, lastviewedat = CASE WHEN c.totalmsgcount = 0 THEN 0 ELSE {START} + (c.lastpostat - {START}) / 2 END{half}"
                )
            };
            self.out.push(format!(
                "UPDATE channelmembers m SET {what} FROM channels c WHERE c.id = m.channelid AND m.userid = {id};\n"
            ));
        }
    }
}

fn role(kind: Kind) -> &'static str {
    match kind {
        Kind::Admin => "admin",
        Kind::Guest => "guest",
        _ => "user",
    }
}
