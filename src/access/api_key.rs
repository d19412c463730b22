//! Keys of the API: which there are, what each may do, and whether one that was shown is among them.
//!
//! What is kept of a key is its digest, and what was shown is compared with all of them, whichever is right: so the
//! time that takes says nothing about any key (CVE-2021-33880).

use std::fmt;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};

/// Shortest key: shorter ones are guessed.
pub const KEY_BYTES_MIN: usize = 16;
/// Longest key that is looked at.
const KEY_BYTES_MAX: usize = 512;
/// Most keys; all of them are compared with at each request.
pub const KEYS_MAX: usize = 256;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Publish.
    Publish,
    /// Ask.
    Read,
    /// Close connections; includes the others.
    Admin,
}

/// Words of the key file.
const SCOPES: [(&str, Scope); 3] =
    [("publish", Scope::Publish), ("read", Scope::Read), ("admin", Scope::Admin)];

/// What a key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether this is among it.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }
}

/// What is wrong with a key file, and in which line; the line itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is no key in it.
    NoKeys,
    /// Not UTF-8.
    NotUtf8,
    /// More keys than are taken.
    TooMany,
    /// A key that is too short, or longer than any request could show.
    Length(usize),
    /// A key without a scope.
    NoScope(usize),
    /// A scope that is none.
    NotScope(usize),
    /// A key that was there before.
    Twice(usize),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NoKeys => f.write_str("there is no key in it; write one per line: KEY SCOPE…"),
            FileError::NotUtf8 => f.write_str("it is not UTF-8"),
            FileError::TooMany => write!(f, "there are more than {KEYS_MAX} keys"),
            FileError::Length(line) => {
                write!(f, "line {line}: a key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes")
            }
            FileError::NoScope(line) => {
                write!(
                    f,
                    "line {line}: what the key may do is missing; write publish, read or admin after it"
                )
            }
            FileError::NotScope(line) => write!(f, "line {line}: the scopes are publish, read and admin"),
            FileError::Twice(line) => write!(f, "line {line}: this key was there before"),
        }
    }
}

impl std::error::Error for FileError {}

/// The first key of a file, as it stands there, that may do everything: for who holds the file and asks with it.
#[must_use]
pub fn admin(file: &[u8]) -> Option<&str> {
    ApiKeys::read(file).ok()?;
    let lines = std::str::from_utf8(file).ok()?.lines();
    lines.map(words).find(|words| words.contains(&"admin")).and_then(|words| words.first().copied())
}

/// What stands in a line, without a comment.
fn words(line: &str) -> Vec<&str> {
    let words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    words.take_while(|word| !word.starts_with('#')).collect()
}

/// All keys.
pub struct ApiKeys(Vec<([u8; 32], Scopes)>);

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({} keys)", self.0.len())
    }
}

impl ApiKeys {
    /// Reads a key file: on each line a key and its scopes, with blanks between; `#` begins a comment line.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(file: &[u8]) -> Result<ApiKeys, FileError> {
        let text = std::str::from_utf8(file).map_err(|_| FileError::NotUtf8)?;
        let mut keys: Vec<([u8; 32], Scopes)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let words = words(line);
            let Some((key, words)) = words.split_first() else { continue };
            if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
                return Err(FileError::Length(number));
            }
            let mut scopes = Scopes::default();
            for word in words {
                let known = SCOPES.iter().find(|(known, _)| known == word);
                let (_, scope) = known.ok_or(FileError::NotScope(number))?;
                scopes.0 |= 1 << *scope as u8;
            }
            if scopes == Scopes::default() {
                return Err(FileError::NoScope(number));
            }
            let digest = digest_of(key.as_bytes());
            if keys.iter().any(|(known, _)| *known == digest) {
                return Err(FileError::Twice(number));
            }
            keys.push((digest, scopes));
            if keys.len() > KEYS_MAX {
                return Err(FileError::TooMany);
            }
        }
        if keys.is_empty() { Err(FileError::NoKeys) } else { Ok(ApiKeys(keys)) }
    }

    /// What a key may do; none if there is no such key. The work is the same whichever it is.
    #[must_use]
    pub fn scopes(&self, shown: &[u8]) -> Option<Scopes> {
        if shown.len() > KEY_BYTES_MAX {
            return None;
        }
        let shown = digest_of(shown);
        let mut found = None;
        for (digest, scopes) in &self.0 {
            if constant_time::verify_slices_are_equal(digest, &shown).is_ok() {
                found = Some(*scopes);
            }
        }
        found
    }
}

fn digest_of(key: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, key).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "abcdefghijklmnop";

    #[test]
    fn files_have_a_key_and_its_scopes_on_each_line() {
        let file = format!("# keys\n\n{ONE} read publish # both\n  {ONE}2\tadmin\r\n{ONE}3 read,publish\n");
        let keys = ApiKeys::read(file.as_bytes()).expect("good");
        let may = |key: &str, scope| keys.scopes(key.as_bytes()).map(|scopes| scopes.has(scope));
        assert_eq!(may(ONE, Scope::Read), Some(true));
        assert_eq!(may(ONE, Scope::Admin), Some(false));
        assert_eq!(may(&format!("{ONE}2"), Scope::Publish), Some(true), "admin includes the others");
        assert_eq!(may(&format!("{ONE}3"), Scope::Publish), Some(true));
        for unknown in
            ["", "abcdefghijklmno", "abcdefghijklmnopq", "ABCDEFGHIJKLMNOP", "#", &"x".repeat(1000)]
        {
            assert_eq!(may(unknown, Scope::Read), None, "{unknown}");
        }
        assert!(!format!("{keys:?}").contains(ONE));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        for (file, error) in [
            ("".to_owned(), FileError::NoKeys),
            ("# none\n".to_owned(), FileError::NoKeys),
            ("\n\nshort read".to_owned(), FileError::Length(3)),
            (format!("{} read", "x".repeat(513)), FileError::Length(1)),
            (ONE.to_owned(), FileError::NoScope(1)),
            (format!("{ONE} # read"), FileError::NoScope(1)),
            (format!("{ONE} write"), FileError::NotScope(1)),
            (format!("{ONE} read\n{ONE} admin"), FileError::Twice(2)),
        ] {
            let told = ApiKeys::read(file.as_bytes()).map(drop).expect_err(&file);
            assert_eq!(told, error);
            assert!(!told.to_string().contains(ONE) && !told.to_string().contains("short"));
        }
        assert_eq!(ApiKeys::read(b"\xff").map(drop), Err(FileError::NotUtf8));
        let many: String = (0..=KEYS_MAX).map(|n| format!("{ONE}{n} read\n")).collect();
        assert_eq!(ApiKeys::read(many.as_bytes()).map(drop), Err(FileError::TooMany));
    }

    /// CVE-2021-33880: every key is compared with, to its end, whichever is shown. What is compared are digests of one
    /// length by a function that is made for it, so nothing is left that could end early; this holds the result to the
    /// plain comparison that it replaces.
    #[test]
    fn threat_40_keys_are_compared_in_constant_time_with_all_of_them() {
        let names: Vec<String> = (0..50).map(|n| format!("{ONE}-{n}")).collect();
        let file: String = names.iter().map(|name| format!("{name} read\n")).collect();
        let keys = ApiKeys::read(file.as_bytes()).expect("good");
        for shown in names.iter().flat_map(|name| [name.clone(), name[1..].to_owned(), format!("{name} ")]) {
            assert_eq!(keys.scopes(shown.as_bytes()).is_some(), names.contains(&shown), "{shown}");
        }
    }
}
