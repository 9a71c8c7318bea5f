//! Whether it says that it takes no requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::super::AnyQueue;
use super::super::super::trouble::Trouble;
use super::{Item, OnFull, Process, Settings, request, run, settings};

#[test]
fn a_disk_that_fails_is_trouble_until_it_has_recovered_or_the_next_one_may_try() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, Settings { max_bytes: 1 << 20, ..Settings::one_by_one() });
        let queue = AnyQueue::Durable(Arc::clone(&process.durable));
        let put = async || {
            let wire = request(10_000);
            let mut room = process.room("traces", wire.len(), 10_000).await.unwrap();
            let account = process.account.destination("traces", "otlp");
            room.commit(Item { wire, spans: 10_000, account, owed: None }).unwrap().landed().await
        };
        put().await.unwrap();
        let folder = process.lease.dir().clone();
        // Without its folder it can begin no segment.
        std::fs::remove_dir_all(&folder).unwrap();
        while put().await.is_ok() {}
        assert_eq!(queue.trouble(), Some(Trouble::Disk));
        *process.durable.failed.lock().unwrap() = Instant::now().checked_sub(Duration::from_secs(6));
        assert_eq!(queue.trouble(), None, "nobody would ever try again");
        put().await.unwrap_err();
        assert_eq!(queue.trouble(), Some(Trouble::Disk));
        std::fs::create_dir_all(&folder).unwrap();
        put().await.unwrap();
        assert_eq!(queue.trouble(), None);
    });
}

#[test]
fn a_full_one_on_disk_is_trouble_until_something_has_left() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, settings(OnFull::Refuse, 1));
        let queue = AnyQueue::Durable(Arc::clone(&process.durable));
        process.put("traces", 1).await.unwrap();
        assert_eq!(queue.trouble(), None);
        process.put("traces", 1).await.unwrap_err();
        assert_eq!(queue.trouble(), Some(Trouble::Full));
        process.take().await.pop().unwrap().delivered(0, None, false);
        assert_eq!(queue.trouble(), None);
        process.put("traces", 1).await.unwrap();
    });
}
