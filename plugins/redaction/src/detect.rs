//! Detectors: what they find without a pattern.
//!
//! A detector gets many texts in one buffer and gives the ranges of what it found. Most bytes are
//! of no interest, so each first jumps to where something could be.

use std::ops::Range;

mod card;
mod email;
mod secret;

/// A kind of thing that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detector {
    /// `payment_card`
    PaymentCard,
    /// `email`
    Email,
    /// `bearer_token`
    BearerToken,
    /// `jwt`
    Jwt,
    /// `url_credentials`
    UrlCredentials,
}

const KNOWN: [(&str, Detector); 5] = [
    ("payment_card", Detector::PaymentCard),
    ("email", Detector::Email),
    ("bearer_token", Detector::BearerToken),
    ("jwt", Detector::Jwt),
    ("url_credentials", Detector::UrlCredentials),
];

/// Names that later versions will know.
const LATER: [&str; 6] = ["ipv4", "ipv6", "phone", "iban", "api_key", "url_query_secrets"];

impl Detector {
    /// The detector of this name.
    pub fn named(name: &str) -> Result<Self, String> {
        if let Some((_, detector)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return Ok(*detector);
        }
        let names = KNOWN.map(|(known, _)| known).join(", ");
        if LATER.contains(&name) || name.starts_with("national_id/") {
            return Err(format!(
                "the detector `{name}` is not supported yet: use a pattern in `blocked_values`, or {names}"
            ));
        }
        Err(format!("unknown detector `{name}`: use {names}"))
    }

    /// Adds the ranges of what it finds in a text.
    pub fn find(self, bytes: &[u8], found: &mut Vec<Range<usize>>) {
        match self {
            Self::PaymentCard => card::find(bytes, found),
            Self::Email => email::find(bytes, found),
            Self::BearerToken => secret::bearer(bytes, found),
            Self::Jwt => secret::jwt(bytes, found),
            Self::UrlCredentials => secret::url_credentials(bytes, found),
        }
    }
}

/// Adds ranges such that every text in which a detector finds something has a part of one. `bytes`
/// are many texts back to back, so a range may reach across several. Much cheaper than finding.
pub fn candidates(detectors: &[Detector], bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let mut at = |places: &mut dyn Iterator<Item = usize>| found.extend(places.map(|at| at..at + 1));
    for detector in detectors {
        match detector {
            Detector::BearerToken => at(&mut secret::bearer_candidates(bytes)),
            Detector::Jwt => at(&mut secret::jwt_candidates(bytes)),
            // Below, because they share a pass, or do not fit.
            Detector::Email | Detector::UrlCredentials | Detector::PaymentCard => {}
        }
    }
    if detectors.iter().any(|detector| matches!(detector, Detector::Email | Detector::UrlCredentials)) {
        at(&mut memchr::memchr_iter(b'@', bytes));
    }
    if detectors.contains(&Detector::PaymentCard) {
        card::runs(bytes, |run| found.push(run));
    }
}
