#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{Door, Ended, NotTaken, Predecessor, Successor, Visit, path_in};
use crate::config::Mark;
use crate::receiver::sockets::Socket;
use crate::receiver::{Endpoint, Listener, Sockets, Want};

/// A socket of the system's choice, as a receiver has it.
fn listen() -> Listener {
    let endpoint = Endpoint { text: "127.0.0.1:0".to_owned(), mark: Mark::default() };
    let want = Want { who: "receiver otlp".to_owned(), protocol: "grpc", endpoint: &endpoint, present: None };
    Sockets::default().listen(&[want]).remove(0).unwrap()
}

async fn knocks(door: &mut Door, sockets: &[Arc<Socket>]) {
    match door.visit().await {
        Visit::Knocks(stream) => door.offer(stream, sockets).await,
        Visit::Takes(_) => panic!("nobody was given anything"),
    }
}

async fn takes(door: &mut Door) -> Successor {
    match door.visit().await {
        Visit::Takes(successor) => successor,
        Visit::Knocks(_) => panic!("somebody knocks"),
    }
}

async fn find(state_dir: &Path) -> (Predecessor, Vec<std::net::TcpListener>) {
    Predecessor::find(state_dir).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_connection_that_nobody_has_accepted_goes_over_with_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let (mut door, listener) = (Door::open(folder.path()).unwrap(), listen());
    let address = listener.sockets[0].address;
    let waiting = TcpStream::connect(address).await.unwrap();
    let (mut found, ()) = tokio::join!(find(folder.path()), knocks(&mut door, &listener.sockets));
    assert_eq!((found.0.pid, found.1.len()), (std::process::id(), 1));
    let leaves = async {
        let mut successor = takes(&mut door).await;
        drop(listener);
        successor.leaving().await;
        successor.released().await;
    };
    let (ended, ()) = tokio::join!(found.0.leave(), leaves);
    assert_eq!(ended.unwrap(), Ended::Released);
    let taken = TcpListener::from_std(found.1.remove(0)).unwrap();
    let (_, from) = taken.accept().await.unwrap();
    assert_eq!(from, waiting.local_addr().unwrap());
}

#[tokio::test]
async fn who_goes_away_before_it_takes_over_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut door, listener) = (Door::open(folder.path()).unwrap(), listen());
    let address = listener.sockets[0].address;
    for _ in 0..2 {
        let (found, ()) = tokio::join!(find(folder.path()), knocks(&mut door, &listener.sockets));
        drop(found);
    }
    let (_, accepted) = tokio::join!(TcpStream::connect(address), listener.sockets[0].listener.accept());
    accepted.unwrap();
}

#[tokio::test]
async fn of_two_followers_the_later_one_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut door, listener) = (Door::open(folder.path()).unwrap(), listen());
    let (first, ()) = tokio::join!(find(folder.path()), knocks(&mut door, &listener.sockets));
    let (second, ()) = tokio::join!(find(folder.path()), knocks(&mut door, &listener.sockets));
    assert!(matches!(first.0.leave().await, Err(NotTaken::Refused)));
    let leaves = async { takes(&mut door).await.leaving().await };
    let (ended, ()) = tokio::join!(second.0.leave(), leaves);
    assert_eq!(ended.unwrap(), Ended::Died, "it has said that it leaves, and no more");
}

#[tokio::test]
async fn who_was_given_other_sockets_than_there_are_now_has_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut door, listener) = (Door::open(folder.path()).unwrap(), listen());
    let (found, ()) = tokio::join!(find(folder.path()), knocks(&mut door, &listener.sockets));
    door.keep_only_if_same(&listener.sockets);
    door.keep_only_if_same(&[Arc::clone(&listener.sockets[0]), Arc::clone(&listen().sockets[0])]);
    assert!(matches!(found.0.leave().await, Err(NotTaken::Refused)));
}

#[tokio::test]
async fn what_a_dead_process_has_left_is_put_aside_and_a_living_one_keeps_its_door() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Predecessor::find(folder.path()).await.unwrap().is_none(), "nobody has been there");
    drop(UnixListener::bind(path_in(folder.path())).unwrap());
    assert!(Predecessor::find(folder.path()).await.unwrap().is_none(), "it is dead");
    let door = Door::open(folder.path()).unwrap();
    let second = Door::open(folder.path()).err().unwrap().to_string();
    assert!(second.ends_with("another process has this `state_dir`"), "{second}");
    assert!(path_in(folder.path()).exists());
    drop(door);
    assert!(!path_in(folder.path()).exists(), "the name is left behind");
}

#[tokio::test]
async fn a_process_of_another_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let other = UnixListener::bind(path_in(folder.path())).unwrap();
    for offer in ["{\"version\":2,\"pid\":1,\"sockets\":0}", "hello"] {
        let answers = async {
            let (mut stream, _) = other.accept().await.unwrap();
            stream.write_all(offer.as_bytes()).await.unwrap();
            stream.read(&mut [0]).await.unwrap()
        };
        let (found, heard) = tokio::join!(Predecessor::find(folder.path()), answers);
        assert!(matches!(found, Err(NotTaken::Strange)), "{offer}");
        assert_eq!(heard, 0, "it was asked for something");
    }
}

#[tokio::test]
async fn sockets_that_did_not_come_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let other = UnixListener::bind(path_in(folder.path())).unwrap();
    let answers = async {
        let (mut stream, _) = other.accept().await.unwrap();
        stream.write_all(b"{\"version\":1,\"pid\":1,\"sockets\":2}").await.unwrap();
        stream
    };
    let (found, _stream): (_, UnixStream) = tokio::join!(Predecessor::find(folder.path()), answers);
    assert!(matches!(found, Err(NotTaken::TooFew { got: 0, offered: 2 })));
}
