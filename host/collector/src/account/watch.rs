//! Sees to it that the account adds up all the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Account, Entry};

/// An account that does not add up for so long is told of. Its figures change together, so that one
/// that does not add up at all is wrong; but one look is not worth an alarm.
pub const IMBALANCE_AFTER: Duration = Duration::from_secs(30);

/// Who an entry is about: level, name, destination.
type Who = (&'static str, String, String);

/// Watches an account. What does not add up for some time is shown by
/// `sluice_account_missing_spans{level,name,destination}` and told in the log, once for each figure.
pub struct Watch {
    account: Account,
    unbalanced: BTreeMap<Who, Unbalanced>,
}

struct Unbalanced {
    since: Instant,
    /// What was told.
    told: Option<i64>,
}

impl Watch {
    /// Watches this account.
    pub fn new(account: Account) -> Self {
        Self { account, unbalanced: BTreeMap::new() }
    }

    /// Looks at the account. To be called now and then; `patience` is how long something may not add
    /// up before it is told.
    pub fn look(&mut self, now: Instant, patience: Duration) {
        for entry in self.account.report() {
            let (who, missing) = (entry.who(), entry.missing());
            if missing == 0 {
                self.balanced(&who);
            } else {
                self.unbalanced(who, missing, now, patience);
            }
        }
    }

    fn balanced(&mut self, who: &Who) {
        if self.unbalanced.remove(who).is_some_and(|unbalanced| unbalanced.told.is_some()) {
            self.show(who, 0);
            let (level, name, destination) = who;
            tracing::info!(event = "account.balanced", kind = level, name, destination);
        }
    }

    fn unbalanced(&mut self, who: Who, missing: i64, now: Instant, patience: Duration) {
        let entry = self.unbalanced.entry(who.clone()).or_insert(Unbalanced { since: now, told: None });
        if now.saturating_duration_since(entry.since) < patience || entry.told == Some(missing) {
            return;
        }
        entry.told = Some(missing);
        self.show(&who, missing);
        let (level, name, destination) = who;
        tracing::error!(
            event = "account.imbalance",
            kind = level,
            name,
            destination,
            missing,
            "spans are not accounted for: this is an error in Sluice, please report it with the account"
        );
    }

    fn show(&self, (level, name, destination): &Who, missing: i64) {
        self.account.missing.with_label_values(&[level, name.as_str(), destination.as_str()]).set(missing);
    }
}

impl Entry {
    fn who(&self) -> Who {
        match self {
            Self::Receiver { name, .. } => ("receiver", name.clone(), String::new()),
            Self::Pipeline { name, .. } => ("pipeline", name.clone(), String::new()),
            Self::Destination { name, destination, .. } => ("destination", name.clone(), destination.clone()),
        }
    }
}
