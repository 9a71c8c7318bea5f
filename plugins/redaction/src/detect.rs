//! Detectors: what they find without a pattern.
//!
//! A detector gets many texts in one buffer and gives the ranges of what it found. Most bytes are
//! of no interest, so each first jumps to where something could be. Detectors that are not asked for
//! cost nothing.

use std::ops::Range;

mod api_key;
mod card;
mod classes;
mod email;
mod iban;
mod ip;
mod national;
mod phone;
mod query;
mod secret;

use national::{COUNTRIES, Country};

/// What a detector finds in a text.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "what cuts a character in two is a failed test")]
fn found_in(detector: impl FnOnce(&[u8], &mut Vec<Range<usize>>), text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    detector(text.as_bytes(), &mut found);
    found.into_iter().map(|range| text.get(range).unwrap()).collect()
}

/// A kind of thing that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detector {
    /// `payment_card`
    PaymentCard,
    /// `email`
    Email,
    /// `ipv4`
    Ipv4,
    /// `ipv6`
    Ipv6,
    /// `phone`
    Phone,
    /// `iban`
    Iban,
    /// `jwt`
    Jwt,
    /// `bearer_token`
    BearerToken,
    /// `api_key`
    ApiKey,
    /// `url_credentials`
    UrlCredentials,
    /// `url_query_secrets`
    UrlQuerySecrets,
    /// `national_id/XX`
    NationalId(Country),
}

const KNOWN: [(&str, Detector); 11] = [
    ("payment_card", Detector::PaymentCard),
    ("email", Detector::Email),
    ("ipv4", Detector::Ipv4),
    ("ipv6", Detector::Ipv6),
    ("phone", Detector::Phone),
    ("iban", Detector::Iban),
    ("jwt", Detector::Jwt),
    ("bearer_token", Detector::BearerToken),
    ("api_key", Detector::ApiKey),
    ("url_credentials", Detector::UrlCredentials),
    ("url_query_secrets", Detector::UrlQuerySecrets),
];

const NATIONAL_ID: &str = "national_id/";

impl Detector {
    /// The detector of this name.
    pub fn named(name: &str) -> Result<Self, String> {
        if let Some((_, detector)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return Ok(*detector);
        }
        let codes = || COUNTRIES.map(|(code, _)| code).join(", ");
        if let Some(code) = name.strip_prefix(NATIONAL_ID) {
            return match COUNTRIES.iter().find(|(known, _)| *known == code) {
                Some((_, country)) => Ok(Self::NationalId(*country)),
                None => Err(format!(
                    "the detector `{name}` is not supported yet: use a pattern in `blocked_values`, or {NATIONAL_ID} with {}",
                    codes()
                )),
            };
        }
        let names = KNOWN.map(|(known, _)| known).join(", ");
        Err(format!("unknown detector `{name}`: use {names}, or {NATIONAL_ID} with {}", codes()))
    }

    /// Adds the ranges of what it finds in a text.
    pub fn find(self, bytes: &[u8], found: &mut Vec<Range<usize>>) {
        match self {
            Self::PaymentCard => card::find(bytes, found),
            Self::Email => email::find(bytes, found),
            Self::Ipv4 => ip::v4(bytes, found),
            Self::Ipv6 => ip::v6(bytes, found),
            Self::Phone => phone::find(bytes, found),
            Self::Iban => iban::find(bytes, found),
            Self::Jwt => secret::jwt(bytes, found),
            Self::BearerToken => secret::bearer(bytes, found),
            Self::ApiKey => api_key::find(bytes, found),
            Self::UrlCredentials => secret::url_credentials(bytes, found),
            Self::UrlQuerySecrets => query::find(bytes, found),
            Self::NationalId(country) => national::find(country, bytes, found),
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
            Detector::Email => at(&mut email::candidates(bytes)),
            Detector::UrlCredentials if detectors.contains(&Detector::Email) => {}
            Detector::UrlCredentials => at(&mut memchr::memchr_iter(b'@', bytes)),
            Detector::Ipv4 => at(&mut ip::v4_candidates(bytes)),
            Detector::Ipv6 => at(&mut ip::v6_candidates(bytes)),
            Detector::Phone => at(&mut phone::candidates(bytes)),
            Detector::UrlQuerySecrets => at(&mut query::candidates(bytes)),
            // Below, because they give places in another way, or share a pass.
            Detector::Iban | Detector::ApiKey | Detector::PaymentCard | Detector::NationalId(_) => {}
        }
    }
    let has = |detector| detectors.contains(&detector);
    if has(Detector::PaymentCard) {
        card::candidates(bytes, found);
    }
    let mut at = |at: usize| found.push(at..at + 1);
    if has(Detector::Iban) {
        iban::candidates(bytes, &mut at);
    }
    if has(Detector::ApiKey) {
        api_key::candidates(bytes, &mut at);
    }
    if detectors.iter().any(|detector| matches!(detector, Detector::NationalId(_))) {
        national::candidates(bytes, &mut at);
    }
}

/// How many bytes from a place on fit.
fn len(bytes: &[u8], from: usize, fits: impl Fn(u8) -> bool) -> usize {
    bytes.get(from..).unwrap_or_default().iter().take_while(|byte| fits(**byte)).count()
}
