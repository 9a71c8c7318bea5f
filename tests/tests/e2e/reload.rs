//! What a reload changes beside rules and plugins: receivers and their ports, health checks, the
//! metrics endpoint, the log. All of it or nothing, and nobody notices who need not.

mod beside;
mod files;
mod ports;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use sluice_tests::collector::Sluice;
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::{wait, wire};

/// Writes a config and waits for what the collector says to it.
#[track_caller]
fn reload(sluice: &Sluice, yaml: &str) -> Value {
    let seen = sluice.log().events("reload").len();
    sluice.folder().write("config.yaml", yaml);
    wait::until("the outcome of the reload", || sluice.log().events("reload").into_iter().nth(seen))
}

/// Writes a config, which must be taken.
#[track_caller]
fn applied(sluice: &Sluice, yaml: &str) {
    let told = reload(sluice, yaml);
    assert_eq!(told["outcome"], "applied", "{told}");
}

/// All addresses at which a component has listened for a protocol, in order.
fn addresses(sluice: &Sluice, component: &str, protocol: &str) -> Vec<SocketAddr> {
    let events = sluice.log().events("listening");
    let ours = events.iter().filter(|event| event["component"] == component && event["protocol"] == protocol);
    ours.map(|event| event["address"].as_str().unwrap().parse().unwrap()).collect()
}

#[track_caller]
fn wait_closed(address: SocketAddr) {
    wait::until(&format!("{address} to close"), || TcpStream::connect(address).is_err().then_some(()));
}

/// Connections a second are bounded by the ports that the system has to give.
const PACE: Duration = Duration::from_millis(2);

/// Does something again and again until told to stop.
struct Again<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<T>>>,
}

impl<T: Send + 'static> Again<T> {
    fn and_again(mut work: impl FnMut() -> T + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut done = vec![work()];
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(PACE);
                done.push(work());
            }
            done
        });
        Self { stop, thread: Some(thread) }
    }
}

impl<T> Again<T> {
    fn end(mut self) -> Vec<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl<T> Drop for Again<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends over gRPC, on one connection as long as that lasts, to wherever it is told.
struct Flow {
    to: Arc<Mutex<SocketAddr>>,
    sending: Again<u64>,
}

impl Flow {
    fn start(to: SocketAddr, seed: u64) -> Self {
        let mut client = (to, Grpc::new(to).unwrap());
        let to = Arc::new(Mutex::new(to));
        let (target, mut exporter) = (Arc::clone(&to), Exporter::new(seed));
        let sending = Again::and_again(move || {
            let request = exporter.request(30);
            // What was not answered with success was not taken, so it is sent again.
            wait::until("an answer", || {
                let target = *target.lock().unwrap();
                if client.0 != target {
                    client = (target, Grpc::new(target).unwrap());
                }
                client.1.send(&request).ok()
            });
            wire::count(&request).unwrap()
        });
        Self { to, sending }
    }

    fn turn_to(&self, address: SocketAddr) {
        *self.to.lock().unwrap() = address;
    }

    /// Stops, and gives how many spans were accepted.
    fn end(self) -> u64 {
        self.sending.end().iter().sum()
    }
}
