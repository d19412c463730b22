//! Frame headers, read and written.

use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, Throughput};
use roomcast::base::prng::Prng;
use roomcast::wire::ws::frame::{self, Opcode};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Lengths of payloads in all three forms, the short one as often as it is.
const LENGTHS: [usize; 8] = [5, 40, 64, 90, 120, 400, 16 << 10, 1 << 20];

/// A header of each length, against tungstenite.
pub(crate) fn headers(criterion: &mut Criterion) {
    let mut prng = Prng::new(1);
    let headers = LENGTHS.map(|length| {
        let (mut header, bytes) = frame::write(true, Opcode::Text, length);
        header[1] |= 0x80;
        [&header[..bytes], &prng.next_u64().to_le_bytes()[..4]].concat()
    });
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(LENGTHS.len() as u64));
    group.bench_function("read, roomcast", |b| {
        b.iter(|| {
            for header in black_box(&headers) {
                let _ = black_box(frame::read(header));
            }
        });
    });
    group.bench_function("read, tungstenite", |b| {
        b.iter(|| {
            for header in black_box(&headers) {
                let _ = black_box(FrameHeader::parse(&mut Cursor::new(header)));
            }
        });
    });
    let mut out = Vec::with_capacity(LENGTHS.len() * 10);
    group.bench_function("write, roomcast", |b| {
        b.iter(|| {
            out.clear();
            for length in black_box(LENGTHS) {
                let (header, bytes) = frame::write(true, Opcode::Text, length);
                out.extend_from_slice(&header[..bytes]);
            }
            black_box(&out);
        });
    });
    group.bench_function("write, tungstenite", |b| {
        b.iter(|| {
            out.clear();
            for length in black_box(LENGTHS) {
                let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
                header.format(length as u64, &mut out).expect("a vector takes all");
            }
            black_box(&out);
        });
    });
}
