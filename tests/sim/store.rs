//! A store in memory: it follows the journal entry by entry, and loses with a killed process what was not committed.
//!
//! Beside `roomcast::store`, which it is held against below, it judges: entries must follow from one another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roomcast::base::hash::Keys;
use roomcast::hub::document;
use roomcast::hub::event::Publication;
use roomcast::hub::journal::{Entry, Reach};
use roomcast::hub::name::{Topic, TopicKind};
use roomcast::hub::operation::Operation;
use roomcast::hub::stored::{Content, Image, Restored};

use crate::net::Dice;

#[derive(Clone, Debug)]
enum Kept {
    History { epoch: Arc<str>, head: u64, reach: Reach, publications: Vec<Arc<Publication>> },
    Text { version: u64, text: String, edits: Vec<Operation> },
}

/// What is on the simulated disk.
#[derive(Default)]
pub(crate) struct Store {
    topics: BTreeMap<(u8, Box<str>), Kept>,
    inbox_floor: u64,
    /// A process may have told clients more than is here.
    doubtful: bool,
}

fn key(topic: &Topic) -> (u8, Box<str>) {
    (topic.kind() as u8, topic.name().into())
}

impl Store {
    /// A batch is committed.
    pub(crate) fn commit(&mut self, batch: &[Entry]) {
        batch.iter().for_each(|entry| self.follow(entry));
    }

    fn follow(&mut self, entry: &Entry) {
        match entry {
            Entry::Published { topic, epoch: of, publication, reach: now } => {
                let empty = || Kept::History {
                    epoch: Arc::clone(of),
                    head: publication.offset - 1,
                    reach: *now,
                    publications: Vec::new(),
                };
                let kept = self.topics.entry(key(topic)).or_insert_with(empty);
                let Kept::History { epoch, head, reach, publications } = kept else { panic!("{topic:?}") };
                assert_eq!((&**epoch, *head + 1), (&**of, publication.offset), "{topic:?} goes on");
                publications.push(Arc::clone(publication));
                publications.retain(|one| one.offset >= now.first);
                (*head, *reach) = (publication.offset, *now);
            }
            Entry::Trimmed { topic, reach: now } => {
                let kept = self.topics.get_mut(&key(topic));
                let Some(Kept::History { head, reach, publications, .. }) = kept else {
                    panic!("{topic:?} was never stored")
                };
                assert!(reach.first <= now.first && now.first <= *head + 1, "{topic:?}: {now:?}");
                publications.retain(|one| one.offset >= now.first);
                *reach = *now;
            }
            Entry::Edited { topic, version: now, operation } => {
                let empty = || Kept::Text { version: 0, text: String::new(), edits: Vec::new() };
                let kept = self.topics.entry(key(topic)).or_insert_with(empty);
                let Kept::Text { version, edits, .. } = kept else { panic!("{topic:?}") };
                edits.push(operation.clone());
                assert_eq!(*version + edits.len() as u64, *now, "{topic:?} goes on");
            }
            Entry::Written { topic, version, text } => {
                let kept = self.topics.get_mut(&key(topic)).expect("it was edited");
                let (at, content) = read(kept);
                assert_eq!((at, &content), (*version, &**text), "{topic:?}");
                *kept = Kept::Text { version: at, text: content, edits: Vec::new() };
            }
            Entry::Forgotten { topic } => {
                let kept = self.topics.remove(&key(topic));
                let kept = kept.unwrap_or_else(|| panic!("{topic:?} was never stored"));
                if let (TopicKind::Inbox, Kept::History { head, .. }) = (topic.kind(), kept) {
                    self.inbox_floor = self.inbox_floor.max(head);
                }
            }
        }
    }

    /// The process has ended in order: all that clients were told is here.
    pub(crate) fn close(&mut self) {
        self.doubtful = false;
    }

    /// A process begins with what is here, and tells clients nothing before it is stored (`holds`), or does.
    pub(crate) fn begin(&mut self, holds: bool, keys: Keys, fresh_epoch: impl FnMut() -> Arc<str>) -> Image {
        let mut image = Image { topics: Vec::new(), inbox_floor: self.inbox_floor };
        for ((kind, name), kept) in &self.topics {
            let topic = Topic::new(TopicKind::ALL[usize::from(*kind)], name, keys);
            let content = match kept {
                Kept::History { epoch, head, reach, publications } => {
                    let (epoch, publications) = (Arc::clone(epoch), publications.clone());
                    let acknowledged = reach.acknowledged;
                    assert_eq!(reach.first, *head + 1 - publications.len() as u64, "{topic:?}");
                    Content::History { epoch, head: *head, acknowledged, publications }
                }
                Kept::Text { .. } => {
                    let (version, text) = read(kept);
                    Content::Text { version, text }
                }
            };
            image.topics.push(Restored { topic, content });
        }
        if self.doubtful {
            image.begin_anew(fresh_epoch);
        }
        self.doubtful = !holds;
        self.inbox_floor = image.inbox_floor;
        self.topics = image.topics.iter().map(|one| (key(&one.topic), kept(&one.content))).collect();
        image
    }
}

fn read(kept: &Kept) -> (u64, String) {
    let Kept::Text { version, text, edits } = kept else { panic!("no text") };
    let content = document::replay(text, edits.iter()).expect("edits fit");
    (version + edits.len() as u64, content)
}

fn kept(content: &Content) -> Kept {
    match (content.reach(), content) {
        (Some(reach), Content::History { epoch, head, publications, .. }) => {
            let (epoch, publications) = (Arc::clone(epoch), publications.clone());
            Kept::History { epoch, head: *head, reach, publications }
        }
        (_, Content::Text { version, text }) => {
            Kept::Text { version: *version, text: text.clone(), edits: Vec::new() }
        }
        (None, Content::History { .. }) => unreachable!("a history reaches somewhere"),
    }
}

/// Batches of one shard on their way to the store, and back.
#[derive(Default)]
pub(crate) struct Outlet {
    /// To be committed, each at its time.
    under_way: VecDeque<(u64, Vec<Entry>)>,
    /// Committed, and the shard is told at that time.
    news: VecDeque<u64>,
}

impl Outlet {
    pub(crate) fn send(&mut self, batch: Vec<Entry>, due: u64) {
        let last = self.under_way.back().map_or(0, |(due, _)| *due);
        self.under_way.push_back((due.max(last), batch));
    }

    /// Commits what is due, and says so later.
    pub(crate) fn commit(&mut self, store: &mut Store, now: u64, delay_us: usize, dice: &mut Dice) {
        while let Some((_, batch)) = self.under_way.pop_front_if(|(due, _)| *due <= now) {
            store.commit(&batch);
            let last = self.news.back().copied().unwrap_or(0);
            self.news.push_back((now + dice.below(delay_us) as u64).max(last));
        }
    }

    /// Whether a batch was stored since this said so last.
    pub(crate) fn take_news(&mut self, now: u64) -> bool {
        self.news.pop_front_if(|due| *due <= now).is_some()
    }

    pub(crate) fn has_news(&self, now: u64) -> bool {
        self.news.front().is_some_and(|due| *due <= now)
    }

    /// When something happens here next.
    pub(crate) fn next_us(&self) -> Option<u64> {
        let commit = self.under_way.front().map(|(due, _)| *due);
        commit.into_iter().chain(self.news.front().copied()).min()
    }
}
