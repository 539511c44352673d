//! `PublishProtected` and `PlayProtected`: whether clients need a credential or an allowed address.

use livecluster_api::AccessSpec;

/// Status, reason and message of one of the two conditions.
pub(super) struct Protection {
    pub(super) is_protected: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Returns the protection of an action, whose name is `publish` or `play`.
pub(super) fn protection(action: &str, access: &AccessSpec) -> Protection {
    let methods = [
        ("keys", access.keys.is_some()),
        ("signed URLs", access.signed_urls.is_some()),
        ("tokens", access.jwt.is_some()),
        ("a hook", access.hook.is_some()),
    ];
    let methods: Vec<_> = methods
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect();
    let (is_protected, reason, message) = if !methods.is_empty() {
        let message = format!("clients that {action} are judged by {}", methods.join(", "));
        (true, "Credentials", message)
    } else if !access.allow_cidrs.is_empty() {
        let message = format!("clients of spec.auth.{action}.allowCidrs may {action}");
        (true, "Addresses", message)
    } else {
        let message = format!("every client may {action}; spec.auth.{action} restricts it");
        (false, "Open", message)
    };
    Protection {
        is_protected,
        reason,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(access: serde_json::Value) -> (bool, &'static str, String) {
        let access: AccessSpec = serde_json::from_value(access).unwrap();
        let Protection {
            is_protected,
            reason,
            message,
        } = protection("publish", &access);
        (is_protected, reason, message)
    }

    #[test]
    fn reason_tells_what_protects() {
        assert_eq!(
            (of(serde_json::json!({})).0, of(serde_json::json!({})).1),
            (false, "Open")
        );
        let addresses = of(serde_json::json!({"allowCidrs": ["10.0.0.0/8"]}));
        assert_eq!((addresses.0, addresses.1), (true, "Addresses"));
        let both = of(serde_json::json!({
            "keys": {"secretName": "k"}, "hook": {"url": "http://hook/"},
        }));
        assert_eq!((both.0, both.1), (true, "Credentials"));
        assert_eq!(both.2, "clients that publish are judged by keys, a hook");
        // Every other client may.
        assert!(!of(serde_json::json!({"denyCidrs": ["10.0.0.0/8"]})).0);
    }
}
