//! Connections that end: by shutdown, and in the middle of a body.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{accepts, export, grpc, http, local, post, serve, until};
use crate::receiver::Phase;

const MUCH: usize = 1 << 30;

#[test]
fn a_sender_that_goes_away_in_the_middle_of_its_body_gives_its_bytes_back() {
    local(async {
        let stub = accepts();
        let port = serve(http(1000), &stub, MUCH).await;
        let mut sender = TcpStream::connect(port.address).await.unwrap();
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 10\r\n\r\n12345";
        sender.write_all(head.as_bytes()).await.unwrap();
        until(|| port.admission.used() == 5).await;
        drop(sender);
        until(|| port.admission.used() == 0).await;
        assert!(stub.seen.borrow().is_empty());
        assert_eq!(post("application/x-protobuf", b"spans").of(&port).await.status, 200);
    });
}

#[test]
fn what_is_in_flight_is_finished_and_answered_when_the_receiver_closes() {
    local(async {
        for http2 in [false, true] {
            let stub = accepts();
            let port = serve(if http2 { grpc(1000) } else { http(1000) }, &stub, MUCH).await;
            stub.answers.send_replace(false);
            let ask = if http2 { export(0, b"spans") } else { post("application/x-protobuf", b"spans") };
            let asked = async { ask.of(&port).await };
            let closing = async {
                until(|| !stub.seen.borrow().is_empty()).await;
                port.phase.send_replace(Phase::Finish);
                tokio::task::yield_now().await;
                stub.answers.send_replace(true);
            };
            let (answer, ()) = tokio::join!(asked, closing);
            assert_eq!(answer.status, 200);
        }
    });
}

#[test]
fn connections_that_do_nothing_end_when_the_receiver_closes() {
    local(async {
        for protocol in [grpc(1000), http(1000)] {
            let port = serve(protocol, &accepts(), MUCH).await;
            let mut silent = TcpStream::connect(port.address).await.unwrap();
            port.phase.send_replace(Phase::Finish);
            assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
        }
    });
}

#[test]
fn a_connection_that_will_not_end_is_cut() {
    local(async {
        let stub = accepts();
        stub.answers.send_replace(false);
        let port = serve(http(1000), &stub, MUCH).await;
        let mut sender = TcpStream::connect(port.address).await.unwrap();
        let request = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 5\r\n\r\nspans";
        sender.write_all(request.as_bytes()).await.unwrap();
        until(|| !stub.seen.borrow().is_empty()).await;
        port.phase.send_replace(Phase::Cut);
        assert_eq!(sender.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(port.admission.used(), 0);
    });
}
