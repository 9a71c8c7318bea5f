//! The host's keys of a plugin.

use std::time::Duration;

use sluice_sandbox::{Access, CAPABILITIES, Limits, Profile, PublicKey};

use super::super::nearest::nearest;
use super::super::node::Node;
use super::super::section::Section;
use super::{Marks, OnFailure, OnPoison, Restart, Rollout, Settings, rollout, tables};

const MIB: u64 = 1024 * 1024;

/// The address space of a module.
const MAX_MEMORY_MIB: u64 = 4096;

/// How often a plugin is told the time, unless configured: more often than metrics are read.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);

/// The settings when nothing is said.
pub(super) fn defaults(kind: &str, config_json: String, config_marks: Marks) -> Settings {
    Settings {
        kind: kind.to_owned(),
        module: None,
        sha256: None,
        public_key: None,
        profile: Profile::default(),
        config_json,
        config_marks,
        limits: Limits::default(),
        on_failure: OnFailure::default(),
        on_poison: None,
        restart: Restart::default(),
        unsafe_fail_open: false,
        access: None,
        capabilities: None,
        tables: Vec::new(),
        rollout: Rollout::default(),
        persistent_store: false,
        flush_interval: FLUSH_INTERVAL,
        series: None,
    }
}

/// Reads the keys into the defaults; does not finish the section.
pub(super) fn read(section: &mut Section<'_>, settings: &mut Settings) {
    section.must_say("sha256");
    section.must_say("public_key");
    settings.module = section.path("module");
    settings.sha256 = sha256(section);
    settings.public_key = section.str("public_key").and_then(|text| public_key(section, "public_key", &text));
    if settings.public_key.is_some() && settings.module.is_none() && settings.kind != "wasm" {
        section.error("public_key", "`public_key` needs `module`: what is in the binary is trusted as the binary is");
    }
    if let Some(block) = section.section("limits") {
        settings.limits = limits(block, &settings.limits);
    }
    settings.on_failure = on_failure(section);
    settings.on_poison = section.has("on_poison").then(|| on_poison(section));
    if let Some(block) = section.section("restart") {
        settings.restart = restart(block);
    }
    settings.unsafe_fail_open = section.bool_or("unsafe_fail_open", false);
    settings.access = section.section("access").map(access);
    settings.capabilities = section.has("capabilities").then(|| capabilities(section));
    if let Some(block) = section.section("rollout") {
        settings.rollout = rollout::read(block);
    }
    if let Some(mut block) = section.section("store") {
        settings.persistent_store = block.bool_or("persistent", false);
        block.finish();
    }
    settings.flush_interval = flush_interval(section);
    settings.tables = section.section("tables").map(tables::read).unwrap_or_default();
    if section.one_of("profile", &["pure", "compat"], "pure") == "compat" {
        settings.profile = Profile::Compat;
    }
}

fn flush_interval(section: &mut Section<'_>) -> Duration {
    let interval = section.duration_or("flush_interval", FLUSH_INTERVAL);
    if !interval.is_zero() && interval < Duration::from_secs(1) {
        section.error("flush_interval", "`flush_interval` must be at least 1s, or 0 for never");
    }
    interval
}

fn sha256(section: &mut Section<'_>) -> Option<String> {
    let digest = section.str("sha256")?.to_ascii_lowercase();
    if digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()) {
        return Some(digest);
    }
    section.error("sha256", "`sha256` must have 64 hexadecimal digits");
    None
}

/// Reads a key that modules may be signed with; a text that is none is a problem of `key`.
pub fn public_key(section: &mut Section<'_>, key: &str, text: &str) -> Option<PublicKey> {
    PublicKey::parse(text).inspect_err(|error| section.error(key, format!("`{key}`: `{text}`: {error}"))).ok()
}

fn on_failure(section: &mut Section<'_>) -> OnFailure {
    match section.one_of("on_failure", &["closed", "drop", "open", "quarantine"], "closed") {
        "drop" => OnFailure::Drop,
        "open" => OnFailure::Open,
        "quarantine" => OnFailure::Quarantine,
        _ => OnFailure::Closed,
    }
}

fn on_poison(section: &mut Section<'_>) -> OnPoison {
    match section.one_of("on_poison", &["quarantine", "drop", "refuse"], "drop") {
        "quarantine" => OnPoison::Quarantine,
        "refuse" => OnPoison::Refuse,
        _ => OnPoison::Drop,
    }
}

fn restart(mut section: Section<'_>) -> Restart {
    let default = Restart::default();
    let initial_interval = positive(&mut section, "initial_interval", default.initial_interval);
    let max_interval = positive(&mut section, "max_interval", default.max_interval.max(initial_interval));
    if max_interval < initial_interval {
        section.error("max_interval", "`max_interval` must not be less than `initial_interval`");
    }
    let budget = count(section.u64_or("budget", default.budget.into()));
    let window = positive(&mut section, "window", default.window);
    section.finish();
    Restart { initial_interval, max_interval, budget, window }
}

fn access(mut section: Section<'_>) -> Access {
    let access = Access { read: section.strings("read"), write: section.strings("write") };
    section.finish();
    access
}

fn capabilities(section: &mut Section<'_>) -> Vec<String> {
    let named = section.node("capabilities").map(Node::into_list).unwrap_or_default();
    let capability = |node: &Node<'_>| {
        let name = node.str()?;
        if !CAPABILITIES.contains(&name.as_str()) {
            let hint = match nearest(&name, CAPABILITIES) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("there are `{}`", CAPABILITIES.join("`, `")),
            };
            node.error(format!("unknown capability `{name}`; {hint}"));
        }
        Some(name)
    };
    named.iter().filter_map(capability).collect()
}

fn limits(mut section: Section<'_>, default: &Limits) -> Limits {
    let memory_mib = at_least_one(&mut section, "memory_mib", default.memory_bytes as u64 / MIB);
    if memory_mib > MAX_MEMORY_MIB {
        section.error("memory_mib", format!("`memory_mib` must be at most {MAX_MEMORY_MIB}"));
    }
    let limits = Limits {
        memory_bytes: (memory_mib.min(MAX_MEMORY_MIB) * MIB) as usize,
        timeout: positive(&mut section, "timeout", default.timeout),
        output_bytes: bytes(at_least_one(&mut section, "output_mib", default.output_bytes as u64 / MIB)) as usize,
        host_calls: count(at_least_one(&mut section, "host_calls", default.host_calls.into())),
        log_lines_per_s: count(section.u64_or("log_lines_per_s", default.log_lines_per_s.into())),
        log_bytes_per_s: count(section.u64_or("log_bytes_per_s", default.log_bytes_per_s.into())),
        metric_series: metric_series(&mut section, default.metric_series),
        store_bytes: bytes(at_least_one(&mut section, "store_mib", default.store_bytes as u64 / MIB)) as usize,
        component_bytes: bytes(at_least_one(&mut section, "component_mib", default.component_bytes / MIB)),
        compile_timeout: positive(&mut section, "compile_timeout", default.compile_timeout),
    };
    section.finish();
    limits
}

fn metric_series(section: &mut Section<'_>, default: u32) -> u32 {
    // A connector's are not counted where this limit holds.
    if default == u32::MAX {
        section.unsupported("metric_series", "`aggregation_cardinality_limit` bounds the series of a connector");
        return default;
    }
    count(section.u64_or("metric_series", default.into()))
}

fn at_least_one(section: &mut Section<'_>, key: &str, default: u64) -> u64 {
    let value = section.u64_or(key, default);
    if value == 0 {
        section.error(key, format!("`{key}` must be at least 1"));
    }
    value.max(1)
}

fn positive(section: &mut Section<'_>, key: &str, default: Duration) -> Duration {
    let value = section.duration_or(key, default);
    if value.is_zero() {
        section.error(key, format!("`{key}` must be more than 0"));
        return default;
    }
    value
}

fn bytes(mib: u64) -> u64 {
    mib.saturating_mul(MIB)
}

fn count(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
