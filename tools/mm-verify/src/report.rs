//! The checks for people, for build servers (JUnit XML) and for dashboards (Prometheus text format).

use mm_common::contract::sections::{Check, Status};
use mm_common::contract::terminal;
use std::fmt::Write as _;

use crate::checks;
use crate::plan;
use crate::trend::Sample;

/// A table: what is not good comes with its evidence and its hint, the rest in one line each.
pub(crate) fn human(checks: &[Check], seconds: f64) -> String {
    let mut text = String::new();
    let mut area = "";
    for check in checks {
        let definition = checks::ALL.iter().find(|definition| definition.id == check.id);
        let heading = definition
            .map_or(if check.id.starts_with("watch.") { "Watched" } else { "Afterwards" }, |definition| {
                definition.area.title()
            });
        if heading != area {
            area = heading;
            let _ = writeln!(text, "{}{heading}", if text.is_empty() { "" } else { "\n" });
        }
        let _ = writeln!(text, "  {:5}  {:22} {}", mark(check.status), check.id, check.title);
        if check.status == Status::Pass {
            continue;
        }
        let below = " ".repeat(if terminal::shown().is_some_and(|columns| columns < 80) { 4 } else { 32 });
        let mut line = |line: &str| terminal::fold(&mut text, &below, &below, line);
        line(&check.evidence);
        if let Some(other) = &check.compared_with {
            line(&format!("compared with {other}"));
        }
        if let Some(hint) = check.hint.as_ref().filter(|_| check.status != Status::Skip) {
            line(&format!("hint: {hint}"));
        }
    }
    let _ = writeln!(text, "\n{} ({seconds:.1} s)", plan::summary(checks));
    text
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Fail => "FAIL",
        Status::Error => "ERROR",
        other => plan::name(other),
    }
}

/// JUnit XML: an area is a class, a check a test case. A warning is a passed case with what was seen.
pub(crate) fn junit(checks: &[Check], seconds: f64) -> String {
    let of = |status| plan::count(checks, status);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"mm-verify\" tests=\"{}\" failures=\"{}\" \
         errors=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">\n",
        checks.len(),
        of(Status::Fail),
        of(Status::Error),
        of(Status::Skip)
    );
    for check in checks {
        let (class, _) = check.id.split_once('.').unwrap_or((&check.id, ""));
        let _ = write!(
            text,
            "  <testcase classname=\"{}\" name=\"{}: {}\" time=\"{:.3}\">",
            xml(class),
            xml(&check.id),
            xml(&check.title),
            check.seconds
        );
        let detail = |tag: &str| {
            let hint = check.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("<{tag} message=\"{0}\">{0}{1}</{tag}>", xml(&check.evidence), xml(&hint))
        };
        let inside = match check.status {
            Status::Fail => detail("failure"),
            Status::Error => detail("error"),
            Status::Skip => format!("<skipped message=\"{}\"/>", xml(&check.evidence)),
            Status::Pass | Status::Warn => format!("<system-out>{}</system-out>", xml(&check.evidence)),
        };
        text.push_str(&inside);
        text.push_str("</testcase>\n");
    }
    text.push_str("</testsuite>\n");
    text
}

/// Characters that XML does not let stand; controls that it cannot hold at all become a question mark.
fn xml(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".into(),
            '<' => "&lt;".into(),
            '>' => "&gt;".into(),
            '"' => "&quot;".into(),
            c if c.is_control() && !matches!(c, '\n' | '\t') => "?".into(),
            c => c.to_string(),
        })
        .collect()
}

/// Prometheus text format, for the textfile collector.
pub(crate) fn prometheus(checks: &[Check], seconds: f64, now: u64) -> String {
    let mut text = String::from(
        "# HELP mm_verify_check Result of a check: 1 for the status it has.\n# TYPE mm_verify_check gauge\n",
    );
    for check in checks {
        for status in plan::STATUSES {
            let value = u8::from(check.status == status);
            let _ = writeln!(text, "mm_verify_check{{id=\"{}\",status=\"{}\"}} {value}", check.id, plan::name(status));
        }
    }
    text.push_str("# HELP mm_verify_checks Number of checks by status.\n# TYPE mm_verify_checks gauge\n");
    for status in plan::STATUSES {
        let _ = writeln!(text, "mm_verify_checks{{status=\"{}\"}} {}", plan::name(status), plan::count(checks, status));
    }
    let _ = write!(
        text,
        "# HELP mm_verify_duration_seconds Duration of the last run.\n# TYPE mm_verify_duration_seconds gauge\n\
         mm_verify_duration_seconds {seconds:.3}\n\
         # HELP mm_verify_last_run_timestamp_seconds When the last run ended.\n\
         # TYPE mm_verify_last_run_timestamp_seconds gauge\nmm_verify_last_run_timestamp_seconds {now}\n"
    );
    text
}

/// What `watch` saw last, in the Prometheus text format.
pub(crate) fn prometheus_sample(sample: Option<&Sample>) -> String {
    let mut text = String::new();
    let Some(sample) = sample else { return text };
    let up = u8::from(sample.trouble.is_none());
    let _ = writeln!(
        text,
        "# HELP mm_verify_up Whether the status ping is well.\n# TYPE mm_verify_up gauge\nmm_verify_up {up}"
    );
    if let Some(latency) = sample.latency {
        let seconds = latency / 1000.0;
        let _ = writeln!(
            text,
            "# HELP mm_verify_latency_seconds Duration of a status ping.\n# TYPE mm_verify_latency_seconds gauge\n\
             mm_verify_latency_seconds {seconds:.4}"
        );
    }
    if let Some((used, allowed)) = sample.connections {
        let _ = writeln!(
            text,
            "# HELP mm_verify_database_connections Connections to the database.\n\
             # TYPE mm_verify_database_connections gauge\nmm_verify_database_connections {used}\n\
             # HELP mm_verify_database_connections_max What PostgreSQL allows.\n\
             # TYPE mm_verify_database_connections_max gauge\nmm_verify_database_connections_max {allowed}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: Status) -> Check {
        Check {
            id: "web.root".into(),
            title: "the page is served".into(),
            status,
            evidence: "a < \"b\" & \u{1b}[31m".into(),
            compared_with: None,
            hint: Some("do this".into()),
            seconds: 0.25,
        }
    }

    #[test]
    fn evidence_cannot_break_the_xml() {
        let text = junit(&[check(Status::Fail)], 1.0);
        assert!(text.contains("<failure message=\"a &lt; &quot;b&quot; &amp; ?[31m\">"), "{text}");
        assert!(text.contains("failures=\"1\" errors=\"0\""), "{text}");
    }

    #[test]
    fn every_status_has_a_series() {
        let text = prometheus(&[check(Status::Warn)], 1.5, 1_700_000_000);
        assert!(text.contains("mm_verify_check{id=\"web.root\",status=\"warn\"} 1\n"), "{text}");
        assert!(text.contains("mm_verify_check{id=\"web.root\",status=\"pass\"} 0\n"), "{text}");
        assert!(text.contains("mm_verify_duration_seconds 1.500\n"), "{text}");
    }

    #[test]
    fn people_are_told_what_to_do_about_what_is_not_good() {
        assert!(human(&[check(Status::Fail)], 1.0).contains("hint: do this"));
        assert!(!human(&[check(Status::Pass)], 1.0).contains("hint"));
    }
}
