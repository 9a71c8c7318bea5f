//! What waits longer than `max_age`.

use std::sync::Arc;
use std::time::Duration;

use super::{Process, Settings, run};

const MAX_AGE: Duration = Duration::from_millis(40);

/// Waits until the account of this pipeline is so.
async fn becomes(process: &Process, pipeline: &str, expected: [i64; 7]) {
    let so = async {
        while process.account(pipeline) != expected {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), so).await;
    assert!(in_time.is_ok(), "{pipeline}: {:?} is not {expected:?}", process.account(pipeline));
}

#[test]
fn it_is_dropped_and_counted_unless_it_is_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, Settings::one_by_one());
        process.put("traces/a", 1).await.unwrap();
        let on_its_way = process.take().await.pop().unwrap();
        process.put("traces/b", 20).await.unwrap();
        let dropping = tokio::spawn(Arc::clone(&process.durable).drop_old(MAX_AGE));
        becomes(&process, "traces/b", [20, 0, 0, 20, 0, 0, 0]).await;
        assert_eq!(process.account("traces/a"), [1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(process.durable.held(), 1);
        on_its_way.delivered(0, None, false);
        process.put("traces/c", 300).await.unwrap();
        becomes(&process, "traces/c", [300, 0, 0, 300, 0, 0, 0]).await;
        assert_eq!((process.account("traces/a")[1], process.durable.held()), (1, 0));
        // When the queue is left it ends.
        process.durable.close();
        dropping.await.unwrap();
    });
}

#[test]
fn what_an_earlier_process_has_left_is_dropped_as_well() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        Process::start(&dir, Settings::one_by_one()).put("traces", 5).await.unwrap();
        let process = Process::start(&dir, Settings::one_by_one());
        let dropping = tokio::spawn(Arc::clone(&process.durable).drop_old(MAX_AGE));
        becomes(&process, "traces", [5, 0, 0, 5, 0, 5, 0]).await;
        process.durable.close();
        dropping.await.unwrap();
    });
}
