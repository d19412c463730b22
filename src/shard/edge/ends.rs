//! Where ends of WebSockets are counted: a closed set of codes, whatever clients send.

use crate::metrics::table::{CLOSES, Cell};
use crate::wire::ws::close::CloseCode;

/// A series for each code that the table knows.
macro_rules! series {
    ($by:literal, $code:expr, $($known:literal)*) => {
        match $code {
            $($known => const { CLOSES.of(concat!($by, ",", $known)) },)*
            _ => const { CLOSES.of(concat!($by, ",other")) },
        }
    };
}

/// The client closes; none = without a code.
pub(crate) fn of_client(code: Option<CloseCode>) -> Cell {
    series!("client", code.map_or(1005, |code| code.0), 1000 1001 1002 1003 1005 1007 1008 1009 1011)
}

/// The client is gone, and nobody said anything.
pub(crate) const LOST: Cell = CLOSES.of("client,1006");

/// We close.
pub(crate) fn of_server(code: CloseCode) -> Cell {
    series!(
        "server", code.0,
        1001 1002 1003 1007 1008 1009 1011 1013 4001 4002 4003 4004 4005 4006 4007 4008
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_clients_send_there_is_a_series_for_it() {
        assert_eq!(of_client(None), CLOSES.of("client,1005"));
        assert_eq!(of_client(Some(CloseCode(1000))), CLOSES.of("client,1000"));
        for odd in [3000, 4004, 4999, 1012] {
            assert_eq!(of_client(Some(CloseCode(odd))), CLOSES.of("client,other"), "{odd}");
        }
        assert_eq!(of_server(CloseCode::SLOW_CONSUMER), CLOSES.of("server,4004"));
        assert_eq!(of_server(CloseCode(4500)), CLOSES.of("server,other"));
    }
}
