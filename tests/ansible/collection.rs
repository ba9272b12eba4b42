//! The same files as a collection.

use mm_test_support::process::{run, workspace};

#[test]
fn the_collection_builds_installs_and_has_the_role_and_the_module() {
    let place = tempfile::tempdir().unwrap();
    let (out, into) = (place.path().join("out"), place.path().join("collections"));
    let source = workspace().join("scripts/ansible");
    let (out, into) = (out.to_str().unwrap(), into.to_str().unwrap());
    let line = |command: &str| {
        let script =
            format!("export HOME={} ANSIBLE_COLLECTIONS_PATH={into} LC_ALL=C.UTF-8; {command}", place.path().display());
        run("bash", &["-c", &script])
    };
    line(&format!("ansible-galaxy collection build {} --output-path {out}", source.display()));
    line(&format!("ansible-galaxy collection install {out}/mm_tools-mattermost-*.tar.gz -p {into}"));
    let module = line("ansible-doc -t module mm_tools.mattermost.mm_tool");
    assert!(module.contains("Runs a tool of mm-tools on the host"), "{module}");
    let role = line("ansible-doc -t role mm_tools.mattermost.mm_tools");
    assert!(role.contains("mm_tools_to"), "{role}");
}
