//! Room for several parts of one request.

use std::sync::Arc;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge};

use super::super::super::{AnyQueue, Bound, Full, Queue, Queued, Rooms};
use super::{Figures, NoRoom, OnFull, Process, Settings, now, request, run, settings};

/// Puts these parts into these queues.
async fn put(process: &Process, parts: &[(&AnyQueue, &Bytes, u32)]) -> Result<Queued, Full> {
    let account = process.account.destination("traces", "otlp");
    let bound = |&(queue, wire, spans)| Bound { queue, account: &account, pipeline: "traces", wire, spans };
    let mut bound: Vec<_> = parts.iter().map(bound).collect();
    Ok(Rooms::reserve(&mut bound).await?.commit())
}

#[test]
fn an_empty_log_takes_all_parts_of_a_request() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, settings(OnFull::Refuse, 1));
        let (queue, wires) = (AnyQueue::Durable(Arc::clone(&process.durable)), [request(3), request(50)]);
        let parts = [(&queue, &wires[0], 3), (&queue, &wires[1], 50)];
        for landing in put(&process, &parts).await.unwrap().landings {
            landing.landed().await.unwrap();
        }
        assert_eq!(process.durable.disk.log.figures().records, 2);
        assert_eq!(put(&process, &parts).await.err().map(|full| full.why), Some(NoRoom::Full));
        for spans in [3, 50] {
            let taken = process.take().await.pop().unwrap();
            assert_eq!(taken.delivered(0, None, false), spans);
        }
        assert_eq!(process.account("traces"), [53, 53, 0, 0, 0, 0, 0]);
        assert_eq!(process.durable.held(), 0);
    });
}

#[test]
fn parts_that_would_never_fit_together_are_told_from_those_that_do_not_fit_now() {
    let dir = tempfile::tempdir().unwrap();
    for on_full in [OnFull::Refuse, OnFull::Block, OnFull::DropNewest, OnFull::DropOldest] {
        run(async {
            let process = Process::start(&dir, Settings { max_bytes: 64 << 10, on_full, ..Settings::one_by_one() });
            let (queue, wire) = (AnyQueue::Durable(Arc::clone(&process.durable)), request(15_000));
            let part = (&queue, &wire, 15_000);
            let refused = put(&process, &[part, part]).await.err().map(|full| full.why);
            assert_eq!(refused, Some(NoRoom::TooLarge), "{on_full:?}");
            assert_eq!(process.durable.disk.log.figures().waiting_bytes, 0);
            drop(process.room("traces", wire.len(), 15_000).await.unwrap());
        });
    }
}

#[test]
fn who_waits_for_another_queue_holds_nothing_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, settings(OnFull::Block, 1));
        let figures =
            Figures { size: IntGauge::new("a", "a").unwrap(), enqueue_failed: IntCounter::new("b", "b").unwrap() };
        let memory = AnyQueue::Memory(Queue::new("other", settings(OnFull::Block, 1), figures));
        let (queue, wire) = (AnyQueue::Durable(Arc::clone(&process.durable)), request(1));
        put(&process, &[(&memory, &wire, 1)]).await.unwrap();
        let both = [(&queue, &wire, 1), (&memory, &wire, 1)];
        let mut waits = std::pin::pin!(put(&process, &both));
        assert!(now(waits.as_mut()).is_none());
        assert_eq!((process.durable.held(), process.durable.disk.log.figures().waiting_bytes), (0, 0));
        memory.take().await.pop().unwrap().delivered(0, None, false);
        for landing in waits.await.unwrap().landings {
            landing.landed().await.unwrap();
        }
        assert_eq!(process.durable.held(), 1);
    });
}
