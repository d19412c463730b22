//! Settings about how much one may send: their rows.
//!
//! What a user may send is, if nothing else is said, made of what a connection may: by the plan, as one row knows
//! nothing of another.

use crate::config::setting::{Category, Kind, Setting};

/// Largest message or queue of one connection.
pub(super) const SIZE_MAX: u32 = 1 << 30;
/// Most messages per second, and in a burst, that can be allowed; also keeps the bucket's arithmetic from
/// overflowing.
pub(super) const RATE_MAX: u32 = 1_000_000;

/// Messages of one connection.
pub const RATE_LIMIT: Setting = Setting {
    name: "rate-limit",
    category: Category::Limits,
    kind: Kind::Rate(RATE_MAX, |t, v| t.limits.rate = Some(v)),
    words: &[("off", |t| t.limits.rate = None)],
    default: "200/s,burst=400",
    example: "20/s,burst=100",
    help: "Messages per second of one connection, as 20/s or 20/s,burst=100.",
    details: "`20/s` allows 20 in the long run and 40 at once after a pause; `20/s,burst=100` allows 100 at once. One \
        more is not taken, and answered with the error `rate_limited`, which says when to try again. Who goes on all \
        the same is closed with 4005, after as many refusals as the burst, 100 at least. `/echo` has no such limit.",
};

/// Bytes of one connection.
pub const BYTE_RATE: Setting = Setting {
    name: "byte-rate",
    category: Category::Limits,
    kind: Kind::Bytes(1 << 10, SIZE_MAX, |t, v| t.limits.byte_rate = Some(v)),
    words: &[("off", |t| t.limits.byte_rate = None)],
    default: "4MiB",
    example: "256KiB",
    help: "Bytes of messages per second of one connection.",
    details: "A long message counts as several for `--rate-limit`, whose burst holds for bytes alike; without that \
        there is no limit on bytes. At the defaults 20 KiB count as one message, and 8 MiB may come at once.",
};

/// Messages of one user.
pub const USER_RATE_LIMIT: Setting = Setting {
    name: "user-rate-limit",
    category: Category::Limits,
    kind: Kind::Rate(RATE_MAX, |t, v| (t.limits.user_rate, t.user_rate_fits) = (Some(v), false)),
    words: &[
        ("auto", |t| (t.limits.user_rate, t.user_rate_fits) = (None, true)),
        ("off", |t| (t.limits.user_rate, t.user_rate_fits) = (None, false)),
    ],
    default: "auto",
    example: "50/s,burst=200",
    help: "Messages per second of all connections of one user; auto is twice --rate-limit, and off if that is.",
    details: "Connections with the same `user_id` share it, on whatever shard they are; who gave none has only its own \
        `--rate-limit`. What is too much is answered as there; a connection is closed with 4005 when the user does not \
        slow down and it was itself refused 100 times in a row. Each connection may be a sixteenth of the burst ahead. \
        Without `--auth token` a `user_id` is what the client says: then it keeps friends apart, not foes.",
};

/// Bytes of one user.
pub const USER_BYTE_RATE: Setting = Setting {
    name: "user-byte-rate",
    category: Category::Limits,
    kind: Kind::Bytes(1 << 10, SIZE_MAX, |t, v| {
        (t.limits.user_byte_rate, t.user_byte_rate_fits) = (Some(v), false)
    }),
    words: &[
        ("auto", |t| (t.limits.user_byte_rate, t.user_byte_rate_fits) = (None, true)),
        ("off", |t| (t.limits.user_byte_rate, t.user_byte_rate_fits) = (None, false)),
    ],
    default: "auto",
    example: "512KiB",
    help: "Bytes of messages per second of all connections of one user; auto is twice --byte-rate.",
    details: "A long message counts as several for `--user-rate-limit`; without that there is no limit on bytes.",
};
