//! `auth.authenticator`: which extension it names.

use super::component::{Component, Id};
use super::section::Problems;
use super::service::Service;
use super::{EXTENSIONS, Names};
use crate::auth::{Auth, Authenticator, End};
use crate::extension;

/// What has been read.
pub(super) struct Known<'c> {
    pub extensions: &'c [Component<extension::Settings>],
    pub service: &'c Service,
    pub names: &'c Names,
}

impl Known<'_> {
    /// Finds the extension that each of these names, and tells of those that do not fit.
    pub fn resolve<'a>(&self, all: impl IntoIterator<Item = &'a mut Auth>, end: End, problems: &Problems) {
        for auth in all {
            match self.find(&auth.id, end) {
                Ok(authenticator) => auth.authenticator = authenticator,
                Err(reason) => problems.borrow_mut().error(&auth.mark, reason),
            }
        }
    }

    /// The authenticator of this id; none if what is wrong with it has been told already.
    fn find(&self, id: &str, end: End) -> Result<Option<Authenticator>, String> {
        let parsed = Id::parse(id).map_err(|reason| format!("`{id}` is no extension id: {reason}"))?;
        if !self.names.of(EXTENSIONS.key).iter().any(|named| named.id == parsed) {
            return Err(format!("extension `{id}` is not defined in `extensions`"));
        }
        if !self.service.extensions.iter().any(|named| named.id == parsed) {
            return Err(format!("extension `{id}` does not run: name it in `service.extensions`"));
        }
        let Some(component) = self.extensions.iter().find(|component| component.id == parsed) else { return Ok(None) };
        let extension::Settings::Authenticator(authenticator) = &component.settings else {
            return Err(format!("extension `{id}` is no authenticator: `bearertokenauth` and `basicauth` are"));
        };
        match (end, authenticator) {
            (End::Receiver, Authenticator::Basic(basic)) if !basic.knows_users() => {
                Err(format!("extension `{id}` does not say who may send: it needs `htpasswd`"))
            }
            (End::Exporter, Authenticator::Basic(basic)) if !basic.knows_credentials() => {
                Err(format!("extension `{id}` does not say as whom to send: it needs `client_auth`"))
            }
            _ => Ok(Some(authenticator.clone())),
        }
    }
}
