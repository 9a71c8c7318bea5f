//! What of a broken configuration can be judged by itself.
//!
//! What is wrong reads as its default, so a plugin that was asked whether it takes the rest might refuse
//! what nobody has written. Only those are asked that nothing is wrong with.

use super::component::{Component, Id};
use super::connector::CONNECTORS;
use super::diagnostic::{Diagnostics, Severity};
use super::mark::Mark;
use super::processor::{OnFailure, OnPoison, Settings};
use super::tree::{Entry, Tree, Value};
use super::{EXTENSIONS, PROCESSORS};

/// The extension with the settings of the process.
const PROCESS: &str = "sluice";

/// Keeps the plugins whose settings have no error in them.
pub(super) fn retain(plugins: &mut Vec<Component<Settings>>, tree: &Tree, problems: &Diagnostics) {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let errors: Vec<_> = errors.map(|problem| &problem.mark).collect();
    let sections = [PROCESSORS.key, CONNECTORS.key].map(|key| components(tree, key));
    let is_broken = |plugin: &Component<Settings>| {
        sections.iter().flatten().any(|(id, entry)| *id == plugin.id && holds_any(entry, &errors))
    };
    let is_process = |(id, entry): &(Id, &Entry)| id.kind() == PROCESS && holds_any(entry, &errors);
    let named = at(tree, "service").and_then(|service| entry(service, "extensions"));
    let process_is_broken =
        named.is_some_and(|named| holds_any(named, &errors)) || components(tree, EXTENSIONS.key).iter().any(is_process);
    plugins.retain(|plugin| {
        let settings = &plugin.settings;
        // A module that a broken substitution stands for is not that of the binary.
        let has_module = settings.module.is_some() || settings.kind != "wasm";
        has_module && !is_broken(plugin) && !(process_is_broken && builds_on_process(settings))
    });
}

/// Whether the settings of the process decide if the plugin can serve: where things are kept, and
/// who may sign modules.
fn builds_on_process(settings: &Settings) -> bool {
    let quarantines = settings.on_failure == OnFailure::Quarantine || settings.on_poison == Some(OnPoison::Quarantine);
    quarantines || settings.persistent_store || settings.module.is_some()
}

fn components<'t>(tree: &'t Tree, key: &str) -> Vec<(Id, &'t Entry)> {
    let Some(Value::Map(entries)) = at(tree, key).map(|tree| &tree.value) else { return Vec::new() };
    entries.iter().filter_map(|entry| Some((Id::parse(&entry.key).ok()?, entry))).collect()
}

fn at<'t>(tree: &'t Tree, key: &str) -> Option<&'t Tree> {
    entry(tree, key).map(|entry| &entry.value)
}

fn entry<'t>(tree: &'t Tree, key: &str) -> Option<&'t Entry> {
    let Value::Map(entries) = &tree.value else { return None };
    entries.iter().find(|entry| entry.key == key)
}

/// Whether one of the places is in this entry.
fn holds_any(entry: &Entry, places: &[&Mark]) -> bool {
    places.contains(&&entry.mark) || is_in(&entry.value, places)
}

fn is_in(tree: &Tree, places: &[&Mark]) -> bool {
    let is_below = match &tree.value {
        Value::List(list) => list.iter().any(|value| is_in(value, places)),
        Value::Map(entries) => entries.iter().any(|entry| holds_any(entry, places)),
        _ => false,
    };
    is_below || places.contains(&&tree.mark)
}
