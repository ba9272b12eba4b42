//! The head of the manifest: what was stored, of what, and whose it is.

use std::collections::BTreeMap;

use mm_common::machine::host;
use mm_common::machine::user::User;

use super::Order;
use crate::collected::Collected;
use crate::entries::Tally;
use crate::freeze::Taken;
use crate::manifest::{DatabasePart, Head, SCHEMA, Totals};

/// What was dumped.
pub(super) struct Databases {
    /// The server's.
    pub own: Taken,
    /// The configuration's, when that is another one.
    pub config: Option<DatabasePart>,
    /// The others of the cluster.
    pub others: Vec<DatabasePart>,
}

/// The head of the manifest, but for the duration.
pub(super) fn of(
    order: &Order<'_>,
    (id, sequence): (&str, u64),
    (created, cold): (String, bool),
    databases: Databases,
    collected: &Collected,
) -> Head {
    let installation = order.installation;
    let mut head = Head {
        schema: SCHEMA.into(),
        id: id.into(),
        sequence,
        created,
        tool: env!("CARGO_PKG_VERSION").into(),
        run: order.run.clone(),
        install: installation.root.clone(),
        host: host::this(),
        version: installation.version.clone(),
        edition: installation.edition,
        cold,
        roots: order.plan.roots.clone(),
        excluded: collected.excluded.clone(),
        skipped: collected.skipped.iter().chain(&collected.denied).cloned().collect(),
        users: BTreeMap::new(),
        groups: BTreeMap::new(),
        database: databases.own.part,
        frozen: databases.own.frozen,
        original: databases.own.original,
        config_database: databases.config,
        mysql: databases.own.mysql,
        other_databases: databases.others,
        totals: Totals { linked: collected.linked, added: collected.added, ..Totals::default() },
    };
    let Tally { users, groups, files, bytes } = collected.entries.tally();
    head.users = users.iter().map(|uid| (*uid, String::new())).collect();
    head.groups = groups.iter().map(|gid| (*gid, String::new())).collect();
    (head.totals.files, head.totals.bytes) = (*files, *bytes);
    name_owners(&mut head);
    count_dumps(&mut head);
    head
}

fn count_dumps(head: &mut Head) {
    let dumped = head.dumped();
    head.totals.bytes += dumped;
    head.totals.added += dumped;
}

/// Names of users and groups: on another machine they may have other numbers.
fn name_owners(head: &mut Head) {
    for (uid, name) in &mut head.users {
        *name = User::of_ids(*uid, 0).name;
    }
    for (gid, name) in &mut head.groups {
        let known = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(*gid)).ok().flatten();
        *name = known.map_or_else(|| gid.to_string(), |group| group.name);
    }
}
