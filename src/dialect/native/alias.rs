//! Other words for fields and message types, taken from clients of the same family.
//!
//! Input only: nothing is ever sent under these names.

/// An accepted word and the canonical one that it stands for.
pub type Alias = (&'static str, &'static str);

/// Words for fields. Where a message has the canonical word too, that one counts.
pub const FIELDS: [Alias; 5] = [
    ("action", "type"),
    ("roomId", "room"),
    ("room_id", "room"),
    ("room_name", "room"),
    ("content", "message"),
];

/// Words for message types.
pub const TYPES: [Alias; 4] = [
    ("join", "join_room"),
    ("leave", "leave_room"),
    ("message", "chat_message"),
    ("typing", "typing_indicator"),
];

/// The canonical word for `word`, if it is an alias in `table`.
#[must_use]
pub fn canonical(table: &[Alias], word: &str) -> Option<&'static str> {
    table.iter().find(|(alias, _)| *alias == word).map(|(_, canonical)| *canonical)
}
