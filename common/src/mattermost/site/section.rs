//! The section `site` of the document.

use super::Installation;
use crate::contract::sections::{Site, SiteConfig, SiteDatabase, SiteService};
use crate::postgres::cluster;
use crate::postgres::server::Database;

impl Installation {
    /// The section `site`. What could not be seen of the database stays absent.
    pub fn section(&self) -> Site {
        Site {
            install: self.root.clone(),
            version: self.version.clone(),
            version_source: self.version_source.clone(),
            edition: self.edition,
            owner: self.owner.name.clone(),
            service: SiteService {
                manager: self.service.manager.name().into(),
                unit: self.service.manager.unit().map(str::to_owned),
                was_running: self.was_running,
            },
            config: SiteConfig { source: self.config.source().into(), path: self.config.path.clone() },
            data: self.data.clone(),
            listen: self.listen(),
            site_url: self.config.text("ServiceSettings", "SiteURL").filter(|url| !url.is_empty()),
            database: self.database_section(),
        }
    }

    fn database_section(&self) -> SiteDatabase {
        let mut section = SiteDatabase {
            driver: self.config.driver(),
            server_version: None,
            major: None,
            host: self.source.as_ref().map(|source| source.host.clone()),
            port: self.source.as_ref().map(|source| source.port),
            name: self.source.as_ref().map(|source| source.database.clone()),
            cluster: None,
            bytes: None,
            posts: None,
        };
        if let Ok(database) = self.database() {
            section.server_version = Some(database.version.clone());
            section.major = Some(database.major());
            section.cluster = cluster::of_database(&database).ok().flatten().map(|cluster| cluster.label());
            section.bytes = number(&database, "SELECT pg_database_size(current_database())");
            section.posts = number(&database, "SELECT count(*) FROM posts");
        }
        section
    }
}

fn number(database: &Database, sql: &str) -> Option<u64> {
    let value = database.value(sql).ok()?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
