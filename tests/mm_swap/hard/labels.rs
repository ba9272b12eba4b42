//! What only extended attributes hold: capabilities, SELinux labels, access lists. The kernel keeps labels of a policy
//! that is not loaded, so that they can be looked at on any machine.

use std::path::Path;

use mm_test_support::process::run;
use mm_test_support::site::{Site, quick};

use super::{FROM, TO};

const LABEL: &str = "security.selinux";

fn label(path: &Path) -> Option<String> {
    let value = xattr::get(path, LABEL).unwrap()?;
    Some(String::from_utf8(value).unwrap().trim_end_matches('\0').to_owned())
}

fn give(path: &Path, text: &str) {
    run("setfattr", &["-h", "-n", LABEL, "-v", text, path.to_str().unwrap()]);
}

#[test]
fn labels_capabilities_and_access_lists_are_those_of_the_old_release() {
    let site = Site::builder(FROM).build();
    let root = site.install();
    let own = [
        ("bin/mattermost", "system_u:object_r:mattermost_exec_t:s0"),
        ("i18n/en.json", "system_u:object_r:mattermost_lang_t:s0"),
        ("templates", "system_u:object_r:mattermost_templates_t:s0"),
        ("client", "system_u:object_r:mattermost_web_t:s0"),
    ];
    for (name, text) in own {
        give(&root.join(name), text);
    }
    let server = root.join("bin/mattermost");
    run("setcap", &["cap_net_bind_service=+ep", server.to_str().unwrap()]);
    run("setfacl", &["-m", "u:daemon:r", root.join("i18n/en.json").to_str().unwrap()]);
    let names = |directory: &str| -> Vec<String> {
        let entries = std::fs::read_dir(root.join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let before = names("client");

    let archive = quick(TO).build().tarball;
    let mut command = site.tool("mm-swap");
    command.args(["run", "--no-backup", "--no-start", "--archive"]).arg(archive).assert().success();
    for (name, text) in own {
        assert_eq!(label(&root.join(name)).as_deref(), Some(text), "{name}");
    }
    assert_eq!(label(&root.join("i18n/de.json")), None, "it had no label before");
    assert!(run("getcap", &[server.to_str().unwrap()]).contains("cap_net_bind_service=ep"), "the capability is lost");
    let list = run("getfacl", &["-p", root.join("i18n/en.json").to_str().unwrap()]);
    assert!(list.contains("user:daemon:r--"), "the access list is lost: {list}");
    // Names that the old release did not have get what their directory has, as a policy would give it to them.
    let mut new = names("client");
    new.retain(|name| !before.contains(name));
    assert!(!new.is_empty(), "the new release brings no file of a new name");
    for name in new {
        let path = root.join("client").join(&name);
        assert_eq!(label(&path).as_deref(), Some("system_u:object_r:mattermost_web_t:s0"), "{name}");
    }

    site.tool("mm-swap").arg("rollback").assert().success();
    for (name, text) in own {
        assert_eq!(label(&root.join(name)).as_deref(), Some(text), "{name}, gone back");
    }
}
