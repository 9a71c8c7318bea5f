//! Who may send, and as whom we send: the extensions `bearertokenauth` and `basicauth`, and the key
//! `auth` of receivers and exporters that names one of them.
//!
//! Secrets never appear in messages: not in errors, not in logs, not in what `Debug` shows.

pub mod basic;
pub mod bearer;
mod secret;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::section::{Mark, NOT_YET, Section};

pub use basic::Basic;
pub use bearer::Bearer;

/// An extension that knows secrets.
#[derive(Debug, Clone, PartialEq)]
pub enum Authenticator {
    /// `bearertokenauth`
    Bearer(Bearer),
    /// `basicauth`
    Basic(Basic),
}

impl Authenticator {
    /// Whether a request with these headers may come in.
    pub async fn admits(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Bearer(bearer) => bearer.admits(headers),
            Self::Basic(basic) => basic.admits(headers).await,
        }
    }

    /// What an answer to a request that may not says in `WWW-Authenticate` (RFC 9110 §11.6.1).
    pub fn challenge(&self) -> HeaderValue {
        match self {
            Self::Bearer(_) => HeaderValue::from_static("Bearer"),
            Self::Basic(_) => HeaderValue::from_static("Basic realm=\"sluice\", charset=\"UTF-8\""),
        }
    }

    /// The header of a request that we send.
    pub fn credentials(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Bearer(bearer) => bearer.credentials(),
            Self::Basic(basic) => basic.credentials(),
        }
    }
}

/// What `auth` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A receiver asks senders.
    Receiver,
    /// An exporter tells upstream.
    Exporter,
}

/// `auth` of a receiver or an exporter. Names an extension at first; what that is, is known when
/// the whole configuration has been read.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The extension's id.
    pub id: String,
    /// Where it is named.
    pub mark: Mark,
    /// The extension.
    pub authenticator: Option<Authenticator>,
}

/// Equal when they do the same, wherever that is written.
impl PartialEq for Auth {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.authenticator) == (&other.id, &other.authenticator)
    }
}

impl Auth {
    /// Reads the block `auth`.
    pub fn read(component: &mut Section<'_>) -> Option<Self> {
        let mut section = component.section("auth")?;
        let id = section.str("authenticator");
        let mark = section.mark("authenticator");
        // Nothing, such as a variable that is not set, must not read as everybody.
        if id.is_none() && !section.says("authenticator") {
            section.error("authenticator", "an `authenticator` is needed: the id of an extension");
        }
        section.unsupported("request_params", NOT_YET);
        section.finish();
        Some(Self { id: id?, mark, authenticator: None })
    }

    /// The extension. There is one once the configuration has been checked.
    pub fn known(&self) -> Option<&Authenticator> {
        self.authenticator.as_ref()
    }
}
