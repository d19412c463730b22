//! What clients say about documents.
//!
//! Reads numbers, not positions: whether a position is in the text is for the document to say.

use crate::dialect::native::decode::Fields;
use crate::hub::command::{Command, Pointer};
use crate::hub::document::Cursor;
use crate::hub::event::Refusal;
use crate::hub::name::TopicKind;
use crate::hub::operation::Operation;
use crate::hub::pad::INFO_BYTES_MAX;
use crate::wire::json::{self, Value};

const _: () = assert!(INFO_BYTES_MAX == 1024, "the text below says so");

/// `join_document`.
pub(super) fn join_document<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let info = fields.get("user_info").map(|value| value.raw().as_bytes());
    if info.is_some_and(|info| info.len() > INFO_BYTES_MAX) {
        return Err(Refusal::InvalidField {
            field: "user_info",
            expected: "any value of at most 1024 bytes",
        });
    }
    Ok(Command::Open { document: fields.name(TopicKind::Document)?, info })
}

/// `text_operation`.
pub(super) fn text_operation<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let document = fields.name(TopicKind::Document)?;
    let version = required(fields, "version")?;
    let operation = fields.get("operation").and_then(operation).ok_or(Refusal::InvalidField {
        field: "operation",
        expected: "an insert of position and text, or a delete of start and end",
    })?;
    Ok(Command::Edit { document, version, operation })
}

/// `cursor_update`.
pub(super) fn cursor_update<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let document = fields.name(TopicKind::Document)?;
    let position = required(fields, "position")?;
    let version = fields.integer("version")?;
    let selection = match fields.get("selection") {
        None => None,
        Some(value) => Some(selection(value).ok_or(Refusal::InvalidField {
            field: "selection",
            expected: "an object of start and end, integers, not negative",
        })?),
    };
    let cursor = Cursor { position, selection };
    Ok(Command::Point { document, pointer: Pointer { version, cursor } })
}

fn required(fields: &Fields<'_>, field: &'static str) -> Result<u64, Refusal> {
    let refusal = Refusal::InvalidField { field, expected: "an integer, not negative" };
    fields.integer(field)?.ok_or(refusal)
}

/// An edit; none if the object is not one.
fn operation(value: Value<'_>) -> Option<Operation> {
    let (mut kind, mut text) = (None, None);
    let (mut position, mut start, mut end) = (None, None, None);
    let read = json::object(value.raw(), |name, value| match &*name.text() {
        "type" => kind = value.text(),
        "text" => text = value.text(),
        "position" => position = value.integer(),
        "start" => start = value.integer(),
        "end" => end = value.integer(),
        _ => {}
    });
    read.ok()?;
    match &*kind? {
        "insert" => Some(Operation::Insert { position: position?, text: (&*text?).into() }),
        "delete" => Some(Operation::Delete { start: start?, end: end? }),
        _ => None,
    }
}

/// From where to where, in either direction; none if the object does not say.
fn selection(value: Value<'_>) -> Option<(u64, u64)> {
    let (mut start, mut end) = (None, None);
    let read = json::object(value.raw(), |name, value| match &*name.text() {
        "start" => start = value.integer(),
        "end" => end = value.integer(),
        _ => {}
    });
    read.ok()?;
    Some((start?, end?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::native::decode::decode;

    fn read(text: &str) -> Result<Command<'_>, Refusal> {
        decode(text).asked
    }

    fn refused(text: &str) -> &'static str {
        match read(text) {
            Err(Refusal::InvalidField { field, .. }) => field,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn operations_are_inserts_or_deletes() {
        let edit = |operation: &str| {
            format!(r#"{{"type":"text_operation","doc_id":"d","version":3,"operation":{operation}}}"#)
        };
        let insert = Operation::Insert { position: 7, text: "a\"\u{1f389}".into() };
        for (operation, expected) in [
            (r#"{"type":"insert","position":7,"text":"a\"\ud83c\udf89"}"#, insert),
            (r#"{"end":9,"start":2,"type":"delete"}"#, Operation::Delete { start: 2, end: 9 }),
            (r#"{"type":"delete","start":9,"end":2,"text":5}"#, Operation::Delete { start: 9, end: 2 }),
        ] {
            let expected = Command::Edit { document: "d".into(), version: 3, operation: expected };
            assert_eq!(read(&edit(operation)), Ok(expected));
        }
        for operation in [
            "null",
            "[]",
            "{}",
            r#""insert""#,
            r#"{"type":"insert","position":7}"#,
            r#"{"type":"insert","text":"x"}"#,
            r#"{"type":"insert","position":-1,"text":"x"}"#,
            r#"{"type":"insert","position":1.5,"text":"x"}"#,
            r#"{"type":"insert","position":1,"text":null}"#,
            r#"{"type":"delete","start":1}"#,
            r#"{"type":"delete","start":1,"end":18446744073709551616}"#,
            r#"{"type":"retain","start":1,"end":2}"#,
        ] {
            assert_eq!(refused(&edit(operation)), "operation", "{operation}");
        }
        assert_eq!(refused(r#"{"type":"text_operation","doc_id":"d","operation":{}}"#), "version");
        assert_eq!(refused(r#"{"type":"text_operation","doc_id":7,"version":1}"#), "doc_id");
        let nameless = read(r#"{"type":"text_operation","version":1}"#);
        assert_eq!(nameless, Err(Refusal::NameRequired(TopicKind::Document)));
    }

    #[test]
    fn cursors_have_a_place_and_perhaps_a_selection() {
        let point = |fields: &str| format!(r#"{{"type":"cursor_update","doc_id":"d",{fields}}}"#);
        for (fields, version, position, selection) in [
            (r#""position":3"#, None, 3, None),
            (r#""position":3,"selection":null,"version":null"#, None, 3, None),
            (r#""position":3,"version":8,"selection":{"start":5,"end":3}"#, Some(8), 3, Some((5, 3))),
        ] {
            let pointer = Pointer { version, cursor: Cursor { position, selection } };
            assert_eq!(read(&point(fields)), Ok(Command::Point { document: "d".into(), pointer }));
        }
        assert_eq!(refused(&point(r#""x":3"#)), "position");
        assert_eq!(refused(&point(r#""position":"3""#)), "position");
        assert_eq!(refused(&point(r#""position":3,"version":[]"#)), "version");
        for selection in ["7", "[1,2]", "{}", r#"{"start":1}"#, r#"{"start":1,"end":"2"}"#] {
            assert_eq!(refused(&point(&format!(r#""position":3,"selection":{selection}"#))), "selection");
        }
    }

    #[test]
    fn what_users_say_about_themselves_is_short() {
        let join = |info: &str| format!(r#"{{"type":"join_document","doc_id":"d","user_info":{info}}}"#);
        let long = format!("\"{}\"", "x".repeat(INFO_BYTES_MAX - 2));
        for info in [r##"{"colour":"#336"}"##, &long] {
            let text = join(info);
            let expected = Command::Open { document: "d".into(), info: Some(info.as_bytes()) };
            assert_eq!(read(&text), Ok(expected));
        }
        assert_eq!(read(&join("null")), Ok(Command::Open { document: "d".into(), info: None }));
        assert_eq!(refused(&join(&format!("{long} ").replace("\" ", "x\""))), "user_info");
    }
}
