//! What only shows when all of a configuration is known: references to what is not there, and
//! what nothing refers to.

use super::component::{Id, Kind, present_name};
use super::connector::CONNECTORS;
use super::nearest::nearest;
use super::section::Problems;
use super::service::{Named, Service};
use super::{EXPORTERS, EXTENSIONS, Mark, Names, PROCESSORS, Pipeline, RECEIVERS};

/// One of a pipeline's lists.
type List = fn(&Pipeline) -> &Vec<Id>;

/// Checks that everything named is defined, and remarks on what is defined and never named. Other
/// exporters name `upstreams`.
pub(super) fn references(names: &Names, service: &Service, upstreams: &[Id], problems: &Problems) {
    let pipelines = || service.pipelines.iter().chain(&service.metrics);
    for pipeline in pipelines() {
        let lists =
            [(&RECEIVERS, &pipeline.receivers), (&PROCESSORS, &pipeline.processors), (&EXPORTERS, &pipeline.exporters)];
        for (kind, ids) in lists {
            let is_connector = |id: &Id| kind.key != PROCESSORS.key && defines(names, &CONNECTORS, id);
            for id in ids.iter().filter(|id| !defines(names, kind, id) && !is_connector(id)) {
                let message = format!("pipeline `{}`: {}", pipeline.id, undefined(names, kind, id));
                problems.borrow_mut().error(&place(pipeline, id), message);
            }
        }
    }
    for Named { id, mark } in service.extensions.iter().filter(|named| !defines(names, &EXTENSIONS, &named.id)) {
        problems.borrow_mut().error(mark, undefined(names, &EXTENSIONS, id));
    }
    let used = |list: List, id: &Id| pipelines().any(|pipeline| list(pipeline).contains(id));
    let lists: [(&Kind, List); 4] = [
        (&RECEIVERS, |pipeline| &pipeline.receivers),
        (&PROCESSORS, |pipeline| &pipeline.processors),
        (&EXPORTERS, |pipeline| &pipeline.exporters),
        (&CONNECTORS, |pipeline| &pipeline.exporters),
    ];
    for (kind, list) in lists {
        let used = |id: &Id| {
            used(list, id)
                || (kind.key == EXPORTERS.key && upstreams.contains(id))
                // Who names one side of a connector alone is told so.
                || (kind.key == CONNECTORS.key && used(|pipeline| &pipeline.receivers, id))
        };
        for Named { id, mark } in names.of(kind.key).iter().filter(|named| !used(&named.id)) {
            problems.borrow_mut().warning(mark, format!("{} `{id}` is in no pipeline", kind.name));
        }
    }
    for Named { id, mark } in names.of(EXTENSIONS.key) {
        if !service.extensions.iter().any(|named| named.id == *id) {
            problems
                .borrow_mut()
                .warning(mark, format!("extension `{id}` does not run: `service.extensions` does not name it"));
        }
    }
}

pub(super) fn defines(names: &Names, kind: &Kind, id: &Id) -> bool {
    names.of(kind.key).iter().any(|named| named.id == *id)
}

pub(super) fn undefined(names: &Names, kind: &Kind, id: &Id) -> String {
    let defined: Vec<String> = names.of(kind.key).iter().map(|named| named.id.to_string()).collect();
    // `otlp` and `otlp_grpc` are one type, but an id is what is written.
    let renamed = names.of(kind.key).iter().find(|named| {
        let same_type = present_name(kind.key, named.id.kind()) == present_name(kind.key, id.kind());
        same_type && named.id.name() == id.name()
    });
    let hint = match renamed
        .map(|named| named.id.to_string())
        .or_else(|| nearest(&id.to_string(), defined.iter().map(String::as_str)).map(str::to_owned))
    {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => String::new(),
    };
    format!("{} `{id}` is not defined in `{}`{hint}", kind.name, kind.key)
}

/// Where a pipeline names a component.
pub(super) fn place(pipeline: &Pipeline, id: &Id) -> Mark {
    pipeline.marks.iter().find(|(known, _)| known == id).map_or(&pipeline.mark, |(_, mark)| mark).clone()
}
