//! A server on which every check has something to look at and to compare with, and which can be broken for each.

use std::path::{Path, PathBuf};

use mm_test_support::process;
use mm_test_support::site::{Site, quick};
use serde_json::{Value, json};

use crate::lab::{check_of, complaints, with_status};

/// The release of the server.
pub(crate) const VERSION: &str = "9.11.18";
const PLUGIN: &str = "org.example.counter";

/// What is broken for a case, and put right after it.
pub(crate) enum Break {
    /// Statements, and those that take them back.
    Sql(&'static str, &'static str),
    /// The server is started with this fault of the stand-in.
    Fault(&'static str),
    /// These words in the script of the web client are replaced.
    Client(&'static str, &'static str),
    /// By hand.
    Hand(fn(&Bench), fn(&Bench)),
    /// The document says that this release was put in place.
    Expected(&'static str),
}

/// A check, what it needs others for, its verdict, and the case in which it gives that.
pub(crate) struct Case(
    pub(crate) &'static str,
    pub(crate) &'static [&'static str],
    pub(crate) &'static str,
    pub(crate) Break,
);

/// A site with a document and a baseline that give every check something to compare with.
pub(crate) struct Bench {
    pub(crate) site: Site,
    pub(crate) document: Value,
    pub(crate) site_url: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let site = Site::builder(VERSION).build();
        let plugin = site.install().join("plugins").join(PLUGIN);
        std::fs::create_dir_all(&plugin).unwrap();
        let manifest = json!({"id": PLUGIN, "name": PLUGIN, "version": "1.0.0", "min_server_version": "9.0.0"});
        std::fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
        process::run("chown", &["-R", "mm-test:", site.install().join("plugins").to_str().unwrap()]);
        let mut enabled = site.config()["PluginSettings"]["PluginStates"].clone();
        enabled[PLUGIN] = json!({"Enable": true});
        site.set("PluginSettings", "PluginStates", enabled);
        site.start();
        let releases = site.releases(&[quick(VERSION).build()]);
        let mut fetch = site.tool("mm-fetch");
        fetch
            .args([VERSION, "--edition", "team", "--mirror", releases.site.url(), "--catalogue"])
            .arg(&releases.catalogue);
        let fetched = fetch.arg("--cache").arg(site.cache()).assert().success();
        let document = serde_json::from_slice(&fetched.get_output().stdout).unwrap();
        site.tool("mm-verify").args(["baseline", "--browser", "no"]).assert().success();
        let site_url = site.config()["ServiceSettings"]["SiteURL"].as_str().unwrap().to_owned();
        Self { site, document, site_url }
    }

    /// Looks, as at the end of a hop that has put `release` in place.
    pub(crate) fn look(&self, release: &str, arguments: &[String]) -> Value {
        let mut document = self.document.clone();
        document["swap"] = json!({"from": "9.5.14", "to": release, "exchanged": [], "retired": null});
        let mut command = self.site.tool("mm-verify");
        command.args(arguments).args(["--format", "json"]).write_stdin(document.to_string());
        let output = command.output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    pub(crate) fn is_silent(&self, cases: &[Case], arguments: &[&str], when: &str) {
        let document = self.look(VERSION, &arguments.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(complaints(&document), Vec::<String>::new(), "{when}");
        for Case(id, ..) in cases {
            let check = check_of(&document, id);
            assert_eq!(check["status"], "pass", "{when}: {check}");
        }
    }

    /// Breaks the site for each case in turn, and wants that check, and of those beside it no other, to say so.
    pub(crate) fn all_bite(&self, cases: &[Case], more: &[&str]) {
        for Case(id, beside, verdict, how) in cases {
            let mut release = VERSION;
            self.set(how, true, &mut release);
            let mut arguments: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
            for name in beside.iter().chain([id]).filter(|name| **name != "traces.removed") {
                arguments.extend(["--only".to_owned(), (*name).to_owned()]);
            }
            let document = self.look(release, &arguments);
            self.set(how, false, &mut release);
            let check = check_of(&document, id);
            assert_eq!(check["status"], *verdict, "{check}");
            assert!(check["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "no hint: {check}");
            if *verdict == "fail" {
                assert_eq!(with_status(&document, "fail"), [*id], "{:#?}", complaints(&document));
            }
        }
    }

    fn set(&self, how: &Break, broken: bool, release: &mut &str) {
        match how {
            Break::Sql(statements, back) => drop(self.site.cluster.query(if broken { statements } else { back })),
            Break::Fault(words) => {
                self.site.stop();
                let file = self.site.install().join("bin/.stand-in-faults");
                if broken { std::fs::write(&file, words) } else { std::fs::remove_file(&file) }.unwrap();
                self.site.start();
            }
            Break::Client(from, to) => {
                let path = self.site.install().join(self.script());
                let text = std::fs::read_to_string(&path).unwrap();
                let (from, to) = if broken { (from, to) } else { (to, from) };
                assert!(text.contains(from), "the stand-in's client has no `{from}`");
                std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            }
            Break::Hand(act, back) => {
                if broken {
                    act(self);
                } else {
                    back(self);
                }
            }
            Break::Expected(other) => *release = if broken { other } else { VERSION },
        }
    }

    /// As if mm-swap had been killed.
    pub(crate) fn cut_off(&self, is_cut_off: bool) {
        let state = std::fs::read_dir(self.site.state()).unwrap().next().unwrap().unwrap().path();
        let journal = state.join("swap.journal");
        if is_cut_off { std::fs::write(journal, "{}") } else { std::fs::remove_file(journal) }.unwrap();
    }

    pub(crate) fn hide(&self, path: &str) {
        std::fs::rename(self.site.install().join(path), self.away(path)).unwrap();
    }

    pub(crate) fn show(&self, path: &str) {
        std::fs::rename(self.away(path), self.site.install().join(path)).unwrap();
    }

    fn away(&self, path: &str) -> PathBuf {
        self.site.directory().join(Path::new(path).file_name().unwrap()).with_extension("away")
    }

    pub(crate) fn chown(&self, to: &str, path: &str) {
        process::run("chown", &[to, self.site.install().join(path).to_str().unwrap()]);
    }

    pub(crate) fn listen(&self, address: &str) {
        self.site.stop();
        self.site.set("ServiceSettings", "ListenAddress", address.into());
        if !address.ends_with(":1") {
            self.site.start();
        }
    }

    pub(crate) fn address(&self, url: &str) {
        self.site.set("ServiceSettings", "SiteURL", url.into());
    }

    pub(crate) fn upload(&self) -> String {
        format!("data/{}", self.site.cluster.query("SELECT min(path) FROM fileinfo WHERE deleteat = 0"))
    }

    /// The main script of the web client.
    fn script(&self) -> String {
        let names = process::run("ls", &[self.site.install().join("client").to_str().unwrap()]);
        let is_it =
            |name: &&str| name.starts_with("main.") && Path::new(name).extension().is_some_and(|ending| ending == "js");
        format!("client/{}", names.lines().find(is_it).expect("the client has a main script"))
    }
}
