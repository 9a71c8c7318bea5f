//! Room in several queues.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use prometheus::{IntCounter, IntGauge, Registry};

use super::super::tests::{now, request, run};
use super::super::{AnyQueue, Figures, Full, OnFull, Queue, Settings, Sizer, Weight};
use super::{Bound, Rooms};
use crate::account::{Account, DestinationAccount};

/// Two queues.
struct Fixture {
    queues: [AnyQueue; 2],
    accounts: [Arc<DestinationAccount>; 2],
}

fn fixture(on_full: OnFull, requests: u64) -> Fixture {
    let account = Account::new(&Registry::new()).unwrap();
    let queue = |exporter| {
        let figures =
            Figures { size: IntGauge::new("a", "a").unwrap(), enqueue_failed: IntCounter::new("b", "b").unwrap() };
        let settings = Settings { on_full, size: Some((Sizer::Requests, requests)), ..Settings::one_by_one() };
        AnyQueue::Memory(Queue::new(exporter, settings, figures))
    };
    let accounts = ["one", "other"].map(|exporter| account.destination("traces", exporter));
    Fixture { queues: ["one", "other"].map(queue), accounts }
}

impl Fixture {
    fn bound<'r>(&'r self, wire: &'r Bytes, queues: &[usize]) -> Vec<Bound<'r>> {
        let bound = |&queue: &usize| Bound {
            queue: &self.queues[queue],
            account: &self.accounts[queue],
            pipeline: "traces",
            wire,
            spans: 1,
        };
        queues.iter().map(bound).collect()
    }

    /// Puts a request in that has a part for each of these queues.
    async fn put(&self, queues: &[usize]) -> Result<(), Full> {
        let wire = request(1);
        Rooms::reserve(&mut self.bound(&wire, queues)).await?.commit();
        Ok(())
    }

    /// Delivers what a queue has first.
    async fn deliver(&self, queue: usize) {
        for taken in self.queues[queue].take().await {
            taken.delivered(0, None, false);
        }
    }

    fn memory(&self, queue: usize) -> &Queue {
        let AnyQueue::Memory(queue) = &self.queues[queue] else { unreachable!("they are all in memory") };
        queue
    }
}

#[test]
fn who_waits_for_one_queue_holds_no_room_in_another() {
    for queues in [[0, 1], [1, 0]] {
        let fixture = fixture(OnFull::Block, 1);
        run(async {
            fixture.put(&[1]).await.unwrap();
            let mut waits = std::pin::pin!(fixture.put(&queues));
            assert!(now(waits.as_mut()).is_none());
            now(fixture.put(&[0])).expect("it waits for nothing that this one needs").unwrap();
            fixture.deliver(1).await;
            assert!(now(waits.as_mut()).is_none(), "now the other one is full");
            now(fixture.put(&[1])).expect("it holds nothing there either").unwrap();
            fixture.deliver(0).await;
            fixture.deliver(1).await;
            waits.await.unwrap();
            assert_eq!([0, 1].map(|queue| fixture.memory(queue).used().requests), [1, 1]);
        });
    }
}

#[test]
fn all_that_need_the_same_rooms_find_them_in_the_end() {
    const EACH: usize = 50;
    for room in 1..=4 {
        let fixture = fixture(OnFull::Block, room);
        let kinds: [&[usize]; 4] = [&[0, 1], &[1, 0], &[0, 0], &[1, 0, 1]];
        let senders = (0..EACH).flat_map(|_| kinds).map(|queues| fixture.put(queues));
        let deliveries = async |queue: usize, count: usize| {
            for _ in 0..count {
                fixture.deliver(queue).await;
            }
        };
        let all = async {
            let (sent, ..) = tokio::join!(join_all(senders), deliveries(0, 5 * EACH), deliveries(1, 4 * EACH));
            sent
        };
        let sent = run(async { tokio::time::timeout(Duration::from_secs(20), all).await });
        let sent = sent.expect("they wait for each other");
        assert!(sent.into_iter().all(|sent| sent.is_ok()));
        assert_eq!([0, 1].map(|queue| fixture.memory(queue).used()), [Weight::default(); 2]);
    }
}

#[test]
fn an_empty_queue_takes_all_of_a_request_and_another_one_nothing_of_it() {
    let fixture = fixture(OnFull::Refuse, 1);
    let put = |queues: &[usize]| now(fixture.put(queues)).expect("nothing here waits");
    put(&[0, 1, 0]).unwrap();
    assert_eq!([0, 1].map(|queue| fixture.memory(queue).used().requests), [2, 1]);
    assert_eq!(put(&[0, 0]).unwrap_err().to_string(), "the queue of exporter one is full");
    assert_eq!(fixture.memory(0).figures.enqueue_failed.get(), 2);
    run(fixture.deliver(0));
    put(&[0]).unwrap_err();
    run(fixture.deliver(0));
    put(&[0, 1]).unwrap_err();
    assert_eq!([0, 1].map(|queue| fixture.memory(queue).used().requests), [0, 1]);
    put(&[0, 0]).unwrap();
}

#[test]
fn several_requests_are_not_one_that_an_empty_queue_takes_whatever_its_size() {
    let (fixture, wire) = (fixture(OnFull::Refuse, 1), request(1));
    assert!(Rooms::try_each(&fixture.bound(&wire, &[0, 1, 0])).is_none());
    assert_eq!([0, 1].map(|queue| fixture.memory(queue).used()), [Weight::default(); 2]);
    Rooms::try_each(&fixture.bound(&wire, &[0, 1])).expect("there is room for one in each").commit();
    assert_eq!([0, 1].map(|queue| fixture.memory(queue).used().requests), [1, 1]);
}
