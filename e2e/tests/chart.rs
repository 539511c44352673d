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
    let mut sources = read("media-node/src/state/metrics.rs");
    sources += &read("operator/src/monitoring/metrics.rs");
    for file in std::fs::read_dir(path("media-node/src/state/metrics")).unwrap() {
        sources += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    for path in ["files/alerts.yaml", "files/dashboards/livecluster.json"] {
        let text = read(&format!("charts/livecluster/{path}"));
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let metrics: Vec<_> = words.filter(|word| word.starts_with("live_")).collect();
        assert!(metrics.len() > 5, "{path}: {metrics:?}");
        for metric in metrics {
            // A histogram has three series.
            let series = ["_bucket", "_count", "_sum"].iter();
            let histogram = series
                .filter_map(|suffix| metric.strip_suffix(suffix))
                .next();
            let metric = histogram.unwrap_or(metric);
            assert!(
                sources.contains(&format!("\"{metric}\"")),
                "{path}: {metric}"
            );
        }
    }
}

fn path(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    let file = path(file);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}
