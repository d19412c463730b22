//! What each client must see of documents: a copy of every text, kept by the rules of docs/protocol.md.
//!
//! A copy that has fallen out of step is silent until `document_state` comes; while it is in step, every version that
//! it hears must be the next one. All copies are compared with what the server says at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::editor::{Change, Editor};
use crate::model::{number, text};

/// What a client asked of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paperwork {
    Join,
    Leave,
    Edit,
    Point,
}

/// One client's copy of one document.
#[derive(Default)]
pub(crate) struct Paper {
    editor: Editor,
    /// It follows: everything it hears is to be understood.
    pub(crate) in_step: bool,
    /// It has joined, as far as it knows.
    pub(crate) member: bool,
    /// Questions to join that are not answered.
    pub(crate) joins: usize,
    /// The same to leave.
    leaves: usize,
    /// Who is there; none once that is not known.
    users: Option<BTreeSet<String>>,
    /// Text and version before the last question, to be compared with its answer: nothing was under way.
    expected: Option<(String, u64)>,
}

/// All documents of one client.
#[derive(Default)]
pub(crate) struct Papers {
    pub(crate) by_name: BTreeMap<String, Paper>,
    /// What the server said to be the texts, since this was forgotten.
    pub(crate) told: BTreeMap<String, (String, u64)>,
}

fn change(operation: &Value) -> Change {
    let place = |field| usize::try_from(number(operation, field)).expect("positions are small");
    match text(operation, "type") {
        "insert" => Change::Insert(place("position"), text(operation, "text").chars().collect()),
        "delete" => Change::Delete(place("start"), place("end")),
        _ => panic!("{operation}"),
    }
}

impl Paper {
    pub(crate) fn stop(&mut self) {
        self.in_step = false;
        self.users = None;
    }

    pub(crate) fn len(&self) -> usize {
        self.editor.text.len()
    }

    pub(crate) fn version(&self) -> u64 {
        self.editor.version
    }

    /// What the server must have, if it still counts this copy as open: at least the version, and of that the text
    /// if nothing was under way.
    pub(crate) fn known(&self) -> Option<(u64, Option<String>)> {
        let known = self.in_step && self.member && self.joins == 0 && self.leaves == 0;
        let text = || (self.editor.waiting() == 0).then(|| self.editor.content());
        known.then(|| (self.editor.version, text()))
    }

    /// Makes an edit; the version to send it with.
    pub(crate) fn edit(&mut self, change: &Change) -> u64 {
        assert!(self.in_step, "it does not know the text");
        self.editor.edit(change)
    }

    /// Notes a question before it is sent.
    pub(crate) fn ask(&mut self, what: Paperwork, compare: bool) {
        match what {
            Paperwork::Join => {
                self.joins += 1;
                let still = compare && self.in_step;
                assert!(!still || self.editor.waiting() == 0, "all is said, and an edit is not acknowledged");
                self.expected = still.then(|| (self.editor.content(), self.editor.version));
                self.stop();
            }
            Paperwork::Leave => {
                self.leaves += 1;
                self.stop();
            }
            Paperwork::Edit | Paperwork::Point => {}
        }
    }

    fn begin(&mut self, said: &Value, me: &str) {
        self.member = true;
        assert!(self.joins > 0, "nobody asked to join");
        self.joins -= 1;
        let (content, version) = (text(said, "content"), number(said, "version"));
        if let Some(expected) = self.expected.take() {
            assert_eq!(expected, (content.to_owned(), version), "the copy is not the text");
        }
        let users = said["users"].as_array().expect("a list of users");
        let users: BTreeSet<String> = users.iter().map(|user| text(user, "user_id").to_owned()).collect();
        assert!(users.contains(me), "the new member is listed");
        let len = content.chars().count() as u64;
        for cursor in said["cursors"].as_array().expect("a list of cursors") {
            assert!(users.contains(text(cursor, "user_id")) && number(cursor, "position") <= len, "{said}");
        }
        if self.joins == 0 && self.leaves == 0 {
            self.editor.begin(content, version);
            (self.in_step, self.users) = (true, Some(users));
        }
    }

    fn hear_presence(&mut self, said: &Value, came: bool) {
        let user = text(said, "user_id");
        let Some(users) = &mut self.users else { return };
        let news = if came { users.insert(user.into()) } else { users.remove(user) };
        assert!(news && users.len() as u64 <= number(said, "members_count"), "{said}: {users:?}");
    }
}

impl Papers {
    /// One message about a document, or the answer to a question about one.
    pub(crate) fn hear(&mut self, said: &Value, asked: Option<(&str, Paperwork)>, me: &str) {
        let name = said.get("doc_id").and_then(Value::as_str).or(asked.map(|(name, _)| name));
        let name = name.expect("a document").to_owned();
        let asked = asked.map(|(_, what)| what);
        let paper = self.by_name.get_mut(&name).unwrap_or_else(|| panic!("{said} about an unknown document"));
        match text(said, "type") {
            "document_state" => {
                assert!(asked.is_none_or(|asked| asked == Paperwork::Join), "{said}");
                paper.begin(said, me);
                self.told.insert(name, (text(said, "content").into(), number(said, "version")));
            }
            "document_left" => {
                paper.stop();
                // Without having asked, where a token does not grant it any more.
                (paper.member, paper.leaves) = (false, paper.leaves.saturating_sub(1));
            }
            "error" => paper.hear_error(said, asked),
            "ack" if asked == Some(Paperwork::Point) => {}
            "dropped" => {
                assert!(number(said, "events") > 0 && said.get("from").is_none(), "{said}");
                paper.stop();
            }
            _ if !paper.in_step => {}
            "ack" => {
                assert!(paper.editor.acknowledged(number(said, "version")), "{said}: something is missing")
            }
            "text_operation" => {
                let (version, change) = (number(said, "version"), change(&said["operation"]));
                let expected = paper.editor.version + 1;
                assert!(paper.editor.hear(version, change), "{said}: {expected} is missing");
            }
            "cursor_update" => {
                assert_eq!(number(said, "version"), paper.editor.version, "{said}");
                let known = paper.users.as_ref().is_none_or(|users| users.contains(text(said, "user_id")));
                let within = number(said, "position") <= paper.len() as u64;
                assert!(known && (within || paper.editor.waiting() > 0), "{said}");
            }
            kind @ ("user_joined" | "user_left") => paper.hear_presence(said, kind == "user_joined"),
            _ => panic!("{said} about a document"),
        }
    }
}

impl Paper {
    fn hear_error(&mut self, said: &Value, asked: Option<Paperwork>) {
        let code = text(said, "code");
        match (asked, code) {
            // The model knows whether it was granted.
            (Some(Paperwork::Join), "forbidden") => (self.joins, self.expected) = (self.joins - 1, None),
            (Some(Paperwork::Point), "forbidden") => {}
            (Some(Paperwork::Edit) | None, "forbidden") => self.stop(),
            (Some(Paperwork::Join), "rate_limited" | "too_many_rooms" | "document_full") => {
                self.joins -= 1;
                self.expected = None;
                assert!(!self.member || code == "rate_limited", "{said}: who is in can always come again");
            }
            (Some(Paperwork::Point), "rate_limited" | "not_in_document" | "version_too_old") => {}
            (Some(Paperwork::Leave), "rate_limited" | "not_in_document") => {
                // What it was told without having asked may have counted for this.
                self.leaves = self.leaves.saturating_sub(1);
            }
            // What was under way when it fell out of step is refused, too.
            (Some(Paperwork::Edit) | None, "rate_limited" | "version_too_old" | "document_full") => {
                self.stop()
            }
            _ => panic!("{said} answers {asked:?}"),
        }
    }
}
