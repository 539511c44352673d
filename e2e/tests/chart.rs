//! The chart agrees with the rest of the repository.

#[test]
fn chart_carries_the_definition_of_crds() {
    assert!(
        read("charts/livecluster/files/crd.yaml") == read("crds/livecluster.yaml"),
        "stale: cp crds/livecluster.yaml charts/livecluster/files/crd.yaml"
    );
}

#[test]
fn chart_has_the_version_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = read("charts/livecluster/Chart.yaml");
    for name in ["version", "appVersion"] {
        let line = format!("{name}: {version}");
        let found = chart.lines().any(|found| found == line);
        assert!(found, "Chart.yaml has no line `{line}`");
    }
}

#[test]
fn no_rule_of_the_chart_has_a_wildcard() {
    let rules = read("charts/livecluster/templates/rbac.yaml");
    let wildcard = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', '{']))
        .find(|line| line.contains('*'));
    assert_eq!(wildcard, None);
}

#[test]
fn every_metric_of_alerts_and_dashboard_exists() {
    let sources = [
        "media-node/src/state/metrics.rs",
        "operator/src/monitoring/metrics.rs",
    ];
    let sources = sources.map(read).concat();
    for path in ["files/alerts.yaml", "files/dashboards/livecluster.json"] {
        let text = read(&format!("charts/livecluster/{path}"));
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let metrics: Vec<_> = words.filter(|word| word.starts_with("live_")).collect();
        assert!(metrics.len() > 5, "{path}: {metrics:?}");
        for metric in metrics {
            assert!(
                sources.contains(&format!("\"{metric}\"")),
                "{path}: {metric}"
            );
        }
    }
}

fn read(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
