//! Messages from frames: unmasked, joined and checked, as reads bring them, against tungstenite.

use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};

use criterion::{Criterion, Throughput};
use roomcast::base::buffers::Buffers;
use roomcast::base::prng::Prng;
use roomcast::wire::ws::frame::Opcode;
use roomcast::wire::ws::message::{Assembler, Step};
use tungstenite::error::Error;
use tungstenite::protocol::{Role, WebSocket};

use crate::scenarios::input::{self, Sent, words};

/// Longer than any message here.
const MESSAGE_BYTES_MAX: usize = 2 << 20;
/// What the reactor reads at once.
const READ_BYTES: usize = 256 << 10;

/// A socket that has `bytes` to give, in reads of at most `read` bytes.
struct Stream {
    bytes: Vec<u8>,
    at: usize,
    read: usize,
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.read.min(into.len()).min(self.bytes.len() - self.at);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of all messages that come.
fn ours((assembler, spares): &mut (Assembler, Buffers), bytes: &mut [u8], read: usize) -> usize {
    let mut total = 0;
    for piece in bytes.chunks_mut(read) {
        let mut used = 0;
        loop {
            let (count, step) = assembler
                .step(&mut piece[used..], MESSAGE_BYTES_MAX, spares)
                .expect("a simulated client keeps the rules");
            used += count;
            match step {
                Step::More => break,
                Step::Text(text) => total += black_box(text).len(),
                _ => {}
            }
        }
    }
    total
}

fn theirs(socket: &mut WebSocket<Stream>) -> usize {
    let mut total = 0;
    socket.get_mut().at = 0;
    loop {
        match socket.read() {
            Ok(message) => total += black_box(message).len(),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Short messages, many in a read; middle ones; long ones in pieces; one in many fragments.
pub(crate) fn assembly(criterion: &mut Criterion) {
    let mut prng = Prng::new(1);
    let mut message = |bytes: usize| input::text(&words(bytes, &mut prng), &mut prng);
    let short = (0..1000).flat_map(|_| message(64)).collect();
    let middle = message(16 << 10);
    let long = message(1 << 20);
    let fragments = fragmented(64, 1 << 10, &mut prng);
    let mut group = criterion.benchmark_group("message");
    for (name, bytes, read) in [
        ("1000 of 64 B", short, READ_BYTES),
        ("16 KiB", middle, READ_BYTES),
        ("1 MiB in 64 KiB reads", long.clone(), 64 << 10),
        ("1 MiB in 1400 B reads", long, 1400),
        ("64 fragments of 1 KiB", fragments, READ_BYTES),
    ] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        // Both get a fresh copy per round: ours here, tungstenite's in what stands for its socket.
        let mut sent = Sent::new(bytes.clone());
        let mut assembler = (Assembler::new(), Buffers::new(4 << 20));
        let expected = ours(&mut assembler, sent.fresh(), read);
        group.bench_function(format!("{name}, roomcast"), |b| {
            b.iter(|| ours(&mut assembler, sent.fresh(), read));
        });
        let mut socket = WebSocket::from_raw_socket(Stream { bytes, at: 0, read }, Role::Server, None);
        assert_eq!(theirs(&mut socket), expected, "{name}");
        group.bench_function(format!("{name}, tungstenite"), |b| b.iter(|| theirs(&mut socket)));
    }
}

/// One text message in `count` frames of `bytes` each.
fn fragmented(count: usize, bytes: usize, prng: &mut Prng) -> Vec<u8> {
    let fragment = |i: usize| {
        let opcode = if i == 0 { Opcode::Text } else { Opcode::Continuation };
        input::frame(i + 1 == count, opcode, words(bytes, prng).as_bytes(), prng)
    };
    (0..count).flat_map(fragment).collect()
}
