//! Extensions: what runs beside the pipelines.

pub mod admin;
pub mod file_storage;
pub mod health_check;

use std::path::PathBuf;
use std::time::Duration;

use sluice_sandbox::PublicKey;

use crate::account::IMBALANCE_AFTER;
use crate::auth::{Authenticator, Basic, Bearer};
use crate::config::section::{Mark, Section};
use crate::config::{Component, Config, processor};
use crate::quarantine;
use crate::queue::Folder;
use crate::telemetry::server::Site;

pub use health_check::Readiness;

use admin::Desk;

/// The types of extensions there are.
pub const TYPES: &[&str] = &["basicauth", "bearertokenauth", "file_storage", "health_check", "sluice"];

/// Kubernetes kills a pod 30 s after it has asked it to stop; what is to be told has to be told
/// before.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// The settings of an extension of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Settings {
    /// Knows who may send, or as whom we do.
    Authenticator(Authenticator),
    /// Where queues are kept.
    FileStorage(Folder),
    /// Tells whether the process is ready.
    HealthCheck(health_check::Settings),
    /// What concerns the whole process.
    Sluice(Sluice),
}

/// The settings of the process.
#[derive(Debug, Clone)]
pub struct Sluice {
    /// Where the process keeps what outlives it.
    pub state_dir: Option<PathBuf>,
    /// For messages.
    pub state_dir_mark: Mark,
    /// How much is kept of what plugins fail on.
    pub quarantine: quarantine::Bounds,
    /// How long it may take to deliver what it holds when it is told to stop.
    pub drain_timeout: Duration,
    /// How long an account may not add up before it is told.
    pub imbalance_after: Duration,
    /// The admin API, if it is served.
    pub admin: Option<admin::Settings>,
    /// The keys that modules of plugins may be signed with.
    pub keys: Vec<PublicKey>,
    /// Whether the modules of plugins must be signed.
    pub require_signed: bool,
}

/// Equal when they say the same, wherever that is written.
impl PartialEq for Sluice {
    fn eq(&self, other: &Self) -> bool {
        (&self.state_dir, self.quarantine, self.drain_timeout, &self.admin)
            == (&other.state_dir, other.quarantine, other.drain_timeout, &other.admin)
            && (&self.keys, self.require_signed, self.imbalance_after)
                == (&other.keys, other.require_signed, other.imbalance_after)
    }
}

/// Reads the settings of an extension of type `kind`; `None` if there is no such type.
pub fn read(kind: &str, section: Section<'_>) -> Option<Settings> {
    match kind {
        "basicauth" => Some(Settings::Authenticator(Authenticator::Basic(Basic::read(section)?))),
        "bearertokenauth" => Some(Settings::Authenticator(Authenticator::Bearer(Bearer::read(section)?))),
        "file_storage" => Some(Settings::FileStorage(file_storage::read(section))),
        "health_check" => Some(Settings::HealthCheck(health_check::Settings::read(section))),
        "sluice" => Some(Settings::Sluice(Sluice::read(section))),
        _ => None,
    }
}

impl Sluice {
    fn read(mut section: Section<'_>) -> Self {
        section.must_say("require_signed");
        let keys = section.section("trust").map(|mut trust| {
            trust.must_say("keys");
            let keys = trust.strings("keys");
            let keys = keys.iter().filter_map(|text| processor::public_key(&mut trust, "keys", text)).collect();
            trust.finish();
            keys
        });
        let settings = Self {
            admin: section.section("admin").map(admin::Settings::read),
            keys: keys.unwrap_or_default(),
            require_signed: section.bool_or("require_signed", false),
            state_dir: section.path("state_dir"),
            state_dir_mark: section.mark("state_dir"),
            quarantine: section.section("quarantine").map(quarantine::Bounds::read).unwrap_or_default(),
            drain_timeout: section.duration_or("drain_timeout", DRAIN_TIMEOUT),
            imbalance_after: section.section("account").map_or(IMBALANCE_AFTER, |mut account| {
                let after = account.duration_or("imbalance_after", IMBALANCE_AFTER);
                account.finish();
                after
            }),
        };
        section.finish();
        settings
    }
}

/// What the extensions that `service.extensions` names serve.
pub fn sites(config: &Config, readiness: &Readiness, desk: &Desk) -> Vec<Site> {
    let site = |component: &Component<Settings>| match &component.settings {
        Settings::HealthCheck(settings) => Some(settings.site(&component.id.to_string(), readiness)),
        Settings::Authenticator(_) | Settings::FileStorage(_) => None,
        Settings::Sluice(sluice) => sluice.admin.as_ref().map(|admin| admin.site(&component.id.to_string(), desk)),
    };
    config.used_extensions().filter_map(site).collect()
}
