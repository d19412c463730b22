//! Every deadline that a connection can have: names only, their times are with what they belong to.

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// The request's head, or its body, did not come in time.
    Head,
    /// Whoever was asked about a request did not answer in time.
    Answer,
    /// Silent for the ping interval.
    Ping,
    /// Still silent after a ping.
    Pong,
    /// No message for the idle timeout.
    Idle,
    /// The next `heartbeat`.
    Heartbeat,
    /// The peer did not answer our close frame.
    CloseHandshake,
    /// The peer did not end the connection.
    Linger,
    /// The client showed no token.
    Auth,
    /// The client is to be told that its token ends, or it has ended.
    Token,
}
