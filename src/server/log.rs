//! Log lines on standard error: one line per event, text or JSON, timestamps in UTC.
//!
//! Nothing that a client sent reaches a terminal or a line-based tool unescaped: `tracing-subscriber`
//! leaves line breaks in text messages and C1 controls in JSON as they are, so both are escaped here. Never
//! fails: where standard error is gone, lines are lost and the server goes on.

use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal as _, Write};

use tracing::Level;
use tracing::dispatcher::Dispatch;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::fmt::{MakeWriter, Subscriber};

use crate::config::setting::{Log, LogFormat, LogLevel};

/// Sends all events of this process to standard error. Only the first call counts.
pub fn init(log: Log) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stderr().is_terminal() && !plain;
    // Fails only if called again, and then lines are logged already.
    let _ = tracing::dispatcher::set_global_default(dispatch(log, colours, io::stderr));
}

/// Events as `log` says, to whatever `writer` makes.
fn dispatch<W>(log: Log, colours: bool, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match log.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    // Without `log_internal_errors(false)` it falls back on `eprintln!`, which panics where stderr is closed.
    let builder = Subscriber::builder()
        .with_max_level(level)
        .with_ansi(colours)
        .with_target(false)
        .log_internal_errors(false);
    match log.format {
        LogFormat::Text => Dispatch::new(
            builder.with_writer(writer).fmt_fields(format::debug_fn(write_field).delimited(" ")).finish(),
        ),
        LogFormat::Json => {
            Dispatch::new(builder.with_writer(JsonLines(writer)).json().flatten_event(true).finish())
        }
    }
}

/// One field of a text line: the message as it is, others as `name=value`. A value that could be taken for
/// more than one is quoted, so that a name with a blank in it cannot pretend to be two fields.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    if field.name() == "message" {
        return write!(Escaping(writer), "{value:?}");
    }
    let mut text = String::new();
    write!(Escaping(&mut text), "{value:?}")?;
    if text.is_empty() || (text.contains([' ', '=', '"']) && !is_quoted(&text)) {
        text = format!("{text:?}");
    }
    write!(writer, "{}={text}", field.name())
}

/// Whether `text` is one string as `Debug` writes it: quotes at both ends and none that is not escaped
/// between.
fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut escape = false;
    for byte in inner.bytes() {
        match byte {
            b'"' if !escape => return false,
            _ => escape = byte == b'\\' && !escape,
        }
    }
    !escape
}

/// Whether `c` could move a cursor, break a line, or make a line read otherwise than it is written.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        // Line and paragraph separator, embeddings and overrides of text direction.
        || matches!(c, '\u{2028}'..='\u{202e}')
        // Isolates and marks of text direction.
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// Passes text on with treacherous characters in Rust's notation.
struct Escaping<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_treacherous(c) {
                write!(self.0, "{}", c.escape_default())?
            } else {
                self.0.write_char(c)?
            }
        }
        Ok(())
    }
}

/// Makes writers that finish what JSON does not ask for: C0 controls are escaped there already, others are
/// not.
struct JsonLines<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for JsonLines<M> {
    type Writer = JsonLine<M::Writer>;

    fn make_writer(&'a self) -> JsonLine<M::Writer> {
        JsonLine(self.0.make_writer())
    }
}

/// Takes whole lines of JSON, as the formatter gives them.
struct JsonLine<W>(W);

impl<W: Write> Write for JsonLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = String::with_capacity(line.len());
        for c in String::from_utf8_lossy(line).chars() {
            if is_treacherous(c) && c != '\n' {
                // All of them lie below U+10000, so that one escape is enough; outside strings there are
                // none.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            } else {
                text.push(c);
            }
        }
        // In one piece, as lines of several threads meet here.
        self.0.write_all(text.as_bytes()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What an attacker would send: colour, C1 colour, bell, line breaks, quotes, a forged field, a
    /// reversed text.
    const HOSTILE: &str = "a\u{1b}[31m\u{9b}31m\u{7}\r\n2026 ERROR \"b\" c=d\\\u{7f}\u{85}\u{202e}\u{2028}é";

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `act` runs.
    fn captured(log: Log, colours: bool, act: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        tracing::dispatcher::with_default(&dispatch(log, colours, move || writer.clone()), act);
        String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
    }

    fn hostile_events() {
        let error = io::Error::other(HOSTILE);
        tracing::info!(room = HOSTILE, "joined");
        tracing::info!(room = %HOSTILE, "joined");
        tracing::info!(room = ?HOSTILE, "joined");
        tracing::info!("joined {HOSTILE}");
        tracing::info!(message = HOSTILE);
        tracing::info!(cause = &error as &(dyn std::error::Error + 'static), "failed");
    }

    const TEXT: Log = Log { format: LogFormat::Text, level: LogLevel::Info };
    const JSON: Log = Log { format: LogFormat::Json, level: LogLevel::Info };

    #[test]
    fn hostile_text_stays_on_its_line_in_its_field() {
        let text = captured(TEXT, false, hostile_events);
        assert_eq!(text.lines().count(), 6, "{text:?}");
        assert!(text.ends_with('\n'));
        assert!(!text.contains(|c| is_treacherous(c) && c != '\n'), "{text:?}");
        for line in text.lines().take(3) {
            let (_, value) = line.split_once("joined room=").unwrap();
            assert!(is_quoted(value), "{value}");
        }
    }

    #[test]
    fn hostile_text_is_whole_in_json() {
        let text = captured(JSON, false, hostile_events);
        assert_eq!(text.lines().count(), 6, "{text:?}");
        assert!(!text.contains(|c| is_treacherous(c) && c != '\n'), "{text:?}");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["room"], HOSTILE);
        assert_eq!(lines[1]["room"], HOSTILE);
        assert_eq!(lines[3]["message"], format!("joined {HOSTILE}"));
        assert_eq!(lines[0]["level"], "INFO");
    }

    #[test]
    fn colours_only_where_asked_and_only_ours() {
        let plain = captured(TEXT, false, || tracing::warn!(count = 3, "full"));
        assert!(plain.ends_with("  WARN full count=3\n"), "{plain:?}");
        let coloured = captured(TEXT, true, hostile_events);
        assert!(coloured.contains('\u{1b}'));
        assert!(!coloured.contains("\u{1b}[31m"), "{coloured:?}");
        assert!(!captured(JSON, true, hostile_events).contains('\u{1b}'));
    }

    #[test]
    fn timestamps_are_utc_to_the_microsecond() {
        let text = captured(TEXT, false, || tracing::info!("x"));
        let time = text.split(' ').next().unwrap();
        assert_eq!(time.len(), "2026-01-02T03:04:05.678901Z".len(), "{time}");
        assert!(time.starts_with("20") && time.ends_with('Z'));
        let json: serde_json::Value =
            serde_json::from_str(&captured(JSON, false, || tracing::info!("x"))).unwrap();
        assert_eq!(json["timestamp"].as_str().unwrap().len(), time.len());
    }

    #[test]
    fn levels_hold() {
        for (level, lines) in
            [(LogLevel::Error, 1), (LogLevel::Warn, 2), (LogLevel::Info, 3), (LogLevel::Debug, 4)]
        {
            let text = captured(Log { level, ..TEXT }, false, || {
                tracing::error!("e");
                tracing::warn!("w");
                tracing::info!("i");
                tracing::debug!("d");
                tracing::trace!("t");
            });
            assert_eq!(text.lines().count(), lines, "{level:?}");
        }
    }

    #[test]
    fn a_broken_writer_breaks_nothing_else() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        for log in [TEXT, JSON] {
            tracing::dispatcher::with_default(&dispatch(log, false, || Broken), || tracing::error!("lost"));
        }
    }

    #[test]
    fn quoted_means_one_string() {
        for text in [r#""""#, r#""a b""#, r#""a\"b""#, r#""a\\""#] {
            assert!(is_quoted(text), "{text}");
        }
        for text in ["", "\"", "a", r#""a" x="b""#, r#""a\""#, r#""a\\"b""#] {
            assert!(!is_quoted(text), "{text}");
        }
    }
}
