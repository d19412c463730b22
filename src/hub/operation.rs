//! Edits of a text, and how two edits made at the same time are transformed over each other.
//!
//! Knows positions and lengths only, in Unicode code points; holds no text and no history. The rules below
//! are those that a client must follow too, so they are few and make no choice of their own.
//!
//! Of two edits made on the same text, the server accepts one first: the *early* one. Whoever applied the
//! *late* one first (its author) must apply the early one moved over it; everybody else applies the early one
//! and then the late one moved over it. Both come to the same text:
//!
//! | late | early | late, moved over early | early, moved over late |
//! |---|---|---|---|
//! | insert `n` at `p` | insert `m` at `q` | `q <= p`: at `p + m` | `p < q`: at `q + n` |
//! | insert `n` at `p` | delete `[s, e)` | moved by the delete | moved by the insert |
//! | delete `[s, e)` | insert `m` at `q` | moved by the insert | moved by the delete |
//! | delete | delete | without what early deleted | without what late deleted |
//!
//! An insert at `p` moved by a delete of `[s, e)` stands at `p` if `p <= s`, at `s` inside, and at `p - (e - s)` if
//! `p >= e`. A delete moved by an insert of `n` at `p` is `[s + n, e + n)` if `p <= s`; inside it is two deletes,
//! `[p + n, e + n)` and then `[s, p)`; and it is itself if `p >= e`. What is not named stays as it is. *Inside* is
//! strict: an insert at either end of a deleted range does not split it. So text that somebody wrote into a range
//! while another deleted it survives, and of two texts at one place that of the early one stands left.

use std::sync::Arc;

/// An edit as it travels: made by a client, or passed on to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts `text` before the code point at `position`.
    Insert {
        /// 0 to the length of the text.
        position: u64,
        /// Shared, since moving an insert never changes what it says.
        text: Arc<str>,
    },
    /// Takes out the code points `start..end`.
    Delete {
        /// The first one that goes.
        start: u64,
        /// The first one that stays.
        end: u64,
    },
}

impl Operation {
    /// What it does to positions; none if it does nothing.
    #[must_use]
    pub fn shape(&self) -> Option<Shape> {
        match self {
            Operation::Insert { text, .. } if text.is_empty() => None,
            Operation::Insert { position, text } => Some(Shape::Insert { at: *position, len: count(text) }),
            Operation::Delete { start, end } if start >= end => None,
            Operation::Delete { start, end } => Some(Shape::Delete { start: *start, end: *end }),
        }
    }
}

/// Code points of `text`.
#[must_use]
pub fn count(text: &str) -> u64 {
    u64::try_from(text.chars().count()).unwrap_or(u64::MAX)
}

/// What an operation does to positions. Invariant: it does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `len` code points more, before the one at `at`.
    Insert {
        /// Where.
        at: u64,
        /// How many; not 0.
        len: u64,
    },
    /// The code points `start..end` less; at least one.
    Delete {
        /// The first one that goes.
        start: u64,
        /// The first one that stays.
        end: u64,
    },
}

/// What is left of a shape once it is moved: nothing, itself, or a deletion in two parts, to be done in this
/// order (the right one first, so that the left one's positions hold before and after it).
pub type Parts = [Option<Shape>; 2];

/// Which side of a text a position at its very place goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The position stays, the text follows it: others' cursors.
    Before,
    /// The position moves to the end of the text: the cursor of who typed it.
    After,
}

impl Shape {
    /// Where a `position` of the text before this edit is in the text after it. A position in deleted text
    /// goes to where that text was.
    #[must_use]
    pub fn shift(self, position: u64, side: Side) -> u64 {
        match self {
            Shape::Insert { at, len } if at < position || (at == position && side == Side::After) => {
                position.saturating_add(len)
            }
            Shape::Insert { .. } => position,
            Shape::Delete { start, end } => position.min(start) + position.saturating_sub(end),
        }
    }

    /// How long a text of `len` code points had been before this edit.
    #[must_use]
    pub(super) fn len_before(self, len: u64) -> u64 {
        match self {
            Shape::Insert { len: more, .. } => len - more,
            Shape::Delete { start, end } => len + (end - start),
        }
    }
}

/// Moves two shapes made on the same text over each other: what is left of `late` after `early`, and of
/// `early` after `late`. At most one of them comes in two parts.
#[must_use]
pub fn transform(late: Shape, early: Shape) -> (Parts, Parts) {
    match (late, early) {
        (Shape::Insert { at, len }, Shape::Insert { at: first, len: more }) => {
            let late = Shape::Insert { at: if first <= at { at + more } else { at }, len };
            let early = Shape::Insert { at: if at < first { first + len } else { first }, len: more };
            (one(late), one(early))
        }
        (Shape::Insert { at, len }, Shape::Delete { start, end }) => {
            (one(Shape::Insert { at: early.shift(at, Side::Before), len }), around(start, end, at, len))
        }
        (Shape::Delete { start, end }, Shape::Insert { at, len }) => {
            (around(start, end, at, len), one(Shape::Insert { at: late.shift(at, Side::Before), len }))
        }
        (Shape::Delete { .. }, Shape::Delete { .. }) => (without(late, early), without(early, late)),
    }
}

fn one(shape: Shape) -> Parts {
    [Some(shape), None]
}

/// The deletion of `start..end` once `len` code points stand at `at`.
fn around(start: u64, end: u64, at: u64, len: u64) -> Parts {
    if at <= start {
        one(Shape::Delete { start: start + len, end: end + len })
    } else if at < end {
        [Some(Shape::Delete { start: at + len, end: end + len }), Some(Shape::Delete { start, end: at })]
    } else {
        one(Shape::Delete { start, end })
    }
}

/// What the deletion `it` still has to do after the deletion `other`.
fn without(it: Shape, other: Shape) -> Parts {
    let Shape::Delete { start, end } = it else { return one(it) };
    let (start, end) = (other.shift(start, Side::Before), other.shift(end, Side::Before));
    [(start < end).then_some(Shape::Delete { start, end }), None]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn insert(at: u64, len: u64) -> Shape {
        Shape::Insert { at, len }
    }

    fn delete(start: u64, end: u64) -> Shape {
        Shape::Delete { start, end }
    }

    fn told(late: Shape, early: Shape) -> (Vec<Shape>, Vec<Shape>) {
        let (late, early) = transform(late, early);
        (late.into_iter().flatten().collect(), early.into_iter().flatten().collect())
    }

    #[test]
    fn the_table_line_by_line() {
        // Insert and insert: only at one place does it matter who is early.
        assert_eq!(told(insert(3, 2), insert(3, 5)), (vec![insert(8, 2)], vec![insert(3, 5)]));
        assert_eq!(told(insert(2, 2), insert(3, 5)), (vec![insert(2, 2)], vec![insert(5, 5)]));
        assert_eq!(told(insert(4, 2), insert(3, 5)), (vec![insert(9, 2)], vec![insert(3, 5)]));
        // Insert and delete: at the ends, and inside.
        for (at, moved, parts) in [
            (1, 1, vec![delete(3, 6)]),
            (2, 2, vec![delete(3, 6)]),
            (3, 2, vec![delete(4, 6), delete(2, 3)]),
            (5, 2, vec![delete(2, 5)]),
            (7, 4, vec![delete(2, 5)]),
        ] {
            assert_eq!(told(insert(at, 1), delete(2, 5)), (vec![insert(moved, 1)], parts.clone()), "{at}");
            assert_eq!(told(delete(2, 5), insert(at, 1)), (parts, vec![insert(moved, 1)]), "{at}");
        }
        // Delete and delete: what both delete goes once.
        assert_eq!(told(delete(2, 5), delete(2, 5)), (vec![], vec![]));
        assert_eq!(told(delete(2, 5), delete(3, 4)), (vec![delete(2, 4)], vec![]));
        assert_eq!(told(delete(2, 5), delete(4, 8)), (vec![delete(2, 4)], vec![delete(2, 5)]));
        assert_eq!(told(delete(2, 5), delete(5, 8)), (vec![delete(2, 5)], vec![delete(2, 5)]));
    }

    #[test]
    fn positions_shift_with_the_text() {
        assert_eq!(insert(3, 2).shift(2, Side::After), 2);
        assert_eq!(insert(3, 2).shift(3, Side::Before), 3);
        assert_eq!(insert(3, 2).shift(3, Side::After), 5);
        assert_eq!(insert(3, 2).shift(4, Side::Before), 6);
        for (position, shifted) in [(1, 1), (2, 2), (3, 2), (5, 2), (6, 3)] {
            assert_eq!(delete(2, 5).shift(position, Side::After), shifted);
        }
    }

    #[test]
    fn what_does_nothing_has_no_shape() {
        assert_eq!(Operation::Insert { position: 9, text: "".into() }.shape(), None);
        assert_eq!(Operation::Delete { start: 4, end: 4 }.shape(), None);
        assert_eq!(Operation::Delete { start: 4, end: 3 }.shape(), None);
        assert_eq!(
            Operation::Insert { position: 9, text: "e\u{301}🎉".into() }.shape(),
            Some(insert(9, 3)),
            "code points, neither bytes nor UTF-16 units nor what looks like one letter"
        );
    }

    /// The text after `shape`, whose inserted code points are all `mark`.
    fn edited(text: &[char], shape: Shape, mark: char) -> Vec<char> {
        let place = |at: u64| usize::try_from(at).unwrap();
        let mut text = text.to_vec();
        match shape {
            Shape::Insert { at, len } => {
                text.splice(place(at)..place(at), std::iter::repeat_n(mark, place(len)));
            }
            Shape::Delete { start, end } => {
                text.drain(place(start)..place(end));
            }
        }
        text
    }

    fn shapes(len: u64) -> impl Strategy<Value = Shape> {
        let insert = (0..=len, 1u64..4).prop_map(|(at, len)| Shape::Insert { at, len });
        let delete =
            (0..len, 1..=len).prop_map(move |(start, n)| Shape::Delete { start, end: (start + n).min(len) });
        prop_oneof![insert, delete]
    }

    proptest! {
        /// Late after early is early after late (TP1), and nothing that was inserted is gone.
        #[test]
        fn both_orders_come_to_the_same_text(late in shapes(6), early in shapes(6)) {
            let text: Vec<char> = "abcdef".chars().collect();
            let (late_after, early_after) = transform(late, early);
            let mut one = edited(&text, early, 'E');
            for part in late_after.into_iter().flatten() {
                one = edited(&one, part, 'L');
            }
            let mut other = edited(&text, late, 'L');
            for part in early_after.into_iter().flatten() {
                other = edited(&other, part, 'E');
            }
            prop_assert_eq!(&one, &other);
            for (shape, mark) in [(late, 'L'), (early, 'E')] {
                if let Shape::Insert { len, .. } = shape {
                    prop_assert_eq!(one.iter().filter(|c| **c == mark).count() as u64, len);
                }
            }
            prop_assert!(late_after[1].is_none() || early_after[1].is_none());
        }
    }
}
