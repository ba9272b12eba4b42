//! The section `site` of the document.

use super::Installation;
use crate::contract::sections::{Site, SiteConfig, SiteDatabase, SiteService};
use crate::machine::threads;
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
            cluster_unknown: false,
            bytes: None,
            posts: None,
        };
        if let Ok(database) = self.database() {
            section.server_version = Some(database.version.clone());
            section.major = Some(database.major());
            // The one waits for the list of clusters, the other for the database.
            let (cluster, sizes) = threads::both(|| cluster::of_database(&database), || sizes(&database));
            section.cluster_unknown = cluster.is_err();
            section.cluster = cluster.ok().flatten().map(|cluster| cluster.label());
            (section.bytes, section.posts) = sizes;
        }
        section
    }
}

/// From so many posts on, PostgreSQL's own estimate is near enough, and counting would read a table of gigabytes.
const MANY: u32 = 100_000;

/// Bytes of the database and rows of `posts`.
fn sizes(database: &Database) -> (Option<u64>, Option<u64>) {
    let bytes = "pg_catalog.pg_database_size(pg_catalog.current_database())";
    let both = database.rows(&format!(
        "SELECT {bytes} AS bytes, CASE WHEN reltuples >= {MANY} THEN reltuples::bigint ELSE (SELECT pg_catalog.count(*) FROM posts) END \
         AS posts FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass('posts')"
    ));
    match both.as_deref() {
        Ok([row]) => (row["bytes"].as_u64(), row["posts"].as_u64()),
        // No such table, or none that may be read.
        _ => (database.value(&format!("SELECT {bytes}")).ok().and_then(|value| value.as_u64()), None),
    }
}
