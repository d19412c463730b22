//! Files that say who may come in: read at the start, and again whenever that is asked for.
//!
//! Judges no content: `access` does. Tells of a file only its name and what is wrong with it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::access::api_key::{self, ApiKeys};
use crate::access::content::{self, Content};
use crate::access::key::{self, FILE_BYTES_MAX, KeyError, Keyring};
use crate::config::setting::Files;
use crate::mailbox::Wake;
use crate::reactor::Control;
use crate::shard::port::Papers;

/// Longest file of keys or words that is read.
const BYTES_MAX: u64 = 16 << 20;

/// What is wrong with a file.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is longer than any such file.
    TooLong,
    /// It holds no key as it should.
    Key(KeyError),
    /// It holds no keys of the API.
    ApiKeys(api_key::FileError),
    /// It holds no words.
    Content(content::FileError),
}

/// A file that cannot be used; shown as one line.
#[derive(Debug)]
pub struct PapersError {
    /// The flag that names it.
    pub flag: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for PapersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{} {}: ", self.flag, self.path.display())?;
        match &self.fault {
            Fault::Unreadable(cause) => write!(f, "the file cannot be read: {cause}"),
            Fault::TooLong => f.write_str("the file is longer than 16 MiB"),
            Fault::Key(error) => error.fmt(f),
            Fault::ApiKeys(error) => error.fmt(f),
            Fault::Content(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PapersError {}

/// Reads a file that is no longer than it should be.
///
/// # Errors
/// Why it cannot be read.
pub fn bytes(path: &Path, max: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    read.map_err(Fault::Unreadable)?;
    if bytes.len() as u64 > max { Err(Fault::TooLong) } else { Ok(bytes) }
}

/// Reads all files that are named.
///
/// # Errors
/// The first that cannot be used.
pub fn read(files: &Files) -> Result<Papers, PapersError> {
    let wrong = |flag, path: &Path| {
        let path = path.to_owned();
        move |fault| PapersError { flag, path, fault }
    };
    let mut keyring = Keyring::default();
    // One byte more than a key may have, so that the key's own complaint is the one that is told.
    let key_bytes = |path: &Path| bytes(path, FILE_BYTES_MAX as u64 + 1);
    if let Some(path) = &files.secret {
        let added = key_bytes(path).and_then(|file| keyring.add_secret(&file).map_err(Fault::Key));
        added.map_err(wrong("jwt-secret-file", path))?;
    }
    for (kid, path) in &files.public {
        let added =
            key_bytes(path).and_then(|file| keyring.add_public(kid.as_deref(), &file).map_err(Fault::Key));
        added.map_err(wrong("jwt-public-key", path))?;
    }
    if let Some(path) = &files.set {
        let added = key_bytes(path).and_then(|file| keyring.add_set(&file).map_err(Fault::Key));
        added.map_err(wrong("jwks-file", path))?;
    }
    let mut papers = crate::access::Papers { keyring, ..crate::access::Papers::default() };
    if let Some(path) = &files.api_keys {
        let keys = bytes(path, BYTES_MAX).and_then(|file| ApiKeys::read(&file).map_err(Fault::ApiKeys));
        papers.api_keys = Some(keys.map_err(wrong("api-key-file", path))?);
    }
    if let Some(path) = &files.content {
        let words = bytes(path, BYTES_MAX).and_then(|file| Content::read(&file).map_err(Fault::Content));
        papers.content = Some(words.map_err(wrong("reject-content", path))?);
    }
    Ok(Arc::new(papers))
}

/// The secret of a file, for who mints tokens.
///
/// # Errors
/// It cannot be used.
pub fn secret(path: &Path) -> Result<Vec<u8>, PapersError> {
    let read = bytes(path, FILE_BYTES_MAX as u64 + 1);
    let secret = read.and_then(|file| key::secret(&file).map(Into::into).map_err(Fault::Key));
    secret.map_err(|fault| PapersError { flag: "jwt-secret-file", path: path.to_owned(), fault })
}

/// Reads the files again and tells the shards.
#[derive(Clone, Debug)]
pub struct Archive {
    files: Files,
    shards: Vec<(Sender<Control>, Arc<Wake>)>,
}

impl Archive {
    /// Of these files, for these shards.
    #[must_use]
    pub fn new(files: Files, shards: Vec<(Sender<Control>, Arc<Wake>)>) -> Archive {
        Archive { files, shards }
    }

    /// Whether there is anything to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files == Files::default()
    }

    /// Reads all files again. Nothing changes unless all of them can be used.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn reload(&self) -> Result<(), PapersError> {
        let papers = read(&self.files)?;
        for (control, wake) in &self.shards {
            // A shard that has ended needs no keys.
            let _ = control.send(Control::Papers(Arc::clone(&papers)));
            wake.notify();
        }
        Ok(())
    }
}
