//! Over real sockets on ports that the system chose.

use std::io::Read;
use std::net::TcpStream as Client;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, bounded};

use super::*;
use crate::base::hash::Keys;
use crate::config::endpoint::Place;
use crate::config::setting::ByAddress;
use crate::server::admission::Caps;
use crate::server::listener::bind;

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    addresses: Vec<SocketAddr>,
    shards: Vec<Receiver<Accepted<Ticket>>>,
    admission: Arc<Admission>,
    stop: Stop,
    thread: JoinHandle<io::Result<()>>,
}

fn prepare(caps: Caps, shards: u16, lane: usize, listeners: usize) -> (Acceptor, Running) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listeners = bind(&vec![any.into(); listeners], None).unwrap();
    let addresses = listeners.iter().map(|listener| match listener.place {
        Place::Inet(address) => address,
        Place::Unix(_) => any,
    });
    let addresses = addresses.collect();
    let gauges = (0..shards).map(|_| Default::default()).collect();
    let admission = Admission::new(caps, Keys::new([1; 16]), Arc::default(), gauges);
    let (doors, shards) = (0..shards)
        .map(|_| {
            let (lane, receiver) = bounded(lane);
            (Door { lane, wake: Arc::default() }, receiver)
        })
        .unzip();
    let (doors, all) = (doors, Arc::clone(&admission));
    let acceptor = Acceptor::new(listeners, doors, all, Proxies::default(), b"", Clock::start()).unwrap();
    let stop = acceptor.stopper();
    (acceptor, Running { addresses, shards, admission, stop, thread: thread::spawn(|| Ok(())) })
}

fn start(caps: Caps, shards: u16, lane: usize, listeners: usize) -> Running {
    let (acceptor, running) = prepare(caps, shards, lane, listeners);
    Running { thread: thread::spawn(|| acceptor.run()), ..running }
}

const NO_CAPS: Caps = Caps {
    connections_max: 1000,
    per_address: ByAddress::OFF,
    handshake_rate: ByAddress::OFF,
    ban_time: ByAddress::OFF,
    memory_max: None,
};

/// Waits for something that another thread is about to do.
fn until(condition: impl Fn() -> bool) {
    let step = Duration::from_millis(1);
    for _ in 0..PATIENCE.as_millis() {
        if condition() {
            return;
        }
        thread::park_timeout(step);
    }
    panic!("waited in vain");
}

fn read_all(client: &mut Client) -> String {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an answer and an end, no reset");
    text
}

#[test]
fn sockets_arrive_ready_for_use_from_every_listener() {
    let running = start(NO_CAPS, 1, 10, 3);
    for &address in &running.addresses {
        let client = Client::connect(address).unwrap();
        let accepted = running.shards[0].recv_timeout(PATIENCE).unwrap();
        assert_eq!(accepted.address, client.local_addr().ok());
        assert!(accepted.stream.nodelay().unwrap());
        let error = (&accepted.stream).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "nonblocking");
    }
    running.stop.stop().unwrap();
    running.thread.join().unwrap().unwrap();
}

#[cfg(unix)]
#[test]
fn a_lodger_rings_when_there_is_something_to_do() {
    let (mut acceptor, running) = prepare(NO_CAPS, 1, 10, 1);
    let mut host = Poll::new().unwrap();
    acceptor.move_in(host.registry(), Token(7)).unwrap();
    assert_eq!(acceptor.step().unwrap(), Next::Within(None), "nobody waits");
    let mut events = Events::with_capacity(4);
    for _ in 0..2 {
        let _client = Client::connect(running.addresses[0]).unwrap();
        host.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(events.iter().any(|event| event.token() == Token(7)));
        assert_eq!(acceptor.step().unwrap(), Next::Within(None));
        assert!(running.shards[0].try_recv().is_ok());
    }
    acceptor.stopper().stop().unwrap();
    host.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty());
    assert_eq!(acceptor.step().unwrap(), Next::Over);
}

#[test]
fn each_goes_to_the_shard_with_the_fewest() {
    let running = start(NO_CAPS, 3, 10, 1);
    let mut held = Vec::new();
    for round in 0..9 {
        let client = Client::connect(running.addresses[0]).unwrap();
        // Nothing is taken out of the lanes: what is on the way counts, too.
        until(|| running.admission.open() > round);
        held.push(client);
    }
    until(|| running.shards.iter().all(|lane| lane.len() == 3));
    // Two leave shard 1; the next two go there.
    drop((running.shards[1].recv().unwrap(), running.shards[1].recv().unwrap()));
    let _more =
        [Client::connect(running.addresses[0]).unwrap(), Client::connect(running.addresses[0]).unwrap()];
    until(|| running.shards.iter().all(|lane| lane.len() == 3));
    running.stop.stop().unwrap();
    running.thread.join().unwrap().unwrap();
    drop(running.shards);
    assert_eq!(running.admission.open(), 0, "undelivered sockets are given back");
}

#[test]
fn over_capacity_is_told_and_room_is_used_again() {
    let running = start(Caps { connections_max: 1, ..NO_CAPS }, 1, 10, 1);
    let _first = Client::connect(running.addresses[0]).unwrap();
    let accepted = running.shards[0].recv_timeout(PATIENCE).unwrap();
    let mut second = Client::connect(running.addresses[0]).unwrap();
    let answer = read_all(&mut second);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 5"), "{answer}");
    drop(accepted);
    let _third = Client::connect(running.addresses[0]).unwrap();
    assert!(running.shards[0].recv_timeout(PATIENCE).is_ok());
    running.stop.stop().unwrap();
    running.thread.join().unwrap().unwrap();
}

#[test]
fn too_many_from_one_address_is_told() {
    let running = start(Caps { connections_max: 10, per_address: ByAddress::all(1), ..NO_CAPS }, 1, 10, 1);
    let _first = Client::connect(running.addresses[0]).unwrap();
    let _accepted = running.shards[0].recv_timeout(PATIENCE).unwrap();
    let answer = read_all(&mut Client::connect(running.addresses[0]).unwrap());
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert_eq!(running.admission.open(), 1);
    running.stop.stop().unwrap();
    running.thread.join().unwrap().unwrap();
}

#[test]
fn connections_wait_while_no_shard_has_room() {
    let running = start(NO_CAPS, 2, 1, 1);
    let clients: Vec<_> = (0..20).map(|_| Client::connect(running.addresses[0]).unwrap()).collect();
    let mut peers = Vec::new();
    while peers.len() < clients.len() {
        for lane in &running.shards {
            if let Ok(accepted) = lane.recv_timeout(Duration::from_millis(1)) {
                peers.push(accepted.address);
            }
        }
    }
    peers.sort_unstable();
    let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().ok()).collect();
    expected.sort_unstable();
    assert_eq!(peers, expected, "nobody lost, nobody twice");
    running.stop.stop().unwrap();
    running.thread.join().unwrap().unwrap();
}

#[test]
fn stop_closes_the_listeners_at_once() {
    let running = start(NO_CAPS, 1, 1, 2);
    running.stop.stop().unwrap();
    running.thread.join().unwrap().unwrap();
    for address in running.addresses {
        assert!(Client::connect(address).is_err(), "refused by the kernel");
    }
}

/// A pause must end by itself: no edge will come for those who wait already.
#[test]
fn a_pause_remembers_who_waits_and_sleeps_until_its_end() {
    let (mut acceptor, running) = prepare(NO_CAPS, 1, 1, 1);
    let clients: Vec<_> = (0..2).map(|_| Client::connect(running.addresses[0]).unwrap()).collect();
    let start = Mono(1_000_000);
    while running.shards[0].is_empty() {
        acceptor.listeners[0].waiting = true;
        acceptor.turn(start);
    }
    acceptor.paused_until = Mono(0);
    acceptor.turn(start);
    assert_eq!(acceptor.sleep(start), Some(SHARDS_FULL_PAUSE), "the second waits for room");
    running.shards[0].recv().unwrap();
    acceptor.turn(start + Duration::from_millis(1));
    assert!(running.shards[0].is_empty(), "not before the end of the pause");
    let end = start + SHARDS_FULL_PAUSE;
    assert_eq!(acceptor.sleep(end), Some(Duration::ZERO));
    let mut tries = 0;
    while running.shards[0].is_empty() && tries < 1_000_000 {
        acceptor.paused_until = Mono(0);
        acceptor.listeners[0].waiting = true;
        acceptor.turn(end);
        tries += 1;
    }
    assert_eq!(running.shards[0].recv().unwrap().address, clients[1].local_addr().ok());
}

/// The limit on descriptors is the whole process's, so this test runs itself again in one of its own.
#[cfg(unix)]
#[test]
fn out_of_descriptors() {
    const INSIDE: &str = "ROOMCAST_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(INSIDE).is_some() {
        return with_few_descriptors();
    }
    let child = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -n 40 && exec "$0" --exact server::acceptor::tests::out_of_descriptors"#])
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}

#[cfg(unix)]
fn with_few_descriptors() {
    let (mut acceptor, running) = prepare(NO_CAPS, 1, 100, 1);
    let mut clients: Vec<_> =
        std::iter::from_fn(|| Client::connect(running.addresses[0]).ok()).take(100).collect();
    assert!(clients.len() < 100, "the limit does not hold");
    let start = Mono(1_000_000);
    acceptor.turn(start);
    assert!(running.shards[0].is_empty());
    assert_eq!(acceptor.exhausted_at, Some(start));
    assert_eq!(acceptor.sleep(start), Some(EXHAUSTED_PAUSE), "no spinning");

    // Descriptors come back: those who wait are accepted without a new event, after the pause.
    let waiting = clients.len();
    clients.truncate(waiting / 3);
    let freed = waiting - clients.len();
    acceptor.turn(start + Duration::from_millis(1));
    assert!(running.shards[0].is_empty());
    let next = start + EXHAUSTED_PAUSE;
    acceptor.turn(next);
    assert_eq!(running.shards[0].try_iter().count(), freed, "as many as there are descriptors");
    assert_eq!(acceptor.sleep(next), Some(EXHAUSTED_PAUSE));
    acceptor.turn(next + EXHAUSTED_PAUSE);
    assert_eq!(running.shards[0].try_iter().count(), waiting - freed, "nobody is forgotten");
    assert_eq!(acceptor.sleep(next + EXHAUSTED_PAUSE), None);
}

#[test]
fn exhaustion_pauses_and_one_lost_connection_does_not() {
    // ENFILE, EMFILE, ENOBUFS, ENOMEM, and a number nobody knows.
    for code in [23, 24, 105, 12, 9999] {
        assert!(!is_about_one_connection(io::Error::from_raw_os_error(code).kind()), "{code}");
    }
    // EINTR, ECONNABORTED, ECONNRESET, ENETDOWN, EPERM.
    #[cfg(target_os = "linux")]
    for code in [4, 103, 104, 100, 1] {
        assert!(is_about_one_connection(io::Error::from_raw_os_error(code).kind()), "{code}");
    }
    let (mut acceptor, _running) = prepare(NO_CAPS, 1, 1, 1);
    let error = io::Error::from_raw_os_error(24);
    acceptor.report(&error, Mono(5));
    assert_eq!(acceptor.exhausted_at, Some(Mono(5)));
}
