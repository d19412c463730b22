//! The file: opened and read once at start, then written batch by batch.
//!
//! A file that was not closed, and was written without holding anything back, may know less than clients were told:
//! an offset that they have seen could be given out again. So its numberings get new names, and nobody who comes
//! back takes them for the old ones (`hub::stored`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::base::hash::{Keys, Map};
use crate::hub::document;
use crate::hub::event::Publication;
use crate::hub::journal::{Entry, Reach};
use crate::hub::name::{Topic, TopicKind};
use crate::hub::stored::{Content, Image, Restored};
use crate::store::format::{self, Damaged, Standing};

/// Name of the file in the folder that the operator names.
const FILE: &str = "roomcast.redb";
/// Topics: see `store::format`.
const TOPICS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("topics");
/// Publications: see `store::format`.
const PUBLICATIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("publications");
/// Texts as they were when they were written as a whole: see `store::format`.
const TEXTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("texts");
/// Edits since then: see `store::format`.
const EDITS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("edits");
/// What holds for the whole file.
const MARKS: TableDefinition<'_, &str, u64> = TableDefinition::new("marks");
/// Of [`MARKS`]: the layout of all rows.
const LAYOUT: &str = "layout";
/// The layout that this file writes.
const LAYOUT_NUMBER: u64 = 2;
/// Of [`MARKS`]: 0 while a process may have told clients more than is here.
const TRUSTED: &str = "trusted";
/// Of [`MARKS`]: the highest number of any inbox that was forgotten.
const INBOX_FLOOR: &str = "inbox_floor";

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
    ) -> Result<(Disk, Image), DiskError> {
        let file = folder.join(FILE);
        let failed = |cause| DiskError { file: file.clone(), cause };
        std::fs::create_dir_all(folder).map_err(|error| failed(Cause::Folder(error)))?;
        let open = || -> Result<(Disk, Image), Cause> {
            let database = Database::create(&file)?;
            let firsts = Map::with_hasher(keys);
            let mut disk = Disk { file: file.clone(), database, holds, firsts };
            let image = disk.restore(keys, fresh_epoch)?;
            Ok((disk, image))
        };
        open().map_err(failed)
    }

    /// Reads everything, and marks the file as in use.
    fn restore(&mut self, keys: Keys, fresh_epoch: impl FnMut() -> Arc<str>) -> Result<Image, Cause> {
        let transaction = self.database.begin_write()?;
        let mut tables = Tables::open(&transaction)?;
        let layout = tables.marks.get(LAYOUT)?.map_or(LAYOUT_NUMBER, |layout| layout.value());
        if layout != LAYOUT_NUMBER {
            return Err(Cause::Layout(layout));
        }
        let trusted = tables.marks.get(TRUSTED)?.is_none_or(|trusted| trusted.value() != 0);
        let mut image = tables.image(keys)?;
        if !trusted {
            for restored in &image.topics {
                tables.forget_history(restored)?;
            }
            image.begin_anew(fresh_epoch);
            for restored in &image.topics {
                tables.write_history(restored)?;
            }
            tables.marks.insert(INBOX_FLOOR, image.inbox_floor)?;
        }
        let reaches = image.topics.iter().filter_map(|one| Some((&one.topic, one.content.reach()?.first)));
        self.firsts.extend(reaches.map(|(topic, first)| (topic.clone(), first)));
        tables.marks.insert(LAYOUT, LAYOUT_NUMBER)?;
        tables.marks.insert(TRUSTED, u64::from(self.holds))?;
        drop(tables);
        transaction.commit()?;
        Ok(image)
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
        let mut tables = Tables::open(&transaction)?;
        for entry in entries {
            tables.write(entry, &mut self.firsts)?;
        }
        drop(tables);
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

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// The file within one transaction.
struct Tables<'t> {
    topics: Rows<'t>,
    publications: Rows<'t>,
    texts: Rows<'t>,
    edits: Rows<'t>,
    marks: Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, Cause> {
        Ok(Tables {
            topics: transaction.open_table(TOPICS)?,
            publications: transaction.open_table(PUBLICATIONS)?,
            texts: transaction.open_table(TEXTS)?,
            edits: transaction.open_table(EDITS)?,
            marks: transaction.open_table(MARKS)?,
        })
    }

    /// Everything; the edits of texts are done, and gone.
    fn image(&mut self, keys: Keys) -> Result<Image, Cause> {
        let inbox_floor = self.marks.get(INBOX_FLOOR)?.map_or(0, |floor| floor.value());
        let mut image = Image { topics: Vec::new(), inbox_floor };
        for row in self.topics.iter()? {
            let (key, row) = row?;
            let (kind, name) = format::named(key.value())?;
            let Standing { head, first, acknowledged, epoch } = format::read_standing(row.value())?;
            let (topic, epoch) = (Topic::new(kind, name, keys), Arc::from(epoch));
            let publications = read(&self.publications, key.value(), first, head)?;
            let content = Content::History { epoch, head, acknowledged, publications };
            image.topics.push(Restored { topic, content });
        }
        // First the keys: reading a text with edits writes it.
        let mut keys_of_texts = Vec::new();
        for row in self.texts.iter()? {
            keys_of_texts.push(row?.0.value().to_vec());
        }
        for key in keys_of_texts {
            let (kind, name) = format::named(&key)?;
            let topic = Topic::new(kind, name, keys);
            let (version, text) = self.read_text(&key)?;
            image.topics.push(Restored { topic, content: Content::Text { version, text } });
        }
        Ok(image)
    }

    /// A text with its edits, which are gone then.
    fn read_text(&mut self, key: &[u8]) -> Result<(u64, String), Cause> {
        let row = self.texts.get(key)?.ok_or(Damaged)?;
        let (version, text) = format::read_text(row.value())?;
        let mut edits = Vec::new();
        let (from, to) = (format::numbered_key(key, version + 1), format::numbered_key(key, u64::MAX));
        for (next, edit) in (version + 1..).zip(self.edits.range::<&[u8]>(&*from..=&*to)?) {
            let (edit_key, edit) = edit?;
            if edit_key.value() != &*format::numbered_key(key, next) {
                return Err(Cause::Damaged);
            }
            edits.push(format::read_edit(edit.value())?);
        }
        let text = document::replay(text, edits.iter()).ok_or(Damaged)?;
        let version = version + edits.len() as u64;
        drop(row);
        if !edits.is_empty() {
            self.write_text(key, version, &text)?;
        }
        Ok((version, text))
    }

    /// Writes a text as a whole, in place of its edits.
    fn write_text(&mut self, key: &[u8], version: u64, text: &str) -> Result<(), Cause> {
        self.texts.insert(key, &*format::text(version, text))?;
        self.forget_edits(key)
    }

    fn forget_edits(&mut self, key: &[u8]) -> Result<(), Cause> {
        let (from, to) = (format::numbered_key(key, 0), format::numbered_key(key, u64::MAX));
        Ok(self.edits.retain_in::<&[u8], _>(&*from..=&*to, |_, _| false)?)
    }

    fn forget_history(&mut self, Restored { topic, content }: &Restored) -> Result<(), Cause> {
        let Content::History { publications, .. } = content else { return Ok(()) };
        let key = format::topic(topic);
        for publication in publications {
            self.publications.remove(&*format::numbered_key(&key, publication.offset))?;
        }
        Ok(())
    }

    fn write_history(&mut self, Restored { topic, content }: &Restored) -> Result<(), Cause> {
        let (Content::History { epoch, head, publications, .. }, Some(reach)) = (content, content.reach())
        else {
            return Ok(());
        };
        let key = format::topic(topic);
        for publication in publications {
            let row = format::publication(publication);
            self.publications.insert(&*format::numbered_key(&key, publication.offset), &*row)?;
        }
        self.write_standing(&key, *head, reach, epoch)
    }

    fn write_standing(&mut self, key: &[u8], head: u64, reach: Reach, epoch: &str) -> Result<(), Cause> {
        let Reach { first, acknowledged } = reach;
        let standing = Standing { head, first, acknowledged, epoch: epoch.into() };
        self.topics.insert(key, &*format::standing(&standing))?;
        Ok(())
    }

    fn write(&mut self, entry: &Entry, firsts: &mut Map<Topic, u64>) -> Result<(), Cause> {
        match entry {
            Entry::Published { topic, epoch, publication, reach } => {
                let (key, head) = (format::topic(topic), publication.offset);
                trim(firsts, &mut self.publications, topic, &key, reach.first.min(head))?;
                let row = format::publication(publication);
                self.publications.insert(&*format::numbered_key(&key, head), &*row)?;
                self.write_standing(&key, head, *reach, epoch)?;
                trim(firsts, &mut self.publications, topic, &key, reach.first)
            }
            Entry::Trimmed { topic, reach } => {
                let key = format::topic(topic);
                trim(firsts, &mut self.publications, topic, &key, reach.first)?;
                let kept = self.topics.get(&*key)?.map(|row| format::read_standing(row.value()));
                if let Some(kept) = kept {
                    let Standing { head, epoch, .. } = kept?;
                    self.write_standing(&key, head, *reach, &epoch)?;
                }
                Ok(())
            }
            Entry::Edited { topic, version, operation } => {
                let key = format::topic(topic);
                if *version == 1 {
                    self.write_text(&key, 0, "")?;
                }
                self.edits.insert(&*format::numbered_key(&key, *version), &*format::edit(operation))?;
                Ok(())
            }
            Entry::Written { topic, version, text } => self.write_text(&format::topic(topic), *version, text),
            Entry::Forgotten { topic } if topic.kind() == TopicKind::Document => {
                let key = format::topic(topic);
                self.texts.remove(&*key)?;
                self.forget_edits(&key)
            }
            Entry::Forgotten { topic } => self.forget(topic, firsts),
        }
    }

    fn forget(&mut self, topic: &Topic, firsts: &mut Map<Topic, u64>) -> Result<(), Cause> {
        let key = format::topic(topic);
        let standing = self.topics.remove(&*key)?.map(|row| format::read_standing(row.value()));
        if let Some(standing) = standing {
            let Standing { head, .. } = standing?;
            trim(firsts, &mut self.publications, topic, &key, head + 1)?;
            let floor = self.marks.get(INBOX_FLOOR)?.map_or(0, |floor| floor.value());
            if topic.kind() == TopicKind::Inbox && head > floor {
                self.marks.insert(INBOX_FLOOR, head)?;
            }
        }
        firsts.remove(topic);
        Ok(())
    }
}

/// The publications of a topic from `first` to `head`, which have to be all there.
fn read(
    publications: &impl ReadableTable<&'static [u8], &'static [u8]>,
    topic: &[u8],
    first: u64,
    head: u64,
) -> Result<Vec<Arc<Publication>>, Cause> {
    let mut read = Vec::new();
    if first > head {
        return Ok(read);
    }
    let (from, to) = (format::numbered_key(topic, first), format::numbered_key(topic, head));
    for (offset, row) in (first..).zip(publications.range::<&[u8]>(&*from..=&*to)?) {
        let (key, row) = row?;
        if key.value() != &*format::numbered_key(topic, offset) {
            return Err(Cause::Damaged);
        }
        read.push(format::read_publication(offset, row.value())?);
    }
    if read.len() as u64 == head - first + 1 { Ok(read) } else { Err(Cause::Damaged) }
}

/// Removes what is before `first`.
fn trim(
    firsts: &mut Map<Topic, u64>,
    publications: &mut Rows<'_>,
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
        publications.remove(&*format::numbered_key(key, offset))?;
    }
    Ok(())
}
