//! The chart agrees with the rest of the repository.

#[test]
fn the_chart_carries_the_definition_that_is_in_crds() {
    assert!(
        read("charts/livecluster/files/crd.yaml") == read("crds/livecluster.yaml"),
        "stale: cp crds/livecluster.yaml charts/livecluster/files/crd.yaml"
    );
}

#[test]
fn the_chart_is_of_the_version_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = read("charts/livecluster/Chart.yaml");
    for line in [
        format!("version: {version}"),
        format!("appVersion: {version}"),
    ] {
        assert!(
            chart.lines().any(|found| found == line),
            "Chart.yaml has no line `{line}`"
        );
    }
}

#[test]
fn no_rule_of_the_chart_has_a_wildcard() {
    let rules = read("charts/livecluster/templates/rbac.yaml");
    let wild = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', '{']))
        .find(|line| line.contains('*'));
    assert_eq!(wild, None);
}

fn read(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
