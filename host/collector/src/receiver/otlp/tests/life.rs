//! Connections that end: by shutdown, and in the middle of a body.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{accepts, export, grpc, http, local, post, serve, until};
use crate::receiver::Phase;
use crate::receiver::otlp::{Grpc, Protocol};

const MUCH: usize = 1 << 30;

#[test]
fn a_sender_that_goes_away_in_the_middle_of_its_body_gives_its_bytes_back() {
    local(async {
        let stub = accepts();
        let port = serve(http(1000), &stub, MUCH).await;
        let mut sender = TcpStream::connect(port.address).await.unwrap();
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 10\r\n\r\n12345";
        sender.write_all(head.as_bytes()).await.unwrap();
        // There is room for all that it has announced.
        until(|| port.admission.used() == 10).await;
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

/// A connection over HTTP/1 that stays open, asked again and again.
struct Kept(TcpStream);

impl Kept {
    async fn post(&mut self, body: &str) -> String {
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 1024];
        let read = self.0.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
    }
}

#[test]
fn other_settings_hold_from_the_next_request_on_of_a_connection_that_stays() {
    local(async {
        let port = serve(http(5), &accepts(), MUCH).await;
        let mut kept = Kept(TcpStream::connect(port.address).await.unwrap());
        assert_eq!(kept.post("123456").await, "HTTP/1.1 413 Payload Too Large");
        port.change(http(6));
        assert_eq!(kept.post("123456").await, "HTTP/1.1 200 OK");
    });
}

#[test]
fn what_a_connection_agrees_on_in_its_beginning_makes_it_come_again() {
    local(async {
        let port = serve(grpc(1000), &accepts(), MUCH).await;
        // The preface and empty settings: RFC 9113, section 3.4.
        let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let mut client = TcpStream::connect(port.address).await.unwrap();
        client.write_all(hello).await.unwrap();
        let mut heard = vec![0; 9];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard[3], 4, "SETTINGS come first");
        port.change(grpc(2000));
        assert_eq!(export(0, b"spans").of(&port).await.header("grpc-status"), "0");
        let Protocol::Grpc(settings) = grpc(2000) else { unreachable!() };
        port.change(Protocol::Grpc(Grpc { max_streams: 1, ..settings }));
        // The rest of the settings, then frames: a GOAWAY (7) is among them, and no error in it.
        let settings = usize::from(heard[2]);
        client.read_exact(&mut vec![0; settings]).await.unwrap();
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.unwrap();
            let mut frame = vec![0; usize::from(head[2])];
            client.read_exact(&mut frame).await.unwrap();
            if head[3] == 7 {
                assert_eq!(frame[4..8], [0; 4]);
                break;
            }
        }
    });
}

#[test]
fn who_still_sends_when_its_connection_is_closed_is_heard_out() {
    local(async {
        let stub = accepts();
        let port = serve(http(1000), &stub, MUCH).await;
        let mut sender = TcpStream::connect(port.address).await.unwrap();
        let post = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        sender.write_all(post.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // To the end of what the server has to say.
        sender.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // A connection that was closed without more ado is reset at the first of these, and the second one fails.
        for _ in 0..3 {
            sender.write_all(post.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(sender.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn who_sends_without_end_when_its_connection_is_closed_is_not_heard_for_long() {
    local(async {
        let port = serve(http(1000), &accepts(), MUCH).await;
        let mut sender = TcpStream::connect(port.address).await.unwrap();
        let post = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        sender.write_all(post.as_bytes()).await.unwrap();
        let mut sent = 0;
        while let Ok(written) = sender.write(&[b'x'; 8 << 10]).await {
            sent += written;
        }
        // 16 MiB are heard. Beside these a system takes what it has room for: twice 32 MiB, where it is told to.
        assert!(sent < 80 << 20, "{} MiB were taken", sent >> 20);
    });
}
