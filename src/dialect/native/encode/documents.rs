//! What clients are told about documents.
//!
//! Copies numbers as they come: versions and positions are the hub's.

use crate::dialect::native::encode::{id, list, named, number, open, presence, shown, text};
use crate::hub::document::Cursor;
use crate::hub::event::{Edit, Editor, Pointed, Snapshot};
use crate::hub::name::Topic;
use crate::hub::operation::Operation;

/// `document_state`: the text as it is now, from which the client goes on.
pub(super) fn state(out: &mut Vec<u8>, topic: &Topic, tag: Option<&[u8]>, snapshot: &Snapshot) {
    let Some(document) = &snapshot.text else { return debug_assert!(false, "a document has a text") };
    out.reserve(document.content.len());
    open(out, "document_state");
    id(out, tag);
    named(out, topic);
    text(out, ",\"content\":", &document.content);
    number(out, ",\"version\":", document.version);
    out.extend_from_slice(b",\"users\":[");
    let users: Vec<_> = snapshot.roll.users.iter().zip(&document.infos).collect();
    list(out, &users, |out, (user, info)| {
        shown(out, "{\"user_id\":", user);
        user_info(out, info.as_deref());
        out.push(b'}');
    });
    out.extend_from_slice(b"],\"cursors\":[");
    list(out, &document.cursors, |out, (user, cursor)| {
        text(out, "{\"user_id\":", &user.id);
        place(out, *cursor);
        out.push(b'}');
    });
    out.extend_from_slice(b"]}");
}

/// `ack` of an edit. It names its document, as an edit needs no `id`.
pub(super) fn edited(out: &mut Vec<u8>, topic: &Topic, tag: Option<&[u8]>, version: u64) {
    open(out, "ack");
    id(out, tag);
    named(out, topic);
    number(out, ",\"version\":", version);
    out.push(b'}');
}

/// `user_joined`, with what is to know of the user.
pub(super) fn joined(out: &mut Vec<u8>, topic: &Topic, editor: &Editor) {
    presence(out, "user_joined", topic, &editor.user, false, editor.members_count);
    out.pop();
    user_info(out, Some(&editor.info));
    out.push(b'}');
}

/// `text_operation`, as everybody but the author gets it.
pub(super) fn operation(out: &mut Vec<u8>, topic: &Topic, edit: &Edit) {
    open(out, "text_operation");
    named(out, topic);
    match &edit.operation {
        Operation::Insert { position, text: inserted } => {
            number(out, ",\"operation\":{\"type\":\"insert\",\"position\":", *position);
            text(out, ",\"text\":", inserted);
        }
        Operation::Delete { start, end } => {
            number(out, ",\"operation\":{\"type\":\"delete\",\"start\":", *start);
            number(out, ",\"end\":", *end);
        }
    }
    number(out, "},\"version\":", edit.version);
    text(out, ",\"user_id\":", &edit.user.id);
    out.push(b'}');
}

/// `cursor_update`, as everybody else gets it.
pub(super) fn cursor(out: &mut Vec<u8>, topic: &Topic, pointed: &Pointed) {
    open(out, "cursor_update");
    named(out, topic);
    shown(out, ",\"user_id\":", &pointed.user);
    place(out, pointed.cursor);
    number(out, ",\"version\":", pointed.version);
    out.push(b'}');
}

fn place(out: &mut Vec<u8>, cursor: Cursor) {
    number(out, ",\"position\":", cursor.position);
    if let Some((start, end)) = cursor.selection {
        number(out, ",\"selection\":{\"start\":", start);
        number(out, ",\"end\":", end);
        out.push(b'}');
    }
}

fn user_info(out: &mut Vec<u8>, info: Option<&[u8]>) {
    if let Some(info) = info {
        out.extend_from_slice(b",\"user_info\":");
        out.extend_from_slice(info);
    }
}
