//! The file: opened and read once at start, then written batch by batch.
//!
//! A file that was not closed, and was written without holding anything back, may know less than clients were told:
//! an offset that they have seen could be given out again. So its numberings get new names, and nobody who comes
//! back takes them for the old ones.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableTable, Table, TableDefinition};

use crate::base::hash::{Keys, Map};
use crate::hub::journal::{Entry, Restored};
use crate::hub::name::Topic;
use crate::store::format::{self, Damaged, Standing};

/// Name of the file in the folder that the operator names.
const FILE: &str = "roomcast.redb";
/// Topics: see `store::format`.
const TOPICS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("topics");
/// Publications: see `store::format`.
const PUBLICATIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("publications");
/// What holds for the whole file.
const MARKS: TableDefinition<'_, &str, u64> = TableDefinition::new("marks");
/// Of [`MARKS`]: the layout of all rows.
const LAYOUT: &str = "layout";
/// The layout that this file writes.
const LAYOUT_NUMBER: u64 = 1;
/// Of [`MARKS`]: 0 while a process may have told clients more than is here.
const TRUSTED: &str = "trusted";

/// Why there is no store, with the file.
#[derive(Debug)]
pub struct DiskError {
    file: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Folder(std::io::Error),
    Redb(Box<redb::Error>),
    Layout(u64),
    Damaged,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.cause {
            Cause::Folder(error) => {
                write!(f, "cannot make the folder of {file}: {error}; name another --data-dir")
            }
            Cause::Redb(error) if matches!(**error, redb::Error::DatabaseAlreadyOpen) => {
                write!(f, "{file} is in use by another process; stop that, or name another --data-dir")
            }
            Cause::Redb(error) => {
                write!(f, "{file}: {error}; see to the disk, or move the file away to begin anew")
            }
            Cause::Layout(found) => write!(
                f,
                "{file} has layout {found} and this release knows {LAYOUT_NUMBER}; use the release that wrote it, \
                 or move the file away to begin anew"
            ),
            Cause::Damaged => write!(f, "{file} is damaged; move the file away to begin anew"),
        }
    }
}

impl std::error::Error for DiskError {}

impl<E: Into<redb::Error>> From<E> for Cause {
    fn from(error: E) -> Cause {
        Cause::Redb(Box::new(error.into()))
    }
}

impl From<Damaged> for Cause {
    fn from(_: Damaged) -> Cause {
        Cause::Damaged
    }
}

/// The open file.
pub struct Disk {
    file: PathBuf,
    database: Database,
    /// Whether whatever clients are told is here first.
    holds: bool,
    /// Offset of the oldest publication that is kept of each topic.
    firsts: Map<Topic, u64>,
}

impl Disk {
    /// Opens the store in `folder`, or makes one, and reads all that it knows. `holds`: outcomes will wait until what
    /// is before them is safe. `fresh_epoch` names numberings that cannot go on.
    ///
    /// # Errors
    /// The folder or file cannot be used; nothing was changed then.
    pub fn open(
        folder: &Path,
        holds: bool,
        keys: Keys,
        fresh_epoch: impl FnMut() -> Arc<str>,
    ) -> Result<(Disk, Vec<Restored>), DiskError> {
        let file = folder.join(FILE);
        let failed = |cause| DiskError { file: file.clone(), cause };
        std::fs::create_dir_all(folder).map_err(|error| failed(Cause::Folder(error)))?;
        let open = || -> Result<(Disk, Vec<Restored>), Cause> {
            let database = Database::create(&file)?;
            let firsts = Map::with_hasher(keys);
            let mut disk = Disk { file: file.clone(), database, holds, firsts };
            let restored = disk.restore(keys, fresh_epoch)?;
            Ok((disk, restored))
        };
        open().map_err(failed)
    }

    /// Reads everything, and marks the file as in use.
    fn restore(
        &mut self,
        keys: Keys,
        mut fresh_epoch: impl FnMut() -> Arc<str>,
    ) -> Result<Vec<Restored>, Cause> {
        let transaction = self.database.begin_write()?;
        let mut all = Vec::new();
        {
            let mut marks = transaction.open_table(MARKS)?;
            let mut topics = transaction.open_table(TOPICS)?;
            let publications = transaction.open_table(PUBLICATIONS)?;
            let layout = marks.get(LAYOUT)?.map_or(LAYOUT_NUMBER, |layout| layout.value());
            if layout != LAYOUT_NUMBER {
                return Err(Cause::Layout(layout));
            }
            let trusted = marks.get(TRUSTED)?.is_none_or(|trusted| trusted.value() != 0);
            for row in topics.iter()? {
                let (key, row) = row?;
                let (kind, name) = format::named(key.value())?;
                let Standing { head, first, epoch } = format::read_standing(row.value())?;
                let topic = Topic::new(kind, name, keys);
                let epoch = if trusted { Arc::from(epoch) } else { fresh_epoch() };
                let publications = read(&publications, key.value(), first, head)?;
                self.firsts.insert(topic.clone(), first);
                all.push(Restored { topic, epoch, head, publications });
            }
            for Restored { topic, epoch, head, publications } in all.iter().filter(|_| !trusted) {
                let first = head + 1 - publications.len() as u64;
                let standing = Standing { head: *head, first, epoch: (**epoch).into() };
                topics.insert(&*format::topic(topic), &*format::standing(&standing))?;
            }
            marks.insert(LAYOUT, LAYOUT_NUMBER)?;
            marks.insert(TRUSTED, u64::from(self.holds))?;
        }
        transaction.commit()?;
        Ok(all)
    }

    /// Writes entries, in order, and returns when they are safe.
    ///
    /// # Errors
    /// The disk is full or broken; what was written before stands.
    pub fn commit<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> Result<(), DiskError> {
        self.write(entries).map_err(|cause| DiskError { file: self.file.clone(), cause })
    }

    fn write<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> Result<(), Cause> {
        let transaction = self.database.begin_write()?;
        {
            let mut topics = transaction.open_table(TOPICS)?;
            let mut publications = transaction.open_table(PUBLICATIONS)?;
            for entry in entries {
                match entry {
                    Entry::Published { topic, epoch, publication, first } => {
                        let (key, head) = (format::topic(topic), publication.offset);
                        trim(&mut self.firsts, &mut publications, topic, &key, (*first).min(head))?;
                        let row = format::publication(publication);
                        publications.insert(&*format::publication_key(&key, head), &*row)?;
                        let standing = Standing { head, first: *first, epoch: (**epoch).into() };
                        topics.insert(&*key, &*format::standing(&standing))?;
                        trim(&mut self.firsts, &mut publications, topic, &key, *first)?;
                    }
                    Entry::Trimmed { topic, first } => {
                        let key = format::topic(topic);
                        trim(&mut self.firsts, &mut publications, topic, &key, *first)?;
                        let kept = topics.get(&*key)?.map(|row| format::read_standing(row.value()));
                        if let Some(kept) = kept {
                            let standing = Standing { first: *first, ..kept? };
                            topics.insert(&*key, &*format::standing(&standing))?;
                        }
                    }
                    Entry::Forgotten { topic } => {
                        let key = format::topic(topic);
                        let head = topics.remove(&*key)?.map(|row| format::read_standing(row.value()));
                        if let Some(standing) = head {
                            let end = standing?.head + 1;
                            trim(&mut self.firsts, &mut publications, topic, &key, end)?;
                        }
                        self.firsts.remove(topic);
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Nothing more will be written: the file knows all that clients were told.
    ///
    /// # Errors
    /// As for [`Disk::commit`].
    pub fn close(self) -> Result<(), DiskError> {
        let mark = || -> Result<(), Cause> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(MARKS)?.insert(TRUSTED, 1)?;
            transaction.commit()?;
            Ok(())
        };
        mark().map_err(|cause| DiskError { file: self.file.clone(), cause })
    }
}

/// The publications of a topic from `first` to `head`, which have to be all there.
fn read(
    publications: &impl ReadableTable<&'static [u8], &'static [u8]>,
    topic: &[u8],
    first: u64,
    head: u64,
) -> Result<Vec<Arc<crate::hub::event::Publication>>, Cause> {
    let mut read = Vec::new();
    if first > head {
        return Ok(read);
    }
    let (from, to) = (format::publication_key(topic, first), format::publication_key(topic, head));
    for (offset, row) in (first..).zip(publications.range::<&[u8]>(&*from..=&*to)?) {
        let (key, row) = row?;
        if key.value() != &*format::publication_key(topic, offset) {
            return Err(Cause::Damaged);
        }
        read.push(format::read_publication(offset, row.value())?);
    }
    if read.len() as u64 == head - first + 1 { Ok(read) } else { Err(Cause::Damaged) }
}

/// Removes what is before `first`.
fn trim(
    firsts: &mut Map<Topic, u64>,
    publications: &mut Table<'_, &'static [u8], &'static [u8]>,
    topic: &Topic,
    key: &[u8],
    first: u64,
) -> Result<(), Cause> {
    let from = match firsts.get_mut(topic) {
        Some(kept) => std::mem::replace(kept, (*kept).max(first)),
        None => {
            firsts.insert(topic.clone(), first);
            first
        }
    };
    for offset in from..first {
        publications.remove(&*format::publication_key(key, offset))?;
    }
    Ok(())
}
