//! The log from outside: what it promises, over crashes, damage and disks that fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod basics;
mod damage;
mod direct;
mod faults;
mod faulty_disk;
mod forgets;
mod format;
mod kill;
mod limits;
mod model;
mod steps;
mod syncs;
