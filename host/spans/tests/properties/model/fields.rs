//! Setting intrinsic fields of rows.

use super::{Path, span_mut};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Status;
use sluice_spans::Table;

pub fn set_text(request: &mut ExportTraceServiceRequest, table: Table, path: Path, field: u32, text: &str) {
    let wrapper = &mut request.resource_spans[path[0]];
    let place = match (table, field) {
        (Table::Resources, 1003) => &mut wrapper.schema_url,
        (Table::Scopes, 1003) => &mut wrapper.scope_spans[path[1]].schema_url,
        (Table::Scopes, _) => {
            let scope = &mut wrapper.scope_spans[path[1]].scope;
            let scope = scope.get_or_insert_default();
            if field == 1 { &mut scope.name } else { &mut scope.version }
        }
        (Table::Spans, 3) => &mut span_mut(request, path).trace_state,
        (Table::Spans, 5) => &mut span_mut(request, path).name,
        (Table::Spans, 1502) => {
            let status = &mut span_mut(request, path).status;
            &mut status.get_or_insert_with(Status::default).message
        }
        (Table::Events, 2) => &mut span_mut(request, path).events[path[3]].name,
        (Table::Links, 3) => &mut span_mut(request, path).links[path[3]].trace_state,
        _ => panic!("no text field {field}"),
    };
    text.clone_into(place);
}

pub fn set_number(request: &mut ExportTraceServiceRequest, table: Table, path: Path, field: u32, number: u64) {
    let wrapper = &mut request.resource_spans[path[0]];
    let place = match (table, field) {
        (Table::Resources, 2) => {
            let resource = wrapper.resource.get_or_insert_default();
            &mut resource.dropped_attributes_count
        }
        (Table::Scopes, 4) => {
            let scope = &mut wrapper.scope_spans[path[1]].scope;
            &mut scope.get_or_insert_default().dropped_attributes_count
        }
        (Table::Spans, 6) => {
            span_mut(request, path).kind = number as i32;
            return;
        }
        (Table::Spans, 1503) => {
            let status = &mut span_mut(request, path).status;
            status.get_or_insert_with(Status::default).code = number as i32;
            return;
        }
        (Table::Spans, 7) => {
            span_mut(request, path).start_time_unix_nano = number;
            return;
        }
        (Table::Spans, 8) => {
            span_mut(request, path).end_time_unix_nano = number;
            return;
        }
        (Table::Events, 1) => {
            span_mut(request, path).events[path[3]].time_unix_nano = number;
            return;
        }
        (Table::Spans, 10) => &mut span_mut(request, path).dropped_attributes_count,
        (Table::Spans, 12) => &mut span_mut(request, path).dropped_events_count,
        (Table::Spans, 14) => &mut span_mut(request, path).dropped_links_count,
        (Table::Spans, 16) => &mut span_mut(request, path).flags,
        (Table::Events, 4) => &mut span_mut(request, path).events[path[3]].dropped_attributes_count,
        (Table::Links, 5) => &mut span_mut(request, path).links[path[3]].dropped_attributes_count,
        (Table::Links, 6) => &mut span_mut(request, path).links[path[3]].flags,
        _ => panic!("no numeric field {field}"),
    };
    *place = number as u32;
}
