#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::{Load, Until, send};
use crate::http2::{self, Frames, Head, Peer};
use crate::sink::{Answer, Sink};
use crate::{traffic, wait, wire};

fn load(target: SocketAddr, requests: &[Bytes]) -> Load {
    let spans = requests.iter().map(|request| wire::count(request).unwrap()).sum();
    Load { target, connections: 1, in_flight: 1, until: Until::Spans(spans), gzip: false }
}

/// What arrives is what is said to have been sent, as it was, and nothing is sent that is not needed.
#[test]
fn what_is_sent_arrives_and_is_counted() {
    let requests = traffic::generated(11);
    let bytes: usize = requests.iter().map(Bytes::len).sum();
    for (connections, in_flight, gzip) in [(1, 1, false), (3, 7, false), (1, 100, false), (2, 4, true)] {
        let sink = Sink::start();
        let load = Load { connections, in_flight, gzip, ..load(sink.address(), &requests) };
        let sent = send(&load, &requests).unwrap();
        // What is on its way in the end comes on top, and answers may overtake each other.
        assert!(sent.requests >= 100 && sent.requests <= 100 + 2 * (in_flight as u64 - 1), "{sent:?}");
        assert_eq!((sent.requests, sent.spans), (sink.totals().requests, sink.totals().spans));
        assert_eq!((sent.bytes, sent.refused), (sink.totals().bytes, 0));
        if in_flight == 1 {
            assert_eq!(sent.bytes, bytes as u64);
            assert_eq!(wire::difference(&requests, &sink.wires()).unwrap(), None);
        }
    }
}

#[test]
fn it_ends_when_time_has_passed() {
    let sink = Sink::start();
    let time = Duration::from_millis(50);
    let requests = traffic::generated(12);
    let sent = send(&Load { until: Until::Passed(time), ..load(sink.address(), &requests) }, &requests).unwrap();
    assert!(sent.took >= time && sent.requests > 0, "{sent:?}");
    assert_eq!(sent.spans, sink.totals().spans);
}

#[test]
fn what_is_refused_for_now_is_sent_again() {
    let sink = Sink::start();
    sink.script([Answer::Ok, Answer::UNAVAILABLE, Answer::unavailable_for(Duration::from_secs(1))]);
    let requests = traffic::generated(13);
    let sent = send(&Load { in_flight: 2, ..load(sink.address(), &requests[..9]) }, &requests[..9]).unwrap();
    assert_eq!(sent.refused, 2);
    assert_eq!((sent.requests, sent.spans), (sink.totals().requests, sink.totals().spans));
}

#[test]
fn other_answers_are_errors_that_say_what_was_answered() {
    let requests = traffic::generated(14);
    let sink = Sink::start();
    let error = |answer| {
        sink.script([answer]);
        format!("{:#}", send(&load(sink.address(), &requests), &requests).unwrap_err())
    };
    let invalid = error(Answer::Refuse { code: Code::InvalidArgument, status: 400, retry: None });
    assert_eq!(invalid, "answered with status 3: the%20script%20says%20so");
    error(Answer::Disconnect);
    sink.stop();
    wait::until("an error without a server", || send(&load(sink.address(), &requests), &requests).err());
    assert!(send(&load(sink.address(), &[]), &[]).is_err());
}

/// Notes from where requests came.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<(HashSet<SocketAddr>, u64)>>);

#[async_trait::async_trait]
impl TraceService for Peers {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut noted = self.0.lock().unwrap();
        noted.0.extend(request.remote_addr());
        noted.1 += 1;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Room comes in small pieces, and one stream may be open at a time.
#[test]
fn it_sends_no_more_than_the_server_allows() {
    let peers = Peers::default();
    let _on = wait::runtime().enter();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = incoming.local_addr().unwrap();
    let server = Server::builder().initial_stream_window_size(1_000).max_concurrent_streams(1);
    let serving = server.serve_with_incoming(TraceServiceServer::new(peers.clone()), incoming);
    let serving = wait::runtime().spawn(serving);
    let requests = traffic::generated(15);
    let load = load(target, &requests);
    let sent = send(&Load { connections: 5, in_flight: 2, ..load.clone() }, &requests).unwrap();
    let more = send(&Load { in_flight: 7, ..load }, &requests).unwrap();
    serving.abort();
    let (peers, requests) = std::mem::take(&mut *peers.0.lock().unwrap());
    assert_eq!(requests, sent.requests + more.requests);
    assert_eq!(peers.len(), 6, "five connections that are taken in turn, and another one");
}

/// A server that answers by hand.
struct ByHand {
    out: Vec<u8>,
    /// How many bytes of DATA there are to be before the first answer.
    wanted: usize,
    broken_off: Vec<(u32, u32)>,
}

impl ByHand {
    fn answer(&mut self, stream: u32, status: &str) {
        let trailers = http2::header("grpc-status", status);
        http2::put(&mut self.out, http2::HEADERS, http2::END_HEADERS | http2::END_STREAM, stream, &trailers);
    }
}

impl Peer for ByHand {
    fn data(&mut self, stream: u32, piece: &[u8], is_last: bool) -> anyhow::Result<()> {
        if stream == 1 {
            self.wanted -= piece.len();
            if self.wanted == 0 {
                self.answer(1, "14");
                http2::put(&mut self.out, http2::WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes());
            }
        } else if is_last {
            self.answer(stream, "0");
        } else {
            http2::put(&mut self.out, http2::WINDOW_UPDATE, 0, stream, &(piece.len() as u32 + 1).to_be_bytes());
        }
        Ok(())
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> anyhow::Result<()> {
        if head.kind == http2::RST_STREAM {
            self.broken_off.push((head.stream, http2::number(payload)?));
        }
        Ok(())
    }
}

/// A server may refuse what it has not read to its end: the rest is not sent, and the request goes again.
#[test]
fn a_request_that_is_refused_half_way_is_broken_off_and_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut preface, mut buffer) = ([0; http2::PREFACE.len()], [0; 4096]);
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(preface, *http2::PREFACE);
        let mut frames = Frames::default();
        let mut out = Vec::new();
        http2::put_settings(&mut out, &[]);
        stream.write_all(&out).unwrap();
        let mut server = ByHand { out: Vec::new(), wanted: http2::WINDOW as usize, broken_off: Vec::new() };
        loop {
            let read = stream.read(&mut buffer).unwrap();
            if read == 0 {
                return server.broken_off;
            }
            frames.read(&buffer[..read], &mut server).unwrap();
            stream.write_all(&server.out).unwrap();
            server.out.clear();
        }
    });
    // An unknown field (15) of 100,000 bytes.
    let request = [&[0x7a, 0xa0, 0x8d, 0x06][..], &vec![0; 100_000]].concat().into();
    let requests = [request, traffic::generated(16).remove(0)];
    let sent = send(&load(target, &requests), &requests).unwrap();
    assert_eq!((sent.refused, sent.requests), (1, 2));
    // CANCEL is 8 (RFC 9113, section 7).
    assert_eq!(server.join().unwrap(), [(1, 8)]);
}
