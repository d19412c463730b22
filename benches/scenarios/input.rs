//! What simulated clients send: texts, frames and requests, the same in every run.

use roomcast::base::prng::Prng;
use roomcast::wire::ws::frame::{self, Opcode};
use roomcast::wire::ws::mask::unmask;

/// Bytes of a mask key.
const KEY_BYTES: usize = 4;
/// Of the header's second byte: the frame is masked.
const MASKED: u8 = 0x80;

/// Exactly `bytes` of ASCII words without anything that JSON escapes.
pub(crate) fn words(bytes: usize, prng: &mut Prng) -> String {
    let letter = |prng: &mut Prng| match prng.below(6) {
        0 => ' ',
        _ => char::from(b'a' + prng.below(26).to_le_bytes()[0]),
    };
    (0..bytes).map(|_| letter(prng)).collect()
}

/// A frame as a client sends it.
pub(crate) fn frame(fin: bool, opcode: Opcode, payload: &[u8], prng: &mut Prng) -> Vec<u8> {
    let (mut header, length) = frame::write(fin, opcode, payload.len());
    header[1] |= MASKED;
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&prng.next_u64().to_le_bytes()[..KEY_BYTES]);
    let mut bytes = [&header[..length], &key, payload].concat();
    unmask(&mut bytes[length + KEY_BYTES..], key, 0);
    bytes
}

/// A text message in one frame.
pub(crate) fn text(payload: &str, prng: &mut Prng) -> Vec<u8> {
    frame(true, Opcode::Text, payload.as_bytes(), prng)
}

/// A `chat_message` of 40 letters: what people send.
pub(crate) fn chat(room: &str, prng: &mut Prng) -> String {
    format!("{{\"type\":\"chat_message\",\"room\":\"{room}\",\"message\":\"{}\"}}", words(40, prng))
}

/// A `chat_message` whose payload is an array of `count` small objects.
pub(crate) fn objects(count: u64) -> String {
    let point = |i: u64| format!("{{\"id\":{i},\"x\":{}.5,\"y\":-{},\"seen\":true}}", i * 7, i * 31);
    let points = (0..count).map(point).collect::<Vec<_>>().join(",");
    format!("{{\"type\":\"chat_message\",\"room\":\"lobby\",\"message\":{{\"points\":[{points}]}}}}")
}

/// The request that opens a WebSocket, with the headers that a browser sends.
pub(crate) fn upgrade(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\n\
         Host: 127.0.0.1:8080\r\n\
         Connection: Upgrade\r\n\
         Pragma: no-cache\r\n\
         Cache-Control: no-cache\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n\
         Upgrade: websocket\r\n\
         Origin: http://127.0.0.1:8080\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br\r\n\
         Accept-Language: en-GB,en;q=0.9\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    .into_bytes()
}

/// Bytes that are sent again and again. The shard unmasks where they lie, so each sending is a fresh copy, as it would
/// be from the kernel.
pub(crate) struct Sent {
    original: Vec<u8>,
    buffer: Vec<u8>,
}

impl Sent {
    pub(crate) fn new(original: Vec<u8>) -> Sent {
        Sent { buffer: original.clone(), original }
    }

    pub(crate) fn fresh(&mut self) -> &mut [u8] {
        self.buffer.copy_from_slice(&self.original);
        &mut self.buffer
    }
}
