//! The patterns of the CustomResourceDefinition in words: a regular expression is no help for who has written `512 MB`.

/// Each pattern, and what its values look like.
const WORDS: [(&str, &str); 16] = [
    (
        r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        r#"a quantity such as 512Mi, 100m or "0.5""#,
    ),
    (r"^([0-9]|[1-9][0-9]|100)%$", "a percentage such as 25%"),
    (
        r"^([1-9][0-9]{0,2}h)?([1-9][0-9]{0,3}m)?([1-9][0-9]{0,4}s)?$",
        "a duration such as 90m or 2h30m",
    ),
    (
        r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
        "a time such as 2027-01-31T20:00:00Z",
    ),
    (
        r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$",
        "a network such as 10.0.0.0/8",
    ),
    (
        r"^https?://[^/?#@]+([/?].*)?$",
        "an address such as https://auth.example.com/path",
    ),
    (
        r"^(\*|https?://[^/?#@ ]+)$",
        "an origin such as https://www.example.com, or *",
    ),
    (
        r"^([A-Za-z0-9_:]+=)?(off|error|warn|info|debug|trace)(,([A-Za-z0-9_:]+=)?(off|error|warn|info|debug|trace))*$",
        "off, error, warn, info, debug or trace, or a filter such as info,media_node::relay=debug",
    ),
    (
        r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$",
        "a host name such as live.example.com",
    ),
    (
        r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "a host name such as live.example.com or *.example.com",
    ),
    (
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "a namespace such as gateways",
    ),
    (
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "a name such as rtmp",
    ),
    (
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "lower case letters, digits, - and ., such as blue",
    ),
    (
        r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        "letters, digits, -, _ and ., such as video-team",
    ),
    (
        r"^[-_A-Za-z0-9][-._A-Za-z0-9]*$",
        "a file name such as slate.flv",
    ),
    (
        r"^[-._a-zA-Z0-9]+$",
        "the name of an entry such as jwks.json",
    ),
];

/// Returns what the values of a pattern look like.
pub(super) fn in_words(pattern: &str) -> String {
    let known = WORDS.iter().find(|(known, _)| *known == pattern);
    known.map_or_else(
        || format!("of the form {pattern}"),
        |(_, words)| (*words).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::manifest::DEFINITION;

    fn add_patterns<'a>(schema: &'a Value, patterns: &mut BTreeSet<&'a str>) {
        match schema {
            Value::Object(fields) => {
                patterns.extend(fields.get("pattern").and_then(Value::as_str));
                fields.values().for_each(|it| add_patterns(it, patterns));
            }
            Value::Array(items) => items.iter().for_each(|it| add_patterns(it, patterns)),
            _ => {}
        }
    }

    #[test]
    fn every_pattern_of_the_definition_has_words_and_no_other_one_has() {
        let definition: Value = serde_yaml::from_str(DEFINITION).unwrap();
        let mut patterns = BTreeSet::new();
        let version = &definition["spec"]["versions"][0];
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        add_patterns(spec, &mut patterns);
        assert_eq!(patterns, WORDS.map(|(pattern, _)| pattern).into());
    }
}
