//! What a restored database gets besides what the dump makes: it is compared, settled, and tried as the server.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::exists as has;
use mm_common::postgres::dump;
use mm_common::postgres::properties::{self, Properties};
use mm_common::postgres::tried;

use super::{Prepared, Way, login, own};
use crate::equal::{self, Comparison};
use crate::fill::Filled;
use crate::manifest::DatabasePart;
use crate::store::Point;

impl Prepared {
    /// Compares what was restored, and gives it rights, settings and statistics.
    pub(super) fn finish(
        &self,
        point: &Point,
        part: &DatabasePart,
        properties: &Properties,
        filled: &Filled,
        jobs: usize,
    ) -> Result<()> {
        let database = self.database();
        checkpoint::pass("database-restored");
        equal::require(&point.path, part, &database, jobs)?;
        let comparison = Comparison {
            part,
            dump: &point.path.join(&part.dump.path),
            restored: &database,
            kept_back: &filled.kept_back,
            left_rights: &filled.left_rights,
            spaces: filled.spaces.as_ref(),
            roles: &filled.roles,
            as_replaced: filled.as_replaced,
        };
        let mut found = comparison.differences()?;
        let unsettled = properties::settle(&self.admin, &self.new, properties);
        if filled.spaces.is_none() {
            own::tell(&database, part, &unsettled)?;
        } else if unsettled.is_empty() {
            found.extend(equal::of_properties(&database, properties)?);
        }
        equal::refuse_different(&database, found)?;
        for (what, error) in unsettled {
            ui::warn(&format!(
                "the restored database lacks what was set for it: {what} ({}); a superuser can set it, `{}` has it",
                error.one_line(),
                point.path.join("manifest.json").display()
            ));
        }
        // Without statistics the first hours would be slow. PostgreSQL collects them as the owner of each table, whose
        // functions may want a search path of their own.
        let analyzed = database.with_limit(dump::LIMIT).execute_each("ANALYZE");
        if let Err(error) = analyzed {
            ui::warn(&format!(
                "not all statistics could be collected (ANALYZE as the owner does it): {}",
                error.one_line()
            ));
        }
        Ok(())
    }

    /// Lets the server's own role do in the restored database what it does in the present one: connect, read, and make and
    /// drop a table.
    pub(super) fn try_as_the_server(&mut self, installation: &Installation, how: &Way<'_>) -> Result<()> {
        let present = installation.database();
        let could = present.as_ref().map(tried::now).unwrap_or_default();
        let own = match how.login {
            Some(login) => login::enter(login, installation),
            None => present,
        };
        let Ok(own) = own else { return Ok(()) };
        let restored = own.sibling(&self.new);
        if let Err(error) = restored.value("SELECT 1 AS one") {
            ui::say(&format!("not tried as the server's role before it has its name: {}", error.one_line()));
            self.untried = Some((own.sibling(&self.target), could));
            return Ok(());
        }
        tried::as_the_server(&restored, could)
    }

    /// Takes those settings out of `properties` that only a superuser may make, where the database that is replaced has not
    /// the same value now. Such a setting can name a library that every session loads.
    pub(super) fn leave_out_privileged(&self, properties: &mut Properties, accepted: bool) -> Result<Vec<String>> {
        if accepted || properties.settings.is_empty() {
            return Ok(Vec::new());
        }
        let list = |sql: &str| -> Result<Vec<String>> {
            let rows = self.admin.rows(sql)?;
            Ok(rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
        };
        let privileged = list("SELECT name FROM pg_catalog.pg_settings WHERE context <> 'user'")?;
        let superusers = list("SELECT rolname AS name FROM pg_catalog.pg_roles WHERE rolsuper")?;
        let now = if has(&self.admin, &self.target)? {
            properties::read(&self.admin.sibling(&self.target))?.settings
        } else {
            Vec::new()
        };
        let (mut kept, mut left) = (Vec::new(), Vec::new());
        for setting in properties.settings.drain(..) {
            let of_superuser = setting.role.as_ref().is_some_and(|role| superusers.contains(role));
            let is_privileged = privileged.iter().any(|name| name.eq_ignore_ascii_case(&setting.name));
            if (is_privileged || of_superuser) && !now.contains(&setting) {
                let of = setting.role.map_or_else(String::new, |role| format!(" of {role}"));
                left.push(format!("the setting {}{of}", setting.name));
            } else {
                kept.push(setting);
            }
        }
        properties.settings = kept;
        Ok(left)
    }
}
