#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;

/// The connections that are open in all of the process.
fn open(admission: &Admission) -> usize {
    admission.within.as_ref().unwrap_or(&admission.shared).connections.load(Ordering::Relaxed)
}

#[test]
fn the_budget_is_never_exceeded_and_comes_back() {
    let admission = Admission::new(100);
    let (mut one, mut two) = (admission.connection().charge(), admission.connection().charge());
    one.take(60).unwrap();
    assert_eq!(two.take(41), Err(OverBudget));
    two.take(40).unwrap();
    assert_eq!(admission.used(), 100);
    assert_eq!(open(&admission), 2);
    drop(one);
    assert_eq!((admission.used(), open(&admission)), (40, 1));
    two.give_back(30);
    assert_eq!((admission.used(), admission.shared.holders.load(Ordering::Relaxed)), (10, 1));
    two.give_back(10);
    assert_eq!((admission.used(), admission.shared.holders.load(Ordering::Relaxed)), (0, 0));
    two.take(100).unwrap();
    drop(two);
    assert_eq!((admission.used(), open(&admission)), (0, 0));
}

#[test]
fn what_a_receiver_s_budget_takes_is_taken_from_the_process_s_and_none_is_left_behind() {
    let process = Admission::new(100);
    let (one, other) = (process.part(30), process.part(usize::MAX));
    let (mut first, mut second) = (one.connection().charge(), other.connection().charge());
    first.take(30).unwrap();
    assert_eq!(one.connection().charge().take(1), Err(OverBudget), "its own is spent");
    assert_eq!((process.used(), one.used()), (30, 30));
    second.take(70).unwrap();
    first.give_back(10);
    let mut third = one.connection().charge();
    assert_eq!((third.take(11), process.used()), (Err(OverBudget), 90), "11 are not there in its own");
    second.take(10).unwrap();
    assert_eq!((third.take(1), one.used()), (Err(OverBudget), 20), "the process's is spent");
    drop((first, second, third));
    for (budget, held) in [(&process, 0), (&one, 0), (&other, 0)] {
        assert_eq!((budget.used(), open(budget)), (held, 0));
        assert_eq!(budget.shared.holders.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn who_waits_gets_what_is_given_back_in_its_receiver_s_budget_or_in_the_process_s() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let process = Admission::new(100);
        let (one, other) = (process.part(50), process.part(usize::MAX));
        for (full, bytes) in [(&one, 50), (&other, 100)] {
            let (mut holds, mut waits) = (full.connection().charge(), one.connection().charge());
            holds.grow(bytes).await.unwrap();
            let gives_back = async {
                tokio::task::yield_now().await;
                drop(holds);
            };
            let (grown, ()) = tokio::join!(waits.grow(40), gives_back);
            grown.unwrap();
        }
        assert_eq!(one.connection().charge().grow(51).await, Err(OverBudget), "what can never fit does not wait");
    });
}

#[test]
fn huge_requests_leave_room_for_small_ones() {
    let admission = Admission::new(64 << 20);
    let (mut huge, mut small) = (admission.connection().charge(), admission.connection().charge());
    assert_eq!(huge.take((56 << 20) + 1), Err(OverBudget));
    huge.take(56 << 20).unwrap();
    small.take(1 << 20).unwrap();
    assert_eq!(small.take(1), Err(OverBudget), "it is no small one any more");
    let mut others: Vec<_> = (0..7).map(|_| admission.connection().charge()).collect();
    for other in &mut others {
        other.take(1 << 20).unwrap();
    }
    assert_eq!(admission.used(), 64 << 20);
}

#[test]
fn a_connection_with_many_requests_leaves_room_for_others() {
    let admission = Admission::new(100);
    let greedy = admission.connection();
    let mut charges: Vec<_> = (0..20).map(|_| greedy.charge()).collect();
    let taken = charges.iter_mut().filter_map(|charge| charge.take(10).ok()).count();
    assert_eq!((taken, admission.used()), (5, 50), "half of the budget");
    // Two others: an even share is a third.
    let (other, third) = (admission.connection(), admission.connection());
    let (mut first, mut second, mut more) = (other.charge(), other.charge(), other.charge());
    let mut single = third.charge();
    single.take(1).unwrap();
    first.take(20).unwrap();
    second.take(13).unwrap();
    assert_eq!(more.take(1), Err(OverBudget), "34 of 100 among three");
    // One request alone may have what is there.
    single.take(16).unwrap();
    assert_eq!(admission.used(), 100);
    drop((charges, first, second, single, more));
    assert_eq!((admission.used(), admission.shared.holders.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn who_finds_no_room_gets_what_is_given_back_in_a_moment() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let admission = Admission::new(100);
        let (mut one, mut two) = (admission.connection().charge(), admission.connection().charge());
        one.grow(100).await.unwrap();
        let gives_back = async {
            tokio::task::yield_now().await;
            drop(one);
        };
        let (grown, ()) = tokio::join!(two.grow(50), gives_back);
        grown.unwrap();
        let mut three = admission.connection().charge();
        assert_eq!(three.grow(60).await, Err(OverBudget), "nobody gives anything back");
        assert_eq!(admission.shared.waiting.load(Ordering::SeqCst), 0);
        assert_eq!(three.grow(101).await, Err(OverBudget), "what can never fit does not wait");
        admission.resize(200);
        three.grow(101).await.unwrap();
    });
}

#[test]
fn who_waits_in_vain_does_not_keep_itself_awake() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let process = Admission::new(100);
        let (one, other) = (process.part(usize::MAX), process.part(usize::MAX));
        let (mut holds, mut waits) = (other.connection().charge(), one.connection().charge());
        holds.grow(100).await.unwrap();
        // Its own budget has room for it, and that of the process has not.
        let (mut polls, mut grown) = (0, std::pin::pin!(waits.grow(10)));
        let refused = std::future::poll_fn(|context| {
            polls += 1;
            Future::poll(grown.as_mut(), context)
        });
        assert_eq!(refused.await, Err(OverBudget));
        assert!(polls < 10, "it was woken {polls} times");
    });
}

#[test]
fn it_is_crowded_when_the_process_has_more_than_32_connections_whichever_receiver_s_they_are() {
    let process = Admission::new(100);
    let (one, other) = (process.part(30), process.part(usize::MAX));
    let mut all: Vec<Share> = (0..32).map(|i| if i % 2 == 0 { one.connection() } else { other.connection() }).collect();
    assert!(!all.iter().any(Share::is_crowded));
    all.push(other.connection());
    assert!(all.iter().all(Share::is_crowded) && one.connection().charge().is_crowded());
    all.pop();
    assert!(!all.iter().any(Share::is_crowded));
}

#[test]
fn room_that_was_taken_only_for_a_moment_is_found_although_nobody_tells_of_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let process = Admission::new(100);
        let (mut holds, mut waits) = (process.connection().charge(), process.connection().charge());
        holds.take(100).unwrap();
        let puts_back = async {
            tokio::task::yield_now().await;
            holds.share.held.iter().for_each(|held| held.put_back(0, 100));
            holds.bytes = 0;
        };
        let began = Instant::now();
        let (grown, ()) = tokio::join!(waits.grow(40), puts_back);
        grown.unwrap();
        assert!(began.elapsed() < PATIENCE, "it was refused first");
        assert_eq!(process.used(), 40);
    });
}

#[test]
fn large_requests_leave_room_for_what_very_many_connections_take_but_for_half_of_the_budget() {
    const MIB: usize = 1 << 20;
    // Of 64 MiB the last eighth is for small ones; 24 KiB for each connection beyond 32.
    for (connections, most) in [(32, 56), (32 + 512, 56 - 12), (32 + 1024, 56 - 24), (10_000, 32)] {
        let admission = Admission::new(64 * MIB);
        let shares: Vec<Share> = (0..connections).map(|_| admission.connection()).collect();
        let (mut large, mut small) = (shares[0].charge(), shares[1].charge());
        assert_eq!(large.take(most * MIB + 1), Err(OverBudget), "{connections}");
        large.take(most * MIB).unwrap();
        small.take(MIB).unwrap();
    }
}
