//! Prometheus rules and Grafana dashboard in `deploy`: promtool accepts them, and a new server
//! exposes every series that they query.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use regex::Regex;
use reqwest::Method;
use serde_json::Value;

use super::verifier::require;
use latchkey_testkit::{Backend, TestApp, on_both_backends};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn file(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// Runs promtool. Fails on any error or warning.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new(require("promtool", "prometheus"));
    command
        .args(arguments)
        .current_dir(path("deploy/prometheus"))
        .stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && (input.is_empty() || text.is_empty()),
        "{arguments:?}: {text}"
    );
}

#[test]
fn configuration_and_rules_pass_promtool() {
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["check", "rules", "latchkey.rules.yml"], "");
    promtool(&["test", "rules", "latchkey.rules.test.yml"], "");
}

on_both_backends! {
    async fn metrics_of_a_new_server_pass_promtool(backend: Backend) {
        let app = TestApp::start(backend).await;
        let request = app.request(Method::GET, "/metrics").header("accept", "text/plain");
        promtool(&["check", "metrics"], &app.send(request).await.text);
    }
}

/// Returns the labels of each sample, by name.
async fn exposed() -> BTreeMap<String, Vec<BTreeMap<String, String>>> {
    let app = TestApp::start(Backend::PostgresAndRedis).await;
    let label = Regex::new(r#"([a-z_]+)="([^"]*)""#).unwrap();
    let mut exposed: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in app
        .get("/metrics")
        .await
        .text
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let (name, labels) = line.split_at(line.find(['{', ' ']).unwrap());
        let labels = label
            .captures_iter(labels)
            .map(|found| (found[1].to_owned(), found[2].to_owned()))
            .collect();
        exposed.entry(name.to_owned()).or_default().push(labels);
    }
    exposed
}

/// Collects every `expr` of the dashboard.
fn expressions(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| expressions(value, all)),
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                all.push(text.clone());
            }
            value => expressions(value, all),
        }),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_queried_series_is_exposed() {
    let exposed = exposed().await;
    let mut queries = Vec::new();
    expressions(
        &serde_json::from_str(&file("deploy/grafana/latchkey.json")).unwrap(),
        &mut queries,
    );
    assert!(queries.len() > 40, "{queries:#?}");
    for name in ["latchkey.rules.yml", "latchkey.rules.test.yml"] {
        let text = file(&format!("deploy/prometheus/{name}"));
        queries.extend(
            text.lines()
                .filter(|line| line.contains("expr: ") || line.contains("series: "))
                .map(ToOwned::to_owned),
        );
    }
    let series = Regex::new(r"\b((?:latchkey|process)_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let matcher = Regex::new(r#"([a-z_]+)(=~|=)"([^"]*)""#).unwrap();
    let mut used = BTreeSet::new();
    for query in &queries {
        for found in series.captures_iter(query) {
            let samples = exposed
                .get(&found[1])
                .unwrap_or_else(|| panic!("{} is not exposed: {query}", &found[1]));
            used.insert(found[1].to_owned());
            let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
            // Prometheus adds `job` and `instance`. The rule tests have other versions.
            for condition in matcher
                .captures_iter(matchers)
                .filter(|it| !["job", "instance", "version"].contains(&&it[1]))
            {
                let is_regex = &condition[2] == "=~" && condition[3].contains(['.', '*', '[']);
                let wanted: Vec<&str> = if is_regex {
                    vec![&condition[3]]
                } else {
                    condition[3].split('|').collect()
                };
                for wanted in wanted {
                    let pattern = if is_regex {
                        wanted.to_owned()
                    } else {
                        regex::escape(wanted)
                    };
                    let pattern = Regex::new(&format!("^(?:{pattern})$")).unwrap();
                    let fits = |labels: &BTreeMap<String, String>| {
                        labels
                            .get(&condition[1])
                            .is_some_and(|value| pattern.is_match(value))
                    };
                    assert!(
                        samples.iter().any(fits),
                        "no sample has {}: {query}",
                        &condition[0]
                    );
                }
            }
        }
    }
    // Every metric is used in a rule or a panel.
    let base = |name: &str| {
        ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name)
            .to_owned()
    };
    let used: BTreeSet<String> = used.iter().map(|name| base(name)).collect();
    let unused: Vec<_> = exposed
        .keys()
        .filter(|name| !used.contains(&base(name)))
        .collect();
    assert!(unused.is_empty(), "no rule and no panel uses {unused:?}");
}

#[test]
fn documented_alerts_equal_the_rules() {
    let (rules, document) = (
        file("deploy/prometheus/latchkey.rules.yml"),
        file("docs/metrics.md"),
    );
    let pairs = |pattern: &str, text: &str| -> Vec<(String, String)> {
        let pattern = Regex::new(pattern).unwrap();
        pattern
            .captures_iter(text)
            .map(|found| (found[1].to_owned(), found[2].to_owned()))
            .collect()
    };
    let of_rules = pairs(r"(?s)alert: (\w+)\n.*?severity: (\w+)", &rules);
    assert!(of_rules.len() > 10, "{rules}");
    assert_eq!(
        pairs(r"(?m)^\| `(Latchkey\w+)` \| (\w+) \|", &document),
        of_rules
    );
    let tested = file("deploy/prometheus/latchkey.rules.test.yml");
    for (alert, _) in &of_rules {
        assert_eq!(
            tested.matches(&format!("alertname: {alert}\n")).count(),
            2,
            "{alert} needs two tests"
        );
    }
}
