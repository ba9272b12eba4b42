//! What an administrator gets: `scripts/install` into a prefix, and the package and tarball of `scripts/package`.

use std::fs;
use std::path::Path;

use mm_test_support::tool;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts");

/// Runs a script with the programs, `$SCRIPTS` and `$T`, a directory of its own, in reach, and gives what it prints.
fn run(directory: &Path, binaries: &Path, script: &str) -> String {
    let text = format!("set -eu; SCRIPTS='{SCRIPTS}' T='{}' B='{}'\n{script}", directory.display(), binaries.display());
    let output = tool::shell(&text).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn an_installed_tree_works_from_its_prefix_and_goes_away_again() {
    let temporary = tempfile::tempdir().unwrap();
    let run = |script: &str| run(temporary.path(), &tool::directory(), script);
    run("mkdir -p $T/opt/bin; echo mine >$T/opt/bin/mine; $SCRIPTS/install --prefix $T/opt --binaries $B");

    for tool in tool::TOOLS {
        let version = run(&format!("$T/opt/bin/{tool} --version"));
        assert!(version.starts_with(tool), "{version}");
        // What a person sees of it on a small terminal.
        let help = run(&format!("$T/opt/bin/{tool} --help"));
        let first: Vec<&str> = help.lines().take(24).collect();
        assert_eq!(first.iter().filter(|line| line.starts_with("  mm-")).count(), 3, "{first:#?}");
        assert!(first.iter().any(|line| line.contains(&format!("man {tool}"))), "{first:#?}");
        assert!(temporary.path().join(format!("opt/share/man/man1/{tool}.1")).is_file());
    }
    for (line, flag) in
        [("mm-swap rollback --da", "--database"), ("mm-upgrade --pol", "--policy"), ("mm-path --h", "--help")]
    {
        let program = line.split(' ').next().unwrap();
        let offered = run(&format!(
            ". $T/opt/share/bash-completion/completions/{program}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             complete=$(complete -p {program}); complete=${{complete#*-F }}; \
             ${{complete%% *}} {program} \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        ));
        assert!(offered.split_ascii_whitespace().any(|word| word == flag), "{line}: {offered}");
    }
    for script in ["mm-upgrade", "mm-report", "mm-rehearse"] {
        let help = run(&format!("cd /; PATH=$T/opt/bin:/usr/bin:/bin; {script} --help"));
        assert!(help.contains(&format!("Usage: {script}")), "{help}");
        for file in [format!("bash-completion/completions/{script}"), format!("zsh/vendor-completions/_{script}")] {
            assert!(temporary.path().join("opt/share").join(&file).is_file(), "{file}");
        }
    }
    run("mandoc -T lint $T/opt/share/man/man*/*");
    // In Chinese every line is longer than mandoc counts.
    run("mandoc -T lint -W warning $T/opt/share/man/zh_CN/man7/mm-upgrade.7");
    run(
        "cmp $T/opt/share/mm-tools/ansible/roles/mm_tools/library/mm_tool.py $SCRIPTS/ansible/roles/mm_tools/library/mm_tool.py",
    );
    let unit = run("cat $T/opt/lib/systemd/system/mm-backup.service");
    assert!(unit.contains(&format!("ExecStart={}/opt/bin/mm-backup", temporary.path().display())), "{unit}");

    // Links that `systemctl enable` makes, one of them to a unit that is none of ours.
    let wants = "$T/stage/etc/systemd/system/timers.target.wants";
    let links = format!(
        "ln -s /opt/lib/systemd/system/mm-backup.timer {wants}/; ln -s /etc/systemd/system/mm-backup-verify.timer {wants}/"
    );
    run(&format!(
        "mkdir -p {wants}; {links}; DESTDIR=$T/stage $SCRIPTS/install --prefix /opt --binaries $B; \
         DESTDIR=$T/stage $SCRIPTS/install --prefix /opt --uninstall"
    ));
    assert_eq!(run(&format!("ls {wants}")), "mm-backup-verify.timer\n");

    run("$SCRIPTS/install --prefix $T/opt --uninstall");
    assert_eq!(run("cd $T/opt; find . -type f"), "./bin/mine\n", "only what was installed goes away");
}

#[test]
fn a_missing_program_installs_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let said = run(
        temporary.path(),
        temporary.path(),
        "code=0; $SCRIPTS/install --prefix $T/opt --binaries $B 2>&1 || code=$?; echo $code",
    );
    assert!(said.contains("mm-path is not there") && said.ends_with("\n1\n"), "{said}");
    assert!(!temporary.path().join("opt").exists());
}

/// The programs of this machine need its own glibc, and hosts that are upgraded have an older one.
#[test]
fn programs_that_would_not_start_on_older_hosts_are_not_packaged() {
    let temporary = tempfile::tempdir().unwrap();
    let binaries = temporary.path().join("programs");
    fs::create_dir(&binaries).unwrap();
    for tool in tool::TOOLS {
        fs::copy("/usr/bin/true", binaries.join(tool)).unwrap();
    }
    let said = run(
        temporary.path(),
        &binaries,
        "code=0; $SCRIPTS/package --binaries $B --glibc 2.17 --output $T/out 2>&1 || code=$?; echo $code; ls $T/out",
    );
    assert!(said.contains("and 2.17 is promised") && said.ends_with("\n1\n"), "{said}");
}

/// Small programs stand for the tools: what is looked at is the packing, and packing the tools of a debug build takes
/// a minute.
#[test]
fn the_package_and_the_tarball_hold_what_install_installs() {
    let temporary = tempfile::tempdir().unwrap();
    let binaries = temporary.path().join("programs");
    fs::create_dir(&binaries).unwrap();
    for tool in tool::TOOLS {
        fs::copy("/usr/bin/true", binaries.join(tool)).unwrap();
    }
    let run = |script: &str| run(temporary.path(), &binaries, script);
    // The list of what is in the programs is cargo's.
    let cargo = Path::new(env!("CARGO")).parent().unwrap().display();
    run(&format!(
        "PATH=$PATH:{cargo}; $SCRIPTS/package --binaries $B --output $T/one; $SCRIPTS/package --binaries $B --output $T/two"
    ));
    run("diff -r $T/one $T/two");
    run(
        "$SCRIPTS/install --prefix $T/plain --binaries $B; dpkg-deb -x $T/one/*.deb $T/deb; mkdir $T/tar; tar -C $T/tar -xf $T/one/*.tar.gz",
    );

    let plain = run("cd $T/plain; find . -type f -printf '%P %m\\n' | sort");
    // Debian's own: man pages in gzip, the changelog, the copyright, and what lintian is told.
    let debian =
        "usr/share/doc/mm-tools/changelog.gz usr/share/doc/mm-tools/copyright usr/share/lintian/overrides/mm-tools";
    run(&format!(
        "cd $T/deb; for file in {debian}; do test -f $file; done; rm -r usr/share/lintian; \
        rm usr/share/doc/mm-tools/changelog.gz usr/share/doc/mm-tools/copyright; find usr/share/man -name '*.gz' -exec gunzip {{}} +"
    ));
    assert_eq!(run("cd $T/deb/usr; find . -type f -printf '%P %m\\n' | sort"), plain);
    assert!(plain.contains("share/man/zh_CN/man7/mm-upgrade.7 644\n"), "{plain}");
    run("lintian --allow-root --no-user-dirs --fail-on error,warning $T/one/*.deb");
    let changes = run(
        "dpkg-deb --fsys-tarfile $T/one/*.deb | tar -xO ./usr/share/doc/mm-tools/changelog.gz | zcat | dpkg-parsechangelog -l -",
    );
    assert!(
        changes.contains(&format!("Version: {}\n", env!("CARGO_PKG_VERSION"))) && changes.contains(" * "),
        "{changes}"
    );
    assert_eq!(run("cd $T/tar/*; find . -type f -printf '%P %m\\n' | sort"), plain);
    assert!(run("cat $T/deb/usr/lib/systemd/system/mm-backup.service").contains("ExecStart=/usr/bin/mm-backup"));
    let depends = run("dpkg-deb -f $T/one/*.deb Depends");
    // Debian 10 and Ubuntu 18.04 have libgcc1; what a single tool can do without is not forced.
    assert!(depends.contains("libc6 (>= 2.") && depends.contains("libgcc-s1 | libgcc1"), "{depends}");
    assert!(!depends.contains("jq") && !depends.contains("postgresql"), "{depends}");
    assert!(run("dpkg-deb -f $T/one/*.deb Recommends").contains("postgresql-common, gpgv | sqv, jq"));
    run("cd $T/one; sha256sum --quiet --strict -c SHA256SUMS; [ $(wc -l <SHA256SUMS) = 3 ]");
    let parts = run("jq -r '.components[].name' $T/one/*.cdx.json");
    let has = |name: &str| parts.lines().any(|part| part == name);
    assert!(has("rustls") && has("serde") && !has("proptest") && !has("mm-common"), "{parts}");
    assert!(run("dpkg-deb -c $T/one/*.deb").lines().all(|line| line.contains(" root/root ")));

    // By the real dpkg, into a root of its own: an enabled timer goes with its unit, the administrator's own stays.
    let wants = "$T/root/etc/systemd/system/timers.target.wants";
    let dpkg = "dpkg --root=$T/root --force-script-chrootless --force-depends --log=/dev/null";
    run(&format!(
        "mkdir -p $T/root/var/lib/dpkg/updates {wants}; touch $T/root/var/lib/dpkg/status; {dpkg} --install $T/one/*.deb >$T/said 2>&1 || {{ cat $T/said; exit 1; }}"
    ));
    assert_eq!(run(&format!("ls {wants}")), "", "nothing is enabled unasked");
    run(&format!(
        "ln -s /usr/lib/systemd/system/mm-backup.timer {wants}/; ln -s /etc/systemd/system/mm-backup-verify.timer {wants}/"
    ));
    run(&format!("{dpkg} --install $T/two/*.deb >$T/said 2>&1 || {{ cat $T/said; exit 1; }}"));
    assert_eq!(run(&format!("ls {wants}")), "mm-backup-verify.timer\nmm-backup.timer\n", "an upgrade keeps them");
    run("mkdir -p $T/root/srv/points/20261129T030000Z $T/root/var/lib/mm-tools/x/runs; \
         echo '{}' >$T/root/srv/points/20261129T030000Z/manifest.json; \
         printf '{\\n  \"backup\": {\\n    \"store\": \"/srv/points\"\\n  }\\n}\\n' >$T/root/var/lib/mm-tools/x/runs/1.json");
    for way in ["--remove", "--purge"] {
        let said = run(&format!("{dpkg} {way} mm-tools 2>&1 || echo failed"));
        assert!(
            said.contains("mm-tools: restore points are kept in /srv/points") && !said.contains("failed"),
            "{way}: {said}"
        );
        run(
            "test -f $T/root/srv/points/20261129T030000Z/manifest.json && test -f $T/root/var/lib/mm-tools/x/runs/1.json",
        );
    }
    assert_eq!(run(&format!("ls {wants}")), "mm-backup-verify.timer\n");
    assert_eq!(run("find $T/root/usr $T/root/lib -name 'mm-*' 2>/dev/null || true"), "");
}
