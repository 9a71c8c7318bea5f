#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use super::{Answer, Sink};
use crate::send::Grpc;
use crate::send::http::Post;
use crate::shop::otlp::Exporter;
use crate::{rpc, wire};

fn request() -> Bytes {
    Exporter::new(1).request(5)
}

#[test]
fn what_is_accepted_is_kept_as_it_came() {
    let sink = Sink::start();
    let requests = Exporter::new(2).requests(4, 5);
    let plain = Grpc::new(sink.address()).unwrap();
    plain.send(&requests[0]).unwrap();
    plain.compressed(CompressionEncoding::Gzip).send(&requests[1]).unwrap();
    let posts = [Post::protobuf(requests[2].clone()).gzip().unwrap(), Post::protobuf(requests[3].clone())];
    for post in posts {
        assert_eq!(post.to(sink.address()).unwrap().status, 200);
    }
    assert_eq!(wire::difference(&requests, &sink.wires()).unwrap(), None);
    assert_eq!(sink.totals().attempts, 4);
}

#[test]
fn one_that_was_told_to_forget_only_counts() {
    let sink = Sink::start();
    let client = Grpc::new(sink.address()).unwrap();
    client.send(&request()).unwrap();
    sink.forget();
    client.send(&request()).unwrap();
    assert_eq!((sink.received().len(), sink.attempts().len()), (0, 0));
    let totals = sink.totals();
    assert_eq!((totals.attempts, totals.requests, totals.spans), (2, 2, 2 * wire::count(&request()).unwrap()));
}

#[test]
fn grpc_follows_the_script() {
    let sink = Sink::start();
    let client = Grpc::new(sink.address()).unwrap();
    sink.script([
        Answer::unavailable_for(Duration::from_millis(1500)),
        Answer::INVALID,
        Answer::Partial { rejected: 2, message: "old" },
        Answer::Disconnect,
    ]);
    let status = client.send(&request()).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(rpc::retry_delay(&status), Some(Duration::from_millis(1500)));
    assert_eq!(client.send(&request()).unwrap_err().code(), Code::InvalidArgument);
    let partial = client.send(&request()).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_spans, sink.totals().requests), (2, 1));
    assert!(client.send(&request()).is_err());
    client.send(&request()).unwrap();
    assert_eq!((sink.totals().attempts, sink.totals().requests), (5, 2));
}

#[test]
fn http_follows_the_script() {
    let sink = Sink::start();
    sink.script([Answer::unavailable_for(Duration::from_secs(2)), Answer::INVALID, Answer::Disconnect]);
    let send = || Post::protobuf(request()).to(sink.address());
    let reply = send().unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "2"));
    assert_eq!(send().unwrap().status, 400);
    assert!(send().is_err());
    assert_eq!(send().unwrap().status, 200);
}

#[test]
fn a_stopped_sink_can_start_again_where_it_was() {
    let sink = Sink::start();
    let client = Grpc::new(sink.address()).unwrap();
    client.send(&request()).unwrap();
    sink.stop();
    let again = Sink::start_at(sink.address());
    let sent = crate::wait::within(crate::wait::PATIENCE, || client.send(&request()).ok());
    assert!(sent.is_some() && again.spans() > 0);
}
