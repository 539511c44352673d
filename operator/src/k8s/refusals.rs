//! What an API server's message says about who refuses an object. Its status does not: a quota and a webhook are as forbidden as what a
//! role lacks, and a policy chooses its code.

/// Reason of conditions and events: a ResourceQuota of the namespace leaves no room for an object.
pub(crate) const QUOTA_EXCEEDED: &str = "QuotaExceeded";
/// Reason of conditions and events: an admission webhook or a ValidatingAdmissionPolicy refuses an object.
pub(crate) const ADMISSION_DENIED: &str = "AdmissionDenied";

/// Returns [`QUOTA_EXCEEDED`] or [`ADMISSION_DENIED`] when the message says so.
pub(crate) fn refused_by(message: &str) -> Option<&'static str> {
    let reasons = [
        ("exceeded quota", QUOTA_EXCEEDED),
        // Of webhooks, and of policies.
        ("denied the request", ADMISSION_DENIED),
        ("denied request", ADMISSION_DENIED),
    ];
    let refusal = reasons.iter().find(|(text, _)| message.contains(text));
    refusal.map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_webhooks_and_policies_are_told_from_missing_permissions() {
        for (message, expected) in [
            (
                "deployments.apps \"demo-edge\" is forbidden: exceeded quota: small, requested: count/deployments.apps=1, used: \
                 count/deployments.apps=2, limited: count/deployments.apps=2",
                Some(QUOTA_EXCEEDED),
            ),
            (
                "admission webhook \"policy.example.com\" denied the request: no",
                Some(ADMISSION_DENIED),
            ),
            (
                "deployments.apps \"demo-edge\" is forbidden: ValidatingAdmissionPolicy 'team' with binding 'team' denied request: \
                 every Deployment needs the label team",
                Some(ADMISSION_DENIED),
            ),
            (
                "deployments.apps is forbidden: User \"operator\" cannot patch resource \"deployments\"",
                None,
            ),
        ] {
            assert_eq!(refused_by(message), expected, "{message}");
        }
    }
}
