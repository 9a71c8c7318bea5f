//! Why a processor cannot serve: said for people, and in the one word under which it is counted.

use std::fmt::Display;

use sluice_sandbox::{InstantiateError, LoadError, PrepareError};

use crate::swap::event::{Step, Steps};
use crate::swap::self_test;

/// Why a processor cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("processor {id}: {reason}")]
pub struct Unfit {
    /// The component id.
    pub id: String,
    /// The step that failed.
    pub step: Step,
    /// What is wrong and what to do.
    pub reason: String,
    /// The word under which it is counted.
    pub word: &'static str,
    /// Problems of the plugin's own configuration: path in it, and message.
    pub config: Vec<(String, String)>,
    /// The digest that serves now, if any.
    pub from: Option<String>,
    /// The digest that was to serve, if the module could be read.
    pub to: Option<String>,
    /// How long the steps took, the one that failed included.
    pub steps: Steps,
}

/// Why a processor was not made.
pub(super) struct Problem {
    pub(super) step: Step,
    pub(super) reason: String,
    pub(super) word: &'static str,
    /// Of the plugin's own configuration: path in it, and message.
    pub(super) config: Vec<(String, String)>,
}

/// What a step can fail with that has a word of its own.
pub(super) trait Cause: Display {
    fn word(&self) -> &'static str;
}

impl Problem {
    pub(super) fn at<E: Cause>(step: Step) -> impl FnOnce(E) -> Self {
        move |cause| Self::called(cause.word(), step)(cause)
    }

    pub(super) fn called<E: Display>(word: &'static str, step: Step) -> impl FnOnce(E) -> Self {
        move |reason| Self { step, reason: reason.to_string(), word, config: Vec::new() }
    }
}

impl Cause for LoadError {
    fn word(&self) -> &'static str {
        self.as_str()
    }
}

impl Cause for PrepareError {
    fn word(&self) -> &'static str {
        self.as_str()
    }
}

impl Cause for InstantiateError {
    fn word(&self) -> &'static str {
        self.as_str()
    }
}

impl Cause for self_test::Failed {
    fn word(&self) -> &'static str {
        "self_test"
    }
}
