//! The store against a map that knows no locks, no bytes and no stages.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use sluice_spans::Values;

use super::super::{Staged, Store};
use super::{keys, shown, staged};

#[derive(Debug, Clone)]
enum Step {
    Set {
        key: u8,
        value: u8,
        ttl: u64,
    },
    Add {
        key: u8,
        amount: i8,
        ttl: u64,
    },
    Remove {
        key: u8,
    },
    Swap {
        key: u8,
        expected: Option<u8>,
        new: u8,
    },
    Read,
    /// The call ends well or not.
    Settle(bool),
    /// The request ends well or not.
    End(bool),
    /// So many milliseconds pass.
    Wait(u64),
}

/// Values with the millisecond in which they end.
type Map = BTreeMap<u8, (Plain, u64)>;

#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Text(u8),
    Number(i64),
}

/// A write of a request, by the model.
#[derive(Debug, Clone)]
enum Will {
    Set(Plain, u64),
    Add(i64, u64),
    Remove,
}

#[derive(Default)]
struct Model {
    now: u64,
    stored: Map,
    /// What the request and the call have written, in order.
    request: Vec<(u8, Will)>,
    call: Vec<(u8, Will)>,
    /// As it was when the request and the call began, but for what they have not swapped.
    swaps: Vec<(u8, Option<(Plain, u64)>)>,
    settled_swaps: usize,
}

fn ends(now: u64, ttl: u64) -> u64 {
    if ttl == 0 { u64::MAX } else { now + ttl }
}

impl Model {
    fn done(&self, map: &Map, writes: &[(u8, Will)]) -> Map {
        let mut map = map.clone();
        map.retain(|_, (_, end)| *end > self.now);
        for (key, will) in writes {
            match will {
                Will::Set(plain, ttl) => drop(map.insert(*key, (plain.clone(), ends(self.now, *ttl)))),
                Will::Remove => drop(map.remove(key)),
                Will::Add(amount, ttl) => {
                    let (sum, end) = match map.get(key) {
                        Some((Plain::Number(number), end)) => (number + amount, *end),
                        _ => (*amount, ends(self.now, *ttl)),
                    };
                    map.insert(*key, (Plain::Number(sum), end));
                }
            }
        }
        map
    }

    fn seen(&self) -> Map {
        self.done(&self.stored, &[self.request.clone(), self.call.clone()].concat())
    }

    fn take_back(&mut self, from: usize) {
        for (key, before) in self.swaps.split_off(from).into_iter().rev() {
            match before {
                Some(before) => drop(self.stored.insert(key, before)),
                None => drop(self.stored.remove(&key)),
            }
        }
    }
}

fn name(key: u8) -> String {
    format!("key-{key}")
}

fn all_shown(map: &Map) -> String {
    let one = |key: u8| match map.get(&key) {
        None => "-".to_owned(),
        Some((Plain::Text(text), _)) => format!("v{text}"),
        Some((Plain::Number(number), _)) => format!("i{number}"),
    };
    (0..4).map(one).collect::<Vec<_>>().join(" ")
}

fn step() -> impl Strategy<Value = Step> {
    let (key, ttl) = (0..4_u8, prop_oneof![Just(0), 1..50_u64]);
    let expected = prop_oneof![Just(None), (0..3_u8).prop_map(Some)];
    prop_oneof![
        3 => (key.clone(), 0..3_u8, ttl.clone()).prop_map(|(key, value, ttl)| Step::Set { key, value, ttl }),
        4 => (key.clone(), any::<i8>(), ttl).prop_map(|(key, amount, ttl)| Step::Add { key, amount, ttl }),
        1 => key.clone().prop_map(|key| Step::Remove { key }),
        3 => (key, expected, 0..3_u8).prop_map(|(key, expected, new)| Step::Swap { key, expected, new }),
        2 => Just(Step::Read),
        2 => any::<bool>().prop_map(Step::Settle),
        2 => any::<bool>().prop_map(Step::End),
        2 => (1..40_u64).prop_map(Step::Wait),
    ]
}

fn value(plain: Option<u8>) -> Values {
    match plain {
        Some(text) => Values::string(&format!("v{text}")),
        None => Values { types: vec![0], ..Values::default() },
    }
}

fn swap(staged: &mut Staged, model: &mut Model, key: u8, expected: Option<u8>, new: u8) {
    let result = staged.compare_and_set(&keys(&[&name(key)]), &value(expected), &value(Some(new)), 0);
    let mut pending = model.request.iter().chain(&model.call);
    if pending.any(|(written, _)| *written == key) {
        assert!(result.is_err(), "a swap of what is staged");
        return;
    }
    let stored = model.done(&model.stored, &[]);
    let matches = stored.get(&key).map(|(plain, _)| plain.clone()) == expected.map(Plain::Text);
    assert_eq!(result.unwrap(), [u8::from(matches)], "the swap of {key}");
    if matches {
        model.swaps.push((key, stored.get(&key).cloned()));
        model.stored.insert(key, (Plain::Text(new), u64::MAX));
    }
}

fn take(store: &Arc<Store>, staged_now: &mut Staged, model: &mut Model, step: &Step) {
    match *step {
        Step::Set { key, value: text, ttl } => {
            staged_now.set(&keys(&[&name(key)]), &value(Some(text)), ttl).unwrap();
            model.call.push((key, Will::Set(Plain::Text(text), ttl)));
        }
        Step::Add { key, amount, ttl } => {
            let sum = staged_now.add(&keys(&[&name(key)]), &[i64::from(amount) as u64], ttl).unwrap();
            model.call.push((key, Will::Add(i64::from(amount), ttl)));
            let seen = model.seen().get(&key).map(|(plain, _)| plain.clone());
            assert_eq!(seen, Some(Plain::Number(sum[0] as i64)));
        }
        Step::Remove { key } => {
            staged_now.remove(&keys(&[&name(key)])).unwrap();
            model.call.push((key, Will::Remove));
        }
        Step::Swap { key, expected, new } => swap(staged_now, model, key, expected, new),
        Step::Read => {}
        Step::Settle(well) => {
            staged_now.settle(well);
            if !well {
                model.take_back(model.settled_swaps);
                model.call.clear();
            }
            model.settled_swaps = model.swaps.len();
            model.request.append(&mut model.call);
        }
        Step::End(well) => {
            let ended = std::mem::replace(staged_now, staged(store));
            if well {
                ended.commit();
                model.stored = model.seen();
            } else {
                drop(ended);
                model.take_back(0);
            }
            (model.request, model.call, model.swaps) = Default::default();
            model.settled_swaps = 0;
        }
        Step::Wait(millis) => {
            model.now += millis;
            store.set_time(model.now * 1_000_000);
        }
    }
}

proptest! {
    #[test]
    fn a_store_behaves_like_a_map(steps in prop::collection::vec(step(), 1..80)) {
        let store = Arc::new(Store::timed_by_hand(1 << 20));
        let (mut staged_now, mut model) = (staged(&store), Model::default());
        let names = [name(0), name(1), name(2), name(3)];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for step in steps {
            take(&store, &mut staged_now, &mut model, &step);
            let own = shown(&staged_now.get(&keys(&names), 1 << 20).unwrap());
            prop_assert_eq!(own, all_shown(&model.seen()), "the request's view after {:?}", step);
            let others = super::read(&store, &names);
            prop_assert_eq!(others, all_shown(&model.done(&model.stored, &[])), "the others' view after {:?}", step);
        }
        drop(staged_now);
        // Once everything is removed, nothing is left of the bytes.
        super::request(&store, |staged| staged.remove(&keys(&names))).unwrap();
        prop_assert_eq!(store.bytes(), 0);
    }
}
