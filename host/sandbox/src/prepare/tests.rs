//! What is told of an instance that cannot be set up anew.

use super::InstantiateError;
use crate::failure::{CallError, FailureKind};

/// Its call has not begun: whatever happened meanwhile is nothing that the spans of the call have done.
#[test]
fn an_instance_that_cannot_be_set_up_anew_counts_as_that_however_it_failed() {
    let kinds = [
        FailureKind::Trap,
        FailureKind::Timeout,
        FailureKind::Memory,
        FailureKind::Output,
        FailureKind::HostCalls,
        FailureKind::HostRefused,
    ];
    let calls = kinds.map(|kind| {
        let call = CallError::told(kind, "why".to_owned(), Some("where".to_owned()));
        InstantiateError::Call(call)
    });
    for error in calls.into_iter().chain([InstantiateError::Fickle]) {
        let (told, is_call) = (error.to_string(), matches!(error, InstantiateError::Call(_)));
        let CallError { kind, message, backtrace } = CallError::from(error);
        // The word is the label of `sluice_plugin_failures_total`.
        assert_eq!((kind, kind.as_str()), (FailureKind::Configure, "configure"), "{told}");
        // What happened is told all the same.
        assert!(told.ends_with(&message) && !message.is_empty(), "{told}: {message}");
        assert_eq!(backtrace.as_deref(), is_call.then_some("where"), "{told}");
    }
}
