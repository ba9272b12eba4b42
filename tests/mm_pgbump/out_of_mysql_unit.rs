//! Out of `MariaDB` where a real systemd starts the server after it, and stops the server with it.

use std::fs;

use mm_test_support::cluster::Cluster;
use mm_test_support::container::{Container, Network};
use mm_test_support::mariadb::Mariadb;
use mm_test_support::site::Site;
use mm_test_support::tool::executable;

use crate::rig::VERSION;

/// The unit of a package, and what an administrator has added to it.
const UNIT: &str = "usr/lib/systemd/system/mattermost.service";
const ADDED: &str = "etc/systemd/system/mattermost.service.d/order.conf";
/// What takes the place of the first.
const OURS: &str = "etc/systemd/system/mattermost.service";

#[test]
fn a_unit_that_is_bound_to_mysql_is_let_go_and_bound_again_by_the_way_back() {
    let site = Site::builder(VERSION).build();
    let mariadb = Mariadb::under(&site);
    let target = Cluster::create(15);
    let unit = format!(
        "[Unit]\nAfter=network.target mariadb.service\nBindsTo=mariadb.service\n\n[Service]\nUser=mm-test\nWorkingDirectory={0}\nExecStart={0}/bin/mattermost\n",
        site.install().display()
    );
    let added = "[Unit]\nRequires=mysql.service\nAfter=syslog.target\n";
    let mysql = "[Service]\nExecStart=/bin/sleep infinity\n";
    let files = [
        (UNIT, unit.as_str()),
        (ADDED, added),
        ("etc/systemd/system/mariadb.service", mysql),
        ("etc/systemd/system/mysql.service", mysql),
    ];
    let container = Container::boot(&site, Network::Shared, &files);
    let read = |path: &str| fs::read_to_string(container.path(path)).unwrap_or_default();
    let file = site.directory().join("target");
    fs::write(&file, target.url()).unwrap();
    let (install, state, file) = (site.install(), site.state(), file.to_str().unwrap().to_owned());
    let pgbump = |code: i32, words: &[&str]| {
        let of_site = ["--install", install.to_str().unwrap(), "--state-dir", state.to_str().unwrap(), "-v"];
        let output = container.inside(executable("mm-pgbump").to_str().unwrap(), &[words, &of_site].concat());
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert_eq!(output.status.code(), Some(code), "mm-pgbump {words:?}: {said}");
        said
    };
    // systemd names them in any order.
    let bonds = || {
        let named = ["BindsTo", "Requires", "After"].map(|bond| container.property("mattermost", bond)).join(" ");
        let mut units: Vec<&str> = named.split_whitespace().collect();
        units.sort_unstable();
        units.join(" ")
    };
    mm_test_support::process::run("chmod", &["600", &file]);
    let before = bonds();
    assert!(before.contains("mariadb.service") && before.contains("mysql.service"), "{before}");
    assert!(pgbump(0, &["check", "--target", &file]).contains("--unit"));

    // What no file of the unit says stays, whatever is changed.
    let link = "/etc/systemd/system/mattermost.service.requires/mariadb.service";
    let changed = |script: &str| container.run("sh", &["-ec", &format!("{script}; systemctl daemon-reload")]);
    changed(&format!("mkdir $(dirname {link}); ln -s ../mariadb.service {link}"));
    let said = pgbump(0, &["check", "--target", &file, "--unit", "--dry-run"]);
    assert!(said.contains(&format!("{link} stays")), "{said}");
    changed(&format!("rm {link}"));
    // A unit that was linked there is somebody else's.
    let linked = "/opt/mattermost.service";
    changed(&format!("cp /{UNIT} {linked}; systemctl link {linked}"));
    let said = pgbump(4, &["check", "--target", &file, "--unit"]);
    assert!(said.contains(&format!("cannot change `/{OURS}`")) && said.contains(linked), "{said}");
    changed(&format!("rm /{OURS}"));

    pgbump(0, &["move", "--target", &file, "--unit"]);
    let now = bonds();
    assert!(!now.contains("mariadb.service") && !now.contains("mysql.service"), "{now}");
    // For the container the target is another machine's; the package's own file is not touched.
    assert!(
        read(OURS).starts_with("[Unit]\nAfter=network.target\n\n[Service]\n") && read(UNIT) == unit,
        "{}",
        read(OURS)
    );
    assert_eq!(read(ADDED), "[Unit]\nAfter=syslog.target\n");

    pgbump(0, &["rollback"]);
    assert_eq!((bonds(), read(ADDED).as_str(), container.path(OURS).exists()), (before, added, false));
    assert_eq!(site.config()["SqlSettings"]["DataSource"], mariadb.source());
}
