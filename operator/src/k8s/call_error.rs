//! The error of a call to the Kubernetes API, with the object that it was about.

use std::sync::Arc;

use kube::core::Status;

/// A failed call to the API.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to {verb} {object}: {}", message(error))]
pub struct CallError {
    verb: &'static str,
    object: String,
    /// Part of the message with all of its causes, so not a source of its own.
    error: Arc<kube::Error>,
}

impl CallError {
    /// Returns a function for `map_err` that adds what the call was about. Lists have no `name`.
    pub fn on(verb: &'static str, kind: &str, name: &str) -> impl FnOnce(kube::Error) -> Self {
        let object = format!("{kind} {name}").trim_end().to_owned();
        move |error| Self {
            verb,
            object,
            error: Arc::new(error),
        }
    }

    /// Returns the API server's answer, if there is one.
    pub fn status(&self) -> Option<&Status> {
        match self.error.as_ref() {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// Returns whether the object or its kind does not exist. About a kind that it does not serve, the API server answers in plain
    /// text, from which kube makes a status without the reason `NotFound`.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// Returns whether the call failed because its namespace is being deleted.
    pub fn is_namespace_terminating(&self) -> bool {
        let details = self.status().and_then(|status| status.details.as_ref());
        details.is_some_and(|details| {
            details
                .causes
                .iter()
                .any(|cause| cause.reason == "NamespaceTerminating")
        })
    }
}

/// Returns the API server's message, or the error with its causes: they name what failed in the network.
fn message(error: &kube::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = match error {
        kube::Error::Api(status) => return status.message.clone(),
        kube::Error::Service(error) => Some(error.as_ref()),
        error => Some(error),
    };
    let mut message = String::new();
    while let Some(error) = cause {
        let next = error.to_string();
        if message.is_empty() {
            message = next;
        } else if !message.contains(&next) {
            message = format!("{message}: {next}");
        }
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::request_layer::RequestTimedOut;

    #[test]
    fn message_names_call_and_cause() {
        let error = kube::Error::Service(Box::new(RequestTimedOut));
        assert_eq!(
            CallError::on("list", "Pod", "")(error).to_string(),
            "failed to list Pod: no response within 10 seconds"
        );
    }
}
