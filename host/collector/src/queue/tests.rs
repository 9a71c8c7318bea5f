//! The queue against a model of it, and its policies one by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};
use proptest::prelude::*;

use super::trouble::Trouble;
use super::{AnyQueue, Batching, Comes, Figures, Full, Item, OnFull, Queue, Ready, Settings, Sizer, Taken, Weight};
use crate::account::{Account, DestinationAccount, Entry};

/// An `ExportTraceServiceRequest` with this many empty spans, by the protobuf encoding:
/// `resource_spans(1) { scope_spans(2) { spans(2) {} … } }`.
pub(super) fn request(spans: u32) -> Bytes {
    let field = |tag: u8, content: Vec<u8>| {
        let mut bytes = vec![tag];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend(content);
        bytes
    };
    let spans = (0..spans).flat_map(|_| [0x12, 0x00]).collect();
    field(0x0a, field(0x12, spans)).into()
}

struct Fixture {
    queue: Arc<Queue>,
    account: Account,
    destination: Arc<DestinationAccount>,
}

fn fixture(settings: Settings) -> Fixture {
    let account = Account::new(&Registry::new()).unwrap();
    let figures =
        Figures { size: IntGauge::new("a", "a").unwrap(), enqueue_failed: IntCounter::new("b", "b").unwrap() };
    let destination = account.destination("traces", "otlp");
    Fixture { queue: Queue::new("otlp", settings, figures), account, destination }
}

/// What a future says at once, if it does.
pub(super) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

impl Fixture {
    fn put(&self, spans: u32) -> Result<(), Full> {
        let wire = request(spans);
        let mut room = now(self.queue.reserve(Weight::of(wire.len(), spans))).expect("no policy here waits")?;
        room.commit(Item { wire, spans, account: Arc::clone(&self.destination), owed: None });
        Ok(())
    }

    fn take(&self) -> Option<Vec<Taken>> {
        now(self.queue.take())
    }

    /// passed, delivered, failed, dropped, held; what does not add up fails the test.
    fn account(&self) -> [i64; 5] {
        let report = self.account.report();
        let [Entry::Destination { passed, delivered, failed, dropped, held, missing, .. }] = &report[..] else {
            panic!("{report:?}")
        };
        assert_eq!(*missing, 0, "{report:?}");
        [*passed, *delivered, failed.values().sum(), dropped.values().sum(), *held]
    }
}

fn spans(batch: &[Taken]) -> Vec<u32> {
    batch.iter().map(Taken::spans).collect()
}

fn one_by_one(on_full: OnFull, requests: u64) -> Settings {
    Settings { on_full, size: Some((Sizer::Requests, requests)), ..Settings::one_by_one() }
}

fn batching(batch: Batching) -> Settings {
    Settings { batch: Some(batch), ..Settings::default() }
}

#[derive(Debug, Clone)]
enum Op {
    Put(u32),
    Reserve(u32),
    Take,
    Deliver { which: usize, rejected: u64 },
    Fail(usize),
    Lose(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..5u32).prop_map(Op::Put),
        1 => (0..5u32).prop_map(Op::Reserve),
        3 => Just(Op::Take),
        2 => (any::<usize>(), 0..3u64).prop_map(|(which, rejected)| Op::Deliver { which, rejected }),
        1 => any::<usize>().prop_map(Op::Fail),
        1 => any::<usize>().prop_map(Op::Lose),
    ];
    proptest::collection::vec(op, 0..60)
}

/// What the queue has to be like: a list that is never longer than `room` with what was taken.
#[derive(Default)]
struct Model {
    waiting: VecDeque<u32>,
    taken: Vec<u32>,
    delivered: i64,
    failed: i64,
    dropped: i64,
    passed: i64,
}

impl Model {
    /// Puts one in; false if it has to be refused.
    fn put(&mut self, spans: u32, on_full: OnFull, room: usize) -> bool {
        if self.waiting.len() + self.taken.len() >= room {
            match on_full {
                OnFull::Refuse | OnFull::Block => return false,
                OnFull::DropOldest if !self.waiting.is_empty() => {
                    self.dropped += i64::from(self.waiting.pop_front().unwrap());
                }
                OnFull::DropOldest | OnFull::DropNewest => {
                    self.passed += i64::from(spans);
                    self.dropped += i64::from(spans);
                    return true;
                }
            }
        }
        self.passed += i64::from(spans);
        self.waiting.push_back(spans);
        true
    }

    fn account(&self) -> [i64; 5] {
        let held = self.waiting.iter().chain(&self.taken).map(|&spans| i64::from(spans)).sum();
        [self.passed, self.delivered, self.failed, self.dropped, held]
    }
}

proptest! {
    #[test]
    fn it_behaves_as_its_model_and_its_account_adds_up(ops in ops(), room in 1..5usize, policy in 0..3usize) {
        let on_full = [OnFull::Refuse, OnFull::DropNewest, OnFull::DropOldest][policy];
        let fixture = fixture(one_by_one(on_full, room as u64));
        let (mut model, mut taken) = (Model::default(), Vec::new());
        for op in ops {
            match op {
                Op::Put(spans) => prop_assert_eq!(fixture.put(spans).is_ok(), model.put(spans, on_full, room)),
                // A request that is given up between the two steps leaves no trace.
                Op::Reserve(spans) => drop(now(fixture.queue.reserve(Weight::of(10, spans)))),
                Op::Take => {
                    let batch = fixture.take();
                    let expected = model.waiting.pop_front();
                    prop_assert_eq!(batch.as_deref().map(spans), expected.map(|spans| vec![spans]));
                    taken.extend(batch.into_iter().flatten());
                    model.taken.extend(expected);
                }
                Op::Deliver { which, rejected } if !taken.is_empty() => {
                    let which = which % taken.len();
                    let spans = i64::from(model.taken.swap_remove(which));
                    let rejected = rejected.min(spans as u64);
                    prop_assert_eq!(taken.swap_remove(which).delivered(rejected, None, false), spans as u64 - rejected);
                    model.failed += rejected as i64;
                    model.delivered += spans - rejected as i64;
                }
                Op::Fail(which) | Op::Lose(which) if !taken.is_empty() => {
                    let which = which % taken.len();
                    model.failed += i64::from(model.taken.swap_remove(which));
                    let lost = taken.swap_remove(which);
                    // A task that dies with it has failed it.
                    if matches!(op, Op::Fail(_)) { lost.failed("invalid_argument") } else { drop(lost) }
                }
                Op::Deliver { .. } | Op::Fail(_) | Op::Lose(_) => {}
            }
            prop_assert!(fixture.queue.used().requests <= room as u64);
            prop_assert_eq!(fixture.account(), model.account());
        }
        fixture.queue.close();
        prop_assert!(fixture.put(1).is_err());
        drop(taken);
        prop_assert_eq!(fixture.queue.used(), Weight::default());
        prop_assert_eq!(fixture.queue.figures.size.get(), 0);
        prop_assert_eq!(fixture.account()[4], 0);
    }
}

#[test]
fn it_is_bounded_by_bytes_and_takes_one_that_is_larger_than_itself_when_empty() {
    let fixture = fixture(Settings { max_bytes: 100, ..Settings::one_by_one() });
    fixture.put(500).unwrap();
    let full = fixture.put(1).unwrap_err();
    assert_eq!(full.to_string(), "the queue of exporter otlp is full");
    assert_eq!(fixture.queue.figures.enqueue_failed.get(), 1);
    fixture.take().unwrap().remove(0).delivered(0, None, false);
    fixture.put(1).unwrap();
}

#[test]
fn one_that_has_found_no_room_is_trouble_until_there_is_room_for_it() {
    let queue = |on_full| fixture(Settings { max_bytes: 100, on_full, ..Settings::one_by_one() });
    let fixture = queue(OnFull::Refuse);
    let trouble = |fixture: &Fixture| AnyQueue::Memory(Arc::clone(&fixture.queue)).trouble();
    // 44, 44 and 10 bytes of 100: four for the two messages that enclose spans of two each.
    for spans in [20, 20, 3] {
        fixture.put(spans).unwrap();
    }
    assert_eq!(trouble(&fixture), None, "nobody was refused");
    fixture.put(20).unwrap_err();
    assert_eq!(trouble(&fixture), Some(Trouble::Full));
    let (first, _second, third) = (fixture.take().unwrap(), fixture.take().unwrap(), fixture.take().unwrap());
    drop(third);
    assert_eq!(trouble(&fixture), Some(Trouble::Full), "room for three is not room for twenty");
    drop(first);
    assert_eq!(trouble(&fixture), None);
    let dropping = queue(OnFull::DropNewest);
    for _ in 0..5 {
        dropping.put(20).unwrap();
    }
    assert_eq!(trouble(&dropping), None, "it takes everything");
}

#[test]
fn blocked_ones_wait_until_there_is_room() {
    let fixture = fixture(one_by_one(OnFull::Block, 1));
    fixture.put(1).unwrap();
    run(async {
        let mut waits = std::pin::pin!(fixture.queue.reserve(Weight::of(10, 1)));
        assert!(now(waits.as_mut()).is_none());
        let taken = fixture.queue.take().await;
        assert!(now(waits.as_mut()).is_none(), "it is still in memory");
        drop(taken);
        assert!(waits.await.is_ok());
    });
}

#[test]
fn who_needs_little_room_does_not_pass_who_waits_for_much() {
    let size = Some((Sizer::Items, 10));
    let fixture = fixture(Settings { on_full: OnFull::Block, size, ..Settings::one_by_one() });
    let reserve = |spans| fixture.queue.reserve(Weight::of(10, spans));
    let finds_room = |comes| fixture.queue.try_reserve(Weight::of(10, 1), comes).is_ok();
    fixture.put(4).unwrap();
    fixture.put(4).unwrap();
    run(async {
        let mut gives_up = Box::pin(reserve(9));
        let (mut much, mut little) = (std::pin::pin!(reserve(8)), std::pin::pin!(reserve(1)));
        for waits in [gives_up.as_mut(), much.as_mut(), little.as_mut()] {
            assert!(now(waits).is_none());
        }
        assert_eq!([Comes::First, Comes::AfterItsTurn].map(finds_room), [false, true]);
        fixture.queue.take().await;
        assert!(now(little.as_mut()).is_none(), "there is room for it, and others were first");
        drop(gives_up);
        assert!(now(much.as_mut()).is_none(), "it is first, and there is not enough room");
        fixture.queue.take().await;
        assert!(now(little.as_mut()).is_none(), "the other one has not looked yet");
        let much = much.await.unwrap();
        let little = little.await.unwrap();
        assert!(finds_room(Comes::First), "nobody waits");
        drop((much, little));
    });
    assert_eq!(fixture.queue.used(), Weight::default());
}

#[test]
fn requests_go_out_together_as_soon_as_there_are_enough() {
    let fixture = fixture(batching(Batching {
        flush_timeout: Duration::from_hours(1),
        min_size: 10,
        max_size: 12,
        sizer: Sizer::Items,
    }));
    run(async {
        for spans in [4, 5] {
            fixture.put(spans).unwrap();
            assert!(fixture.take().is_none());
        }
        fixture.put(3).unwrap();
        fixture.put(3).unwrap();
        assert_eq!(spans(&fixture.take().unwrap()), [4, 5, 3], "no more than 12");
        assert!(fixture.take().is_none());
    });
}

#[test]
fn a_batch_goes_out_after_its_time_however_small() {
    let fixture = fixture(batching(Batching { flush_timeout: Duration::from_millis(1), ..Batching::default() }));
    fixture.put(1).unwrap();
    fixture.put(2).unwrap();
    assert_eq!(spans(&run(fixture.queue.take())), [1, 2]);
}

#[test]
fn a_draining_queue_waits_for_nothing() {
    let fixture = fixture(batching(Batching { flush_timeout: Duration::from_hours(1), ..Batching::default() }));
    fixture.put(1).unwrap();
    run(async {
        let taking = async { assert_eq!(spans(&fixture.queue.take().await), [1]) };
        tokio::join!(taking, fixture.queue.drained());
    });
}

#[test]
fn a_request_that_is_too_large_goes_out_in_parts_and_each_weighs_until_it_has_gone() {
    let batch = Batching { flush_timeout: Duration::ZERO, min_size: 1, max_size: 100, sizer: Sizer::Items };
    let fixture = fixture(batching(batch));
    fixture.put(250).unwrap();
    let mut parts = Vec::new();
    while parts.iter().map(Taken::spans).sum::<u32>() < 250 {
        let [part] = <[Taken; 1]>::try_from(run(fixture.queue.take())).ok().unwrap();
        assert!(part.spans() <= 100);
        assert_eq!(sluice_spans::count_spans(part.wire()).unwrap(), part.spans());
        parts.push(part);
    }
    assert_eq!(parts.len(), 3);
    // The last part may be the first to arrive: the queue is not empty before all have.
    let mut left = 250;
    while let Some(part) = parts.pop() {
        assert_eq!(fixture.queue.used().spans, left);
        left -= part.delivered(0, None, false);
        assert_eq!(fixture.account()[1], 250 - left as i64);
    }
    assert_eq!(fixture.queue.used(), Weight::default());
    assert_eq!(fixture.account(), [250, 250, 0, 0, 0]);
}

#[test]
fn of_a_request_that_is_cut_while_the_queue_closes_all_parts_are_shut_out() {
    let batch = Batching { flush_timeout: Duration::ZERO, min_size: 1, max_size: 100, sizer: Sizer::Items };
    let fixture = fixture(batching(batch));
    fixture.put(250).unwrap();
    let Ready::Now(whole) = fixture.queue.ready(&mut fixture.queue.state(), Instant::now()) else {
        panic!("it is not ready")
    };
    fixture.queue.close();
    let [first] = <[Taken; 1]>::try_from(fixture.queue.fit(whole)).ok().unwrap();
    // The one that has it is told to stop.
    assert_eq!((first.spans(), first.shut_out()), (100, 100));
    assert_eq!(fixture.account(), [250, 0, 250, 0, 0]);
    assert_eq!(fixture.queue.shut_out(), 250);
    assert_eq!(fixture.queue.used(), Weight::default());
}

#[test]
fn what_comes_too_late_for_a_closed_queue_has_failed() {
    let fixture = fixture(Settings::one_by_one());
    let wire = request(3);
    let mut room = now(fixture.queue.reserve(Weight::of(wire.len(), 3))).unwrap().unwrap();
    fixture.put(2).unwrap();
    fixture.queue.close();
    room.commit(Item { wire, spans: 3, account: fixture.destination.clone(), owed: None });
    assert_eq!(fixture.account(), [5, 0, 5, 0, 0]);
    assert_eq!(fixture.queue.shut_out(), 5);
    assert_eq!(fixture.queue.used(), Weight::default());
}
