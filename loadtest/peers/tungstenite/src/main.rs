//! A peer for comparisons: echo and rooms on tokio-tungstenite, on one thread; with the feature `tls` over TLS.
//!
//! Written to show the library at its best: texts are shared between members, and a connection gathers all that is
//! ready before it flushes. No order between shards, no numbers, no history, no limits.

#[cfg(feature = "tls")]
mod tls;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_rooms::{Member, Part};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Room for what one read brings, unless the command line says otherwise in a third word.
const READ_BYTES: usize = 8 << 10;

#[cfg(feature = "tls")]
type Stream = tokio_rustls::server::TlsStream<TcpStream>;
#[cfg(not(feature = "tls"))]
type Stream = TcpStream;

fn main() -> std::io::Result<()> {
    tokio_rooms::run(serve)
}

async fn serve(socket: TcpStream, part: Part<Utf8Bytes>) {
    #[cfg(feature = "tls")]
    let Ok(socket) = tls::accept(socket).await else { return };
    // The default of 128 KiB is cleared before every read, which would cost more than all the rest of a short message.
    let read_bytes = std::env::args().nth(3).and_then(|bytes| bytes.parse().ok()).unwrap_or(READ_BYTES);
    let config = WebSocketConfig::default().read_buffer_size(read_bytes).max_message_size(Some(64 << 20));
    let config = config.max_frame_size(Some(64 << 20));
    let accepted = tokio_tungstenite::accept_async_with_config(socket, Some(config)).await;
    let Ok(socket) = accepted else { return };
    match part {
        None => echo(socket).await,
        Some((member, inbox)) => take_part(socket, &member, inbox).await,
    }
}

async fn echo(mut socket: WebSocketStream<Stream>) {
    while let Some(Ok(message)) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            if (message.is_text() || message.is_binary()) && socket.feed(message).await.is_err() {
                return;
            }
            next = socket.next().now_or_never().flatten().and_then(Result::ok);
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}

async fn take_part(
    mut socket: WebSocketStream<Stream>,
    member: &Member<Utf8Bytes>,
    mut inbox: UnboundedReceiver<Utf8Bytes>,
) {
    loop {
        tokio::select! {
            came = socket.next() => {
                let Some(Ok(message)) = came else { return };
                if let Message::Text(text) = message {
                    member.understand(text.as_bytes());
                }
            }
            Some(text) = inbox.recv() => {
                let mut next = Some(text);
                while let Some(text) = next.take() {
                    if socket.feed(Message::Text(text)).await.is_err() {
                        return;
                    }
                    next = inbox.try_recv().ok();
                }
                if socket.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}
