#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use tonic::codec::CompressionEncoding;

use super::{CountingSink, WINDOW_BYTES};
use crate::http2::{self, put};
use crate::send::{Grpc, raw};
use crate::{traffic, wait, wire};

fn sink() -> CountingSink {
    CountingSink::start("127.0.0.1:0").unwrap()
}

#[test]
fn what_a_proper_client_sends_is_counted_and_answered() {
    let sink = sink();
    let requests = traffic::generated(7);
    let (one, other) = (Grpc::new(sink.address()).unwrap(), Grpc::new(sink.address()).unwrap());
    for pair in requests[..40].chunks(2) {
        assert_eq!(one.send(&pair[0]).unwrap().partial_success, None);
        other.send(&pair[1]).unwrap();
    }
    let totals = sink.totals();
    let spans: u64 = requests[..40].iter().map(|request| wire::count(request).unwrap()).sum();
    let bytes: usize = requests[..40].iter().map(Bytes::len).sum();
    assert_eq!((totals.attempts, totals.requests, totals.spans, totals.bytes), (40, 40, spans, bytes as u64));
}

/// Both windows are used up more than once: without being told of new room the client would wait for ever.
#[test]
fn a_client_is_told_of_new_room() {
    let sink = sink();
    let client = Grpc::new(sink.address()).unwrap();
    // An unknown field (15) that fills half of the window, and a little more.
    let length = WINDOW_BYTES / 2 + 1;
    let mut filling = vec![0x7a];
    let mut rest = length;
    while rest >= 0x80 {
        filling.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    filling.push(rest as u8);
    filling.resize(filling.len() + length as usize, 0);
    let twice = [&filling[..], &filling[..]].concat().into();
    client.send(&twice).unwrap();
    client.send(&twice).unwrap();
    assert_eq!((sink.totals().requests, sink.totals().spans), (2, 0));
}

#[test]
fn what_it_cannot_count_is_not_answered() {
    let sink = sink();
    let request = traffic::generated(8).remove(0);
    let client = Grpc::new(sink.address()).unwrap();
    client.clone().compressed(CompressionEncoding::Gzip).send(&request).unwrap_err();
    client.send(&Bytes::from_static(&[0x0a, 0xff])).unwrap_err();
    client.send(&request.slice(..request.len() - 1)).unwrap_err();
    assert!(raw::exchange(sink.address(), b"GET / HTTP/1.1\r\nhost: sink.example\r\n\r\n").unwrap().is_empty());
    assert_eq!(sink.totals().requests, 0);
    client.send(&request).unwrap();
    assert_eq!(sink.totals().requests, 1);
}

/// A request whose client broke it off, and one whose message is shorter than it says, although it is a message.
#[test]
fn only_what_came_whole_is_counted() {
    let sink = sink();
    let message = [&[0, 0, 0, 0, 4][..], &[0x7a, 2, 0, 0]].concat();
    let mut out = http2::PREFACE.to_vec();
    http2::put_settings(&mut out, &[]);
    put(&mut out, http2::HEADERS, http2::END_HEADERS, 1, &[]);
    put(&mut out, http2::DATA, 0, 1, &message);
    put(&mut out, http2::RST_STREAM, 0, 1, &8u32.to_be_bytes());
    put(&mut out, http2::HEADERS, http2::END_HEADERS, 3, &[]);
    put(&mut out, http2::DATA, http2::END_STREAM, 3, &message);
    let mut client = TcpStream::connect(sink.address()).unwrap();
    client.write_all(&out).unwrap();
    wait::until("a request that is counted", || (sink.totals().requests > 0).then_some(()));
    assert_eq!(sink.totals().bytes, 4);

    let mut out = Vec::new();
    put(&mut out, http2::HEADERS, http2::END_HEADERS, 5, &[]);
    put(&mut out, http2::DATA, http2::END_STREAM, 5, &[0, 0, 0, 0, 4, 0x7a, 0]);
    client.write_all(&out).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(sink.totals().requests, 1);
}

/// It would not know the place of headers in a smaller table.
#[test]
fn a_client_with_a_small_table_of_headers_is_hung_up_on() {
    let mut out = http2::PREFACE.to_vec();
    http2::put_settings(&mut out, &[(http2::HEADER_TABLE_SIZE, 0)]);
    let mut client = TcpStream::connect(sink().address()).unwrap();
    client.write_all(&out).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
}
