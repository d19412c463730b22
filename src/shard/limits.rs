//! Every limit of a shard and its connections, in one place, with the relations that must hold between them.

use std::time::Duration;

/// What happens to a connection that does not read as fast as it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// The oldest queued publications go; the client is told which.
    DropOldest,
    /// New publications are not queued; the client is told which.
    DropNewest,
    /// The connection is closed with 4004; the client comes back and recovers.
    Disconnect,
}

/// Messages that a connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Refill of the bucket.
    pub per_second: u32,
    /// Size of the bucket: so many at once after a pause.
    pub burst: u32,
}

/// What an operator can set; the same for all shards, never changed while they run.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message from a client, in bytes of payload over all its fragments.
    pub message_bytes_max: usize,
    /// Messages per second of one connection; none = unlimited.
    pub rate: Option<Rate>,
    /// Longest room name, in bytes of UTF-8.
    pub name_bytes_max: usize,
    /// Rooms that one connection may be in.
    pub rooms_per_connection_max: u32,
    /// Connections in one room; none = unlimited.
    pub members_per_room_max: Option<u32>,
    /// Open connections of one user; none = unlimited.
    pub connections_per_user_max: Option<u32>,
    /// From accept to the end of the request head.
    pub handshake_timeout: Duration,
    /// Silence after which the server pings; none = never.
    pub ping_interval: Option<Duration>,
    /// From a ping to the first sign of life.
    pub pong_timeout: Duration,
    /// Pings in a row that may stay without any sign of life before the connection is given up; at least 1.
    pub missed_pongs_max: u32,
    /// Silence (pongs do not count) after which a connection is closed with 4003; none = never.
    pub idle_timeout: Option<Duration>,
    /// From our close frame to the peer's.
    pub close_timeout: Duration,
    /// Whether every native connection gets `heartbeat` messages, not only those that ask for them.
    pub heartbeat_json: bool,
    /// Send queue of one connection, in bytes.
    pub queue_bytes_max: usize,
    /// Send queue of one connection, in messages.
    pub queue_messages_max: usize,
    /// What to do when the send queue is full.
    pub slow_consumer: SlowConsumer,
    /// Whether `/echo` is served.
    pub echo: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 1 << 20,
            rate: None,
            name_bytes_max: 255,
            rooms_per_connection_max: 128,
            members_per_room_max: None,
            connections_per_user_max: None,
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_secs(10),
            missed_pongs_max: 1,
            idle_timeout: None,
            close_timeout: Duration::from_secs(5),
            heartbeat_json: false,
            queue_bytes_max: 1 << 20,
            queue_messages_max: 1024,
            slow_consumer: SlowConsumer::Disconnect,
            echo: true,
        }
    }
}
