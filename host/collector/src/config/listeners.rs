//! Places where two are to listen.

use super::section::Problems;
use super::{Component, Config, Id};
use crate::extension::Settings;
use crate::receiver::Endpoint;

/// Somebody who is to listen.
struct Listens {
    who: String,
    endpoint: Endpoint,
    /// Whose place the configuration does not name, and what is not served if another has it.
    default: Option<Default>,
}

enum Default {
    Metrics,
    Extension(Id),
}

/// Refuses two in one place. One whose place is only a default gives way, with a warning.
pub(super) fn judge(config: &mut Config, problems: &Problems) {
    let all = listens(config);
    let pairs = all.iter().enumerate().flat_map(|(number, one)| all.iter().take(number).map(move |other| (other, one)));
    for (first, second) in pairs.filter(|(first, second)| first.endpoint.excludes(&second.endpoint)) {
        let (loser, winner) = if first.default.is_some() { (first, second) } else { (second, first) };
        let Endpoint { text, mark } = &winner.endpoint;
        match &loser.default {
            None => {
                let at = &loser.endpoint;
                let message = format!(
                    "{} cannot listen on `{}`: {} is to listen on `{text}` ({mark}); give one of them another port",
                    loser.who, at.text, winner.who
                );
                problems.borrow_mut().error(&at.mark, message);
            }
            Some(default) => {
                let message = format!(
                    "{} is not served: {} has its default place `{}`; give it another one if it is to be",
                    loser.who, winner.who, loser.endpoint.text
                );
                problems.borrow_mut().warning(mark, message);
                match default {
                    Default::Metrics => config.service.telemetry.metrics.readers.retain(|reader| reader.configured),
                    Default::Extension(id) => config.service.extensions.retain(|named| named.id != *id),
                }
            }
        }
    }
}

/// All who are to listen, in the order in which they get their sockets.
fn listens(config: &Config) -> Vec<Listens> {
    let readers = config.service.telemetry.metrics.readers.iter().map(|reader| Listens {
        who: "`/metrics`".to_owned(),
        endpoint: reader.endpoint.clone(),
        default: (!reader.configured).then_some(Default::Metrics),
    });
    let extensions = config.used_extensions().filter_map(|Component { id, settings, .. }| {
        let who = format!("extension `{id}`");
        match settings {
            Settings::HealthCheck(health) => {
                let default = (!health.configured).then(|| Default::Extension(id.clone()));
                Some(Listens { who, endpoint: health.endpoint.clone(), default })
            }
            Settings::Sluice(sluice) => {
                let endpoint = sluice.admin.as_ref()?.endpoint.clone();
                Some(Listens { who: format!("the admin API of {who}"), endpoint, default: None })
            }
            Settings::Authenticator(_) | Settings::FileStorage(_) => None,
        }
    });
    let scrapes = config.scrapes.iter().map(|Component { id, settings, .. }| Listens {
        who: format!("exporter `{id}`"),
        endpoint: settings.settings.endpoint.clone(),
        default: None,
    });
    let receivers = config.used_receivers().flat_map(|Component { id, settings, .. }| {
        settings.ports().into_iter().map(move |(protocol, endpoint)| Listens {
            who: format!("receiver `{id}` ({protocol})"),
            endpoint: endpoint.clone(),
            default: None,
        })
    });
    readers.chain(extensions).chain(scrapes).chain(receivers).collect()
}
