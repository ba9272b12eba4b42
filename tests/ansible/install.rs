//! What the role installs the tools from.

use std::fs;

use crate::fixture::{Play, packed};

#[test]
fn the_tools_come_from_a_tarball_and_refresh_the_catalogue_as_their_unit_confines_them() {
    let mut play = Play::bare(&["one"]);
    play.set("mm_tools_tarball", packed()[1].to_str().unwrap());
    let host = &play.hosts[0];
    host.run("mkdir -m 2775 /usr/local/bin; chgrp staff /usr/local/bin");
    let first = play.run("install.yml", &[]).good();
    assert_eq!(first.count("one", "changed"), 1, "{}", first.said);
    assert!(host.run("mm-swap --version").starts_with("mm-swap "));
    assert_eq!(host.run("stat -c '%a %G' /usr/local/bin"), "2775 staff", "what is the administrator's stays");
    host.run("test -f /usr/local/share/man/man1/mm-swap.1");

    // From a page that was saved.
    host.run(
        "mkdir -p /srv/pages /etc/systemd/system/mm-fetch-refresh.service.d; cat >/srv/pages/releases.md <<'TXT'\n\
         | v12.91 [Download](https://releases.mattermost.com/12.91.2/mattermost-12.91.2-linux-amd64.tar.gz) | 2027-03-16 | 2028-03-15 EXTENDED |\n\
         TXT\n\
         printf '%s\\n' '[Service]' ExecStart= 'ExecStart=/usr/local/bin/mm-fetch refresh --from /srv/pages --format human' \
         >/etc/systemd/system/mm-fetch-refresh.service.d/pages.conf; systemctl daemon-reload; \
         systemctl start mm-fetch-refresh.service || { journalctl --no-pager -u mm-fetch-refresh.service >&2; false; }",
    );
    assert_eq!(host.run("stat -c '%a %U' /var/lib/mm-tools /var/lib/mm-tools/catalogue.json"), "711 root\n644 root");
    let status = host.run("runuser -u nobody -- mm-path --catalogue-status --state-dir /var/lib/mm-tools");
    assert!(status.contains("12.91.2") && status.contains("refreshed"), "{status}");
    assert_eq!(host.run("systemctl is-enabled mm-fetch-refresh.timer || true"), "disabled");
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn a_tarball_is_installed_once_and_what_another_one_has_left_is_replaced() {
    let mut play = Play::bare(&["one"]);
    let [package, tarball] = packed();
    play.set("mm_tools_tarball", tarball.to_str().unwrap());
    let host = &play.hosts[0];
    let check = play.run("install.yml", &["--check"]).good();
    assert_eq!(check.count("one", "changed"), 1, "{}", check.said);
    host.run("test ! -e /usr/local/bin/mm-path");
    play.run("install.yml", &[]).good();
    play.run("install.yml", &[]).unchanged(&["one"]);

    // One tool of another release, as an installation that was cut off leaves it.
    host.run("rm /usr/local/bin/mm-swap; printf '#!/bin/sh\\necho mm-swap 0.0.9\\n' >/usr/local/bin/mm-swap; chmod 755 /usr/local/bin/mm-swap");
    let again = play.run("install.yml", &[]).good();
    assert_eq!(again.count("one", "changed"), 1, "{}", again.said);
    assert_ne!(host.run("mm-swap --version"), "mm-swap 0.0.9");

    let both = play.run("install.yml", &["-e", &format!("mm_tools_deb={}", package.display())]);
    assert!(both.code == Some(2) && both.said.contains("not both"), "{}", both.said);
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn a_file_of_another_name_and_a_copy_that_hides_the_package_are_told() {
    let mut play = Play::bare(&["one"]);
    let package = &packed()[0];
    let renamed = play.lan.directory().join("tools.deb");
    fs::copy(package, &renamed).unwrap();
    let unnamed = play.run("install.yml", &["-e", &format!("mm_tools_deb={}", renamed.display())]);
    assert!(unnamed.code == Some(2) && unnamed.said.contains("is not named as scripts/package"), "{}", unnamed.said);

    play.set("mm_tools_deb", package.to_str().unwrap());
    let host = &play.hosts[0];
    host.run("mkdir /usr/local/bin; printf '#!/bin/sh\\necho mm-path 0.0.9\\n' >/usr/local/bin/mm-path; chmod 755 /usr/local/bin/mm-path");
    let hidden = play.run("install.yml", &[]);
    assert!(hidden.code == Some(2) && hidden.said.contains("mm-path 0.0.9, mm-fetch "), "{}", hidden.said);
    assert_eq!(host.run("ls /var/cache | grep -c deb$ || true"), "0", "the copy of the package is left");
    host.run("rm /usr/local/bin/mm-path; dpkg -s mm-tools | grep -q '^Status: install ok installed'");
    play.run("install.yml", &[]).unchanged(&["one"]);
}
