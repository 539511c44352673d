//! `livecluster check` as its users meet it: its output and its exit codes.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const VALID: &str =
    "apiVersion: livecluster.dev/v1alpha1\nkind: LiveCluster\nmetadata: {name: demo}\nspec: {}\n";

/// Checks a text; returns the exit code and what is printed, without the name of the file.
fn check(text: &str) -> (Option<i32>, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_livecluster"))
        .arg("check")
        .arg(file.path())
        .output()
        .unwrap();
    let printed = String::from_utf8([stdout, stderr].concat()).unwrap();
    (
        status.code(),
        printed.replace(file.path().to_str().unwrap(), "FILE"),
    )
}

#[test]
fn valid_file_has_exit_code_0() {
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: live}}\n---\n{VALID}");
    assert_eq!(
        check(&text),
        (
            Some(0),
            "FILE, document 1: v1 Namespace is not checked\nFILE, document 2: LiveCluster demo is valid\n"
                .to_owned()
        )
    );
}

#[test]
fn every_document_is_checked() {
    let invalid = VALID.replace("spec: {}", "spec: {edges: {replicas: -1}}");
    let (code, printed) = check(&format!("{invalid}---\n{VALID}---\n{invalid}"));
    assert_eq!(code, Some(1));
    let error = "not a valid LiveCluster: spec.edges.replicas: -1 is not allowed, must be a whole number: 0 to 1000";
    for expected in [
        format!("FILE, document 1: {error}"),
        "FILE, document 2: LiveCluster demo is valid".to_owned(),
        format!("FILE, document 3: {error}"),
        "error: FILE: 2 of 3 LiveClusters refused".to_owned(),
    ] {
        assert!(printed.lines().any(|line| line == expected), "{printed}");
    }
}

#[test]
fn reader_that_has_read_enough_is_no_failure() {
    let (reader, out) = std::io::pipe().unwrap();
    drop(reader);
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_livecluster"))
        .arg("crd")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(
        (status.code(), String::from_utf8(stderr).unwrap()),
        (Some(0), String::new())
    );
}

#[test]
fn file_without_a_livecluster_is_refused() {
    assert_eq!(
        check("apiVersion: v1\nkind: Pod\n").0,
        Some(1),
        "another resource"
    );
    assert_eq!(
        check("# nothing\n"),
        (Some(1), "error: FILE: no LiveCluster found\n".to_owned())
    );
    let (code, printed) = check("kind: LiveCluster\n");
    assert_eq!(code, Some(1));
    assert!(printed.contains("apiVersion: missing"), "{printed}");
}
