//! `scripts/mm-report`: what an upgrade did, for people.

use mm_test_support::tool;
use mm_test_support::upgrade::{SCRIPTS, Upgrade};
use serde_json::{Value, json};

use crate::run::good;

/// What it makes of a document.
pub(crate) fn report(format: &str, document: &Value) -> String {
    let script = format!("{SCRIPTS}/mm-report --format {format}");
    let output = tool::shell(&script).write_stdin(document.to_string()).output().unwrap();
    good(&output);
    String::from_utf8(output.stdout).unwrap()
}

/// The table of `scripts/test-real` for these versions, from the documents of the last run.
pub(crate) fn table(upgrade: &Upgrade, versions: &[&str]) -> String {
    let (runs, state, work) = (upgrade.runs(), upgrade.site.state(), upgrade.site.directory().join("table"));
    std::fs::create_dir(&work).unwrap();
    let script = format!(
        "set -euo pipefail; work={} edition=team; runs_of_host() {{ echo {}; }}; state_of_host() {{ echo {}; }}
         . {SCRIPTS}/host.d/table; record team {}; table team {}",
        work.display(),
        runs.display(),
        state.display(),
        versions[0],
        versions.join(" ")
    );
    let output = tool::shell(&script).output().unwrap();
    good(&output);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_a_server_has_logged_is_no_markup_in_a_report() {
    let error = json!({"tool": "mm-swap", "code": 6, "kind": "rolled-back", "message": "no <b>good</b>",
        "causes": ["<script>alert(1)</script> | a & b"], "hint": "see <log>"});
    let hop = json!({"from": "10.5.14", "to": "10.6.1", "edition": "team", "url": "", "sha256": []});
    let document =
        json!({"schema": "mm.upgrade/1", "path": {"current": "10.5.14", "next": hop, "hops": [hop]}, "error": error});
    for format in ["markdown", "html"] {
        let text = report(format, &document);
        assert!(text.contains("&lt;script>") || text.contains("&lt;script&gt;"), "{text}");
        assert!(!["<script>", "<b>", "<log>"].iter().any(|markup| text.contains(markup)), "{text}");
    }
}

#[test]
fn a_report_tells_one_hop_from_several() {
    let hop = json!({"from": "10.5.14", "to": "10.6.1", "edition": "team", "url": "", "sha256": []});
    for (hops, told) in [(vec![&hop], "1 hop to go"), (vec![&hop, &hop], "2 hops to go")] {
        let path = json!({"current": "10.5.14", "next": hop, "hops": hops});
        let text = report("markdown", &json!({"schema": "mm.upgrade/1", "path": path}));
        assert!(text.contains(&format!("not at its end: {told} |")), "{text}");
    }
}

#[test]
fn a_report_of_an_upgrade_that_has_arrived_says_what_comes_next() {
    let note = json!({"id": "next-step", "severity": "info", "title": "11.7 gets fixes until 2027-05-15", "action": "Take its dot releases.", "source": "x"});
    let hop = json!({"from": "11.7.10", "to": "11.7.15", "edition": "team", "url": "", "sha256": []});
    let path = json!({"current": "11.7.15", "next": null, "hops": [], "notes": [note]});
    let document = json!({"schema": "mm.upgrade/1", "path": path, "done": [{"hop": hop}]});
    for format in ["markdown", "html"] {
        let text = report(format, &document);
        assert!(text.contains("What comes next") && text.contains("11.7 gets fixes until 2027-05-15. Take"), "{text}");
    }
}

/// What a run's directory holds in the end, and on the way; today's, and that of an mm-upgrade which kept its documents by hops.
#[test]
fn a_run_is_read_from_its_directory() {
    let place = tempfile::tempdir().unwrap();
    let run = place.path().join("a run");
    let hop = |from: &str, to: &str| json!({"from": from, "to": to, "edition": "team", "url": "", "sha256": []});
    let (first, second) = (hop("9.11.18", "10.5.14"), hop("10.5.14", "10.6.1"));
    let on_the_way = |done: &[&Value], next: &Value, more: Value| {
        let done: Vec<Value> = done.iter().map(|hop| json!({"hop": hop})).collect();
        let path = json!({"current": next["from"], "target": "10.6.1", "next": next, "hops": [next]});
        let mut document = json!({"schema": "mm.upgrade/1", "path": path, "done": done});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document
    };
    let tells = |document: &str, text: &Value, words: &str| {
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join(document), text.to_string()).unwrap();
        let output = tool::shell(&format!("{SCRIPTS}/mm-report '{}'", run.display())).output().unwrap();
        good(&output);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains(words), "{document}: {words}: {told}");
    };
    let swapped = json!({"swap": {"from": "9.11.18", "to": "10.5.14"}, "verify": {"counts": {}, "checks": []}});
    tells("0000-mm-path-plan.json", &on_the_way(&[], &first, json!({})), "not at its end: 1 hop to go");
    tells("0002-mm-verify-run.json", &on_the_way(&[], &first, swapped.clone()), "| Outcome | arrived |");
    tells("current.json", &on_the_way(&[&first], &second, json!({})), "1 done, 1 to go");
    // What has failed since is newer than what mm-upgrade has put there.
    let error = json!({"error": {"tool": "mm-swap", "code": 6, "kind": "rolled-back", "message": "no", "causes": []}});
    tells("0003-mm-swap-run.json", &on_the_way(&[&first], &second, error), "stopped: mm-swap: no");
    let mut done = on_the_way(&[&first, &second], &json!(null), json!({}));
    done["path"] = json!({"current": "10.6.1", "next": null, "hops": []});
    tells("final.json", &done, "| Outcome | arrived |");
    std::fs::remove_dir_all(&run).unwrap();

    std::fs::create_dir_all(run.join("hop-1-10.5.14")).unwrap();
    std::fs::write(run.join("hop-1-10.5.14/verify.json"), "{}").unwrap();
    tells("plan.json", &on_the_way(&[], &first, json!({})), "not at its end: 1 hop to go");
    tells("current.json", &on_the_way(&[&first], &second, json!({})), "1 done, 1 to go");
    tells("final.json", &done, "| Outcome | arrived |");
}

#[test]
fn a_report_of_something_else_is_refused() {
    for text in ["", "{}", "[1]", "{\"schema\":\"mm.upgrade/1\""] {
        let output = tool::shell(&format!("{SCRIPTS}/mm-report")).write_stdin(text).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(65), 0), "{text:?}");
    }
    for (script, code, words) in [
        ("mm-report /not/there", 65, "error: /not/there cannot be read: No such file"),
        ("mm-report /", 65, "error: / holds no document of an upgrade"),
        ("mm-report -f html", 2, "unknown option '-f'"),
        ("mm-report a.json b.json", 2, "'a.json' and 'b.json' were given"),
        ("script -qec mm-report /dev/null", 65, "standard input, which is a terminal"),
        ("PATH=/nowhere /bin/bash $(command -v mm-report)", 5, "jq is not installed"),
    ] {
        let output = tool::shell(&format!("PATH={SCRIPTS}:$PATH; exec </dev/null 2>&1; {script}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(code) && said.contains(words), "{script}: {said}");
    }
}
