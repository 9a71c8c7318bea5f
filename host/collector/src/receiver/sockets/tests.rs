#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use super::{BindError, Listener, Sockets, Want};
use crate::config::Mark;
use crate::receiver::Endpoint;
use crate::receiver::listener::{accept, open};

fn endpoint(text: &str) -> Endpoint {
    Endpoint { text: text.to_owned(), mark: Mark::default() }
}

/// Listens at these endpoints, of which some are listened on already.
fn listen(sockets: &mut Sockets, wanted: &[(&str, Option<&Listener>)]) -> Vec<Result<Listener, BindError>> {
    let endpoints: Vec<_> = wanted.iter().map(|(text, _)| endpoint(text)).collect();
    let mut wants = Vec::new();
    for ((_, present), endpoint) in wanted.iter().zip(&endpoints) {
        wants.push(Want { who: "receiver otlp".to_owned(), protocol: "grpc", endpoint, present: present.cloned() });
    }
    sockets.listen(&wants)
}

fn one(sockets: &mut Sockets, text: &str) -> Listener {
    listen(sockets, &[(text, None)]).remove(0).unwrap()
}

fn address(listener: &Listener) -> SocketAddr {
    listener.sockets[0].address
}

#[tokio::test]
async fn port_zero_is_one_port_on_all_addresses_of_the_host() {
    let bound = one(&mut Sockets::default(), "localhost:0").sockets;
    assert!(bound.iter().any(|socket| socket.address.ip() == IpAddr::from([127, 0, 0, 1])));
    let port = bound[0].address.port();
    assert!(port != 0 && bound.iter().all(|socket| socket.address.port() == port));
}

#[tokio::test]
async fn a_port_in_use_is_refused_by_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (host, at) in [("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0")] {
        let refused = listen(&mut Sockets::default(), &[(&format!("{host}:{port}"), None)]).remove(0).unwrap_err();
        let place = format!("error: receiver otlp: cannot listen on grpc endpoint `{host}:{port}`");
        let said = refused.to_string();
        assert!(said.ends_with(&format!("{place}: port {port} is in use at {at}")), "{said}");
    }
}

#[tokio::test]
async fn a_socket_is_open_as_long_as_somebody_has_it() {
    let mut sockets = Sockets::default();
    let first = one(&mut sockets, "127.0.0.1:0");
    let again = listen(&mut sockets, &[("127.0.0.1:0", Some(&first))]).remove(0).unwrap();
    assert!(again == first);
    let address = address(&first);
    drop(first);
    TcpStream::connect(address).await.unwrap();
    drop(again);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_address_is_taken_over_with_those_who_wait_there() {
    let mut sockets = Sockets::default();
    let old = one(&mut sockets, "localhost:0");
    let address = address(&old);
    let waiting = TcpStream::connect(address).await.unwrap();
    let new = one(&mut sockets, &address.to_string());
    drop(old);
    let accepted = accept(&new.sockets[0].listener).await;
    assert_eq!(accepted.peer_addr().unwrap(), waiting.local_addr().unwrap());
}

#[tokio::test]
async fn all_addresses_are_had_beside_the_one_that_leaves_and_the_other_way_round() {
    let mut sockets = Sockets::default();
    let one_address = one(&mut sockets, "127.0.0.1:0");
    let port = address(&one_address).port();
    let all = one(&mut sockets, &format!("0.0.0.0:{port}"));
    // As a second collector would.
    let foreign = |host: [u8; 4]| open(SocketAddr::from((host, port)), false, false);
    assert!(foreign([127, 0, 0, 1]).is_err(), "another process got our port");
    drop(one_address);
    assert!(foreign([0, 0, 0, 0]).is_err(), "another process got our port");
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let back = one(&mut sockets, &format!("127.0.0.1:{port}"));
    drop(all);
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(back.sockets.len(), 1);
}

#[tokio::test]
async fn nobody_takes_from_those_who_stay() {
    let mut sockets = Sockets::default();
    let stays = one(&mut sockets, "127.0.0.1:0");
    let port = address(&stays).port();
    for wanted in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")] {
        for _ in 0..2 {
            let got = listen(&mut sockets, &[(&wanted, None), ("127.0.0.1:0", Some(&stays))]);
            assert_eq!(
                got[0].as_ref().unwrap_err().reason,
                format!("port {port} is in use at {}", &wanted[..wanted.len() - port.to_string().len() - 1])
            );
            assert!(*got[1].as_ref().unwrap() == stays);
        }
    }
}

#[tokio::test]
async fn of_two_who_want_an_address_one_has_it_and_a_refusal_forgets_nothing() {
    let mut sockets = Sockets::default();
    let first = one(&mut sockets, "127.0.0.1:0");
    let text = address(&first).to_string();
    let got = listen(&mut sockets, &[(&text, None), (&text, None)]);
    assert!(*got[0].as_ref().unwrap() == first && got[1].is_err());
    drop(got);
    assert!(one(&mut sockets, &text) == first);
}

/// The same socket as another process would have it.
fn passed(socket: &std::net::TcpListener) -> Vec<std::net::TcpListener> {
    vec![socket.try_clone().unwrap()]
}

#[tokio::test]
async fn a_socket_of_another_process_is_taken_over_with_those_who_wait_there() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let waiting = TcpStream::connect(address).await.unwrap();
    let mut sockets = Sockets::default();
    sockets.give(passed(&other)).unwrap();
    drop(other);
    let taken = one(&mut sockets, &address.to_string());
    assert_eq!(sockets.unclaimed(), []);
    let accepted = accept(&taken.sockets[0].listener).await;
    assert_eq!(accepted.peer_addr().unwrap(), waiting.local_addr().unwrap());
    drop(taken);
    assert!(TcpStream::connect(address).await.is_err(), "it is kept although nobody has it");
}

#[tokio::test]
async fn a_socket_of_another_process_that_nobody_wants_is_told_and_closed() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let mut sockets = Sockets::default();
    sockets.give(passed(&other)).unwrap();
    drop(other);
    let elsewhere = one(&mut sockets, "127.0.0.1:0");
    assert_eq!(sockets.unclaimed(), [address]);
    assert_eq!(sockets.all().len(), 1);
    assert!(TcpStream::connect(address).await.is_err());
    drop(elsewhere);
}

#[tokio::test]
async fn what_does_not_listen_is_no_socket_to_take_over() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let refused = Sockets::default().give(vec![socket.into()]).unwrap_err();
    assert!(refused.to_string().ends_with("does not listen"), "{refused}");
}
