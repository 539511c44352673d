//! Reads and writes the file of the live settings.

use serde_yaml::Value;

use super::{ConfigError, changes, strict};
use crate::LiveSettings;
use crate::validate::validate_live;

/// Reads and validates a file of live settings. Fields that it does not have keep their value of `base`.
///
/// # Errors
/// See [`ConfigError`]; the message names the field.
pub fn parse_live(text: &str, base: &LiveSettings) -> Result<LiveSettings, ConfigError> {
    if text.trim().is_empty() {
        return Ok(base.clone());
    }
    // Errors of the file itself name the line. Those of the merged value would not.
    let _: LiveSettings = strict::read(text)?;
    let mut value = serde_yaml::to_value(base)?;
    overlay(&mut value, serde_yaml::from_str(text)?);
    let live: LiveSettings = serde_yaml::from_value(value)?;
    validate_live(&live)?;
    Ok(live)
}

/// Writes the live settings that differ from the defaults, as the YAML that [`parse_live`] reads.
///
/// # Errors
/// When the YAML library fails, which it does not for these types.
pub fn render_live_changes(live: &LiveSettings) -> Result<String, ConfigError> {
    let defaults = serde_yaml::to_value(LiveSettings::default())?;
    let changes = changes(serde_yaml::to_value(live)?, &defaults);
    Ok(serde_yaml::to_string(&changes)?)
}

/// Replaces the entries of `value` that `top` has.
fn overlay(value: &mut Value, top: Value) {
    let Value::Mapping(top) = top else {
        *value = top;
        return;
    };
    match value {
        Value::Mapping(entries) => {
            for (key, entry) in top {
                overlay(entries.entry(key).or_insert(Value::Null), entry);
            }
        }
        _ => *value = Value::Mapping(top),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_keep_those_of_the_configuration() {
        let mut base = LiveSettings::default();
        base.limits.max_streams = 7;
        assert_eq!(parse_live("", &base).unwrap(), base);
        let live = parse_live("{log: {level: debug}, limits: {maxConnections: 5}}", &base).unwrap();
        assert_eq!(live.log.level, "debug");
        assert_eq!(
            (live.limits.max_connections, live.limits.max_streams),
            (5, 7)
        );
    }

    #[test]
    fn only_changes_are_rendered_and_read_back() {
        let mut live = LiveSettings::default();
        assert_eq!(render_live_changes(&live).unwrap(), "{}\n");
        live.log.level = "warn".to_owned();
        live.limits.stall_timeout_seconds = 5;
        let text = render_live_changes(&live).unwrap();
        assert_eq!(
            text,
            "log:\n  level: warn\nlimits:\n  stallTimeoutSeconds: 5\n"
        );
        assert_eq!(parse_live(&text, &LiveSettings::default()).unwrap(), live);
    }

    #[test]
    fn setting_that_needs_a_restart_and_number_out_of_range_are_named() {
        let error = |text| {
            let parsed = parse_live(text, &LiveSettings::default());
            parsed.unwrap_err().to_string()
        };
        for (text, field) in [
            ("stream: {lingerSeconds: 3}", "stream"),
            ("log: {format: json}", "format"),
            ("limits: 3", "limits"),
            ("log: {level: LOUD}", "log.level: choose off"),
            ("- a", "sequence"),
        ] {
            assert!(error(text).contains(field), "{}", error(text));
        }
        assert_eq!(
            error("limits: {maxStreams: 0}"),
            "limits.maxStreams: 0 is not allowed, choose 1 to 100000"
        );
    }
}
