//! Which exporters a `failover` names.

use super::component::{Component, Id};
use super::section::Problems;
use super::service::Service;
use super::{EXPORTERS, Names, check};
use crate::exporter::{Settings, failover};

/// The exporters that a `failover` names, wherever that is.
pub(super) fn named(exporters: &[Component<Settings>]) -> Vec<Id> {
    let upstreams = exporters.iter().flat_map(|component| match &component.settings {
        Settings::Failover(failover) => &failover.upstreams[..],
        _ => &[],
    });
    upstreams.map(|upstream| upstream.named.id.clone()).collect()
}

/// Gives every `failover` the settings of the exporters that it names.
pub(super) fn resolve(
    mut exporters: Vec<Component<Settings>>,
    service: &Service,
    names: &Names,
    problems: &Problems,
) -> Vec<Component<Settings>> {
    let known = exporters.clone();
    for Component { id, settings, .. } in &mut exporters {
        let Settings::Failover(settings) = settings else { continue };
        for failover::Upstream { named, settings } in &mut settings.upstreams {
            let found = known.iter().find(|component| component.id == named.id);
            if let Some(reason) = wrong(&named.id, found, service, names) {
                problems.borrow_mut().error(&named.mark, format!("exporter `{id}`: {reason}"));
            }
            *settings = found.map(|component| component.settings.clone());
        }
    }
    exporters
}

fn wrong(id: &Id, found: Option<&Component<Settings>>, service: &Service, names: &Names) -> Option<String> {
    if !check::defines(names, &EXPORTERS, id) {
        return Some(check::undefined(names, &EXPORTERS, id));
    }
    // What could not be read has been told.
    let settings = &found?.settings;
    if !matches!(settings, Settings::OtlpGrpc(_) | Settings::OtlpHttp(_)) {
        return Some(format!("`{id}` cannot be an upstream: exporters of type `otlp_grpc` and `otlp_http` can"));
    }
    let alone = !service.pipelines.iter().any(|pipeline| pipeline.exporters.contains(id));
    (alone && settings.has_own_delivery()).then(|| {
        format!(
            "`sending_queue` and `retry_on_failure` of `{id}` would do nothing, since it is in no pipeline: \
             those of the failover hold, move them there"
        )
    })
}
