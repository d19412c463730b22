//! A peer for comparisons: echo and rooms on fastwebsockets, on one thread.
//!
//! Written to show the library at its best: the upgrade is made by hand (no HTTP library), texts are shared between
//! members, and a connection gathers all that is ready before it flushes. No numbers, no history, no limits.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use base64::Engine as _;
use bytes::Bytes;
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket, WebSocketWrite};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_rooms::{Member, Part};

fn main() -> std::io::Result<()> {
    tokio_rooms::run(serve)
}

async fn serve(mut socket: TcpStream, part: Part<Bytes>) {
    if upgrade(&mut socket).await.is_none() {
        return;
    }
    match part {
        None => echo(socket).await,
        Some((member, inbox)) => take_part(socket, member, inbox).await,
    }
}

async fn upgrade(socket: &mut TcpStream) -> Option<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await.ok()? == 0 || head.len() > 8192 {
            return None;
        }
    }
    let head = std::str::from_utf8(&head).ok()?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    })?;
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    socket.write_all(answer.as_bytes()).await.ok()
}

/// Reads whole messages; what is written waits for a flush, but for long payloads, which are not copied.
fn split(
    socket: TcpStream,
) -> (FragmentCollectorRead<OwnedReadHalf>, WebSocketWrite<BufWriter<OwnedWriteHalf>>) {
    let mut socket = WebSocket::after_handshake(socket, Role::Server);
    socket.set_max_message_size(64 << 20);
    let (reader, writer) = socket.split(|stream: TcpStream| {
        let (reader, writer) = stream.into_split();
        (reader, BufWriter::with_capacity(16 << 10, writer))
    });
    (FragmentCollectorRead::new(reader), writer)
}

async fn echo(socket: TcpStream) {
    let (mut reader, mut writer) = split(socket);
    // Nobody pings here; a close is answered below.
    let mut obliged = |_: Frame<'_>| async { Ok::<(), Infallible>(()) };
    loop {
        let mut reading = pin!(reader.read_frame(&mut obliged));
        let came = match poll_fn(|task| Poll::Ready(reading.as_mut().poll(task))).await {
            Poll::Ready(came) => came,
            // What came together is answered together.
            Poll::Pending if writer.flush().await.is_err() => return,
            Poll::Pending => reading.await,
        };
        let Ok(frame) = came else { return };
        let is_over = frame.opcode == OpCode::Close;
        let answer = match frame.opcode {
            OpCode::Close => Frame::close_raw(frame.payload),
            OpCode::Text | OpCode::Binary => frame,
            _ => continue,
        };
        let is_lost = writer.write_frame(answer).await.is_err();
        if is_over || is_lost {
            // Who has hung up needs no answer.
            let _ = writer.flush().await;
            return;
        }
    }
}

async fn take_part(socket: TcpStream, member: Member<Bytes>, mut inbox: UnboundedReceiver<Bytes>) {
    let (mut reader, mut writer) = split(socket);
    let writing = tokio::task::spawn_local(async move {
        while let Some(text) = inbox.recv().await {
            let mut next = Some(text);
            while let Some(text) = next.take() {
                // Nothing is an empty text here: it stands for the end.
                let frame = if text.is_empty() {
                    Frame::close(1000, b"")
                } else {
                    Frame::text(Payload::Borrowed(&text))
                };
                if writer.write_frame(frame).await.is_err() {
                    return;
                }
                next = inbox.try_recv().ok();
            }
            if writer.flush().await.is_err() {
                return;
            }
        }
    });
    // Pongs and close answers, which nobody measures here.
    let mut obliged = |_: Frame<'_>| async { Ok::<(), Infallible>(()) };
    while let Ok(frame) = reader.read_frame(&mut obliged).await {
        match frame.opcode {
            OpCode::Text => member.understand(&frame.payload),
            OpCode::Close => break,
            _ => {}
        }
    }
    let _ = member.sender.send(Bytes::new());
    drop(member);
    let _ = writing.await;
}
