//! The simulated store against the one on disk: both follow the journal of one owner, and must give back the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roomcast::base::clock::{Mono, Now, Wall};
use roomcast::base::hash::Keys;
use roomcast::base::id::{Key, Origin, ShardId};
use roomcast::base::shared::Shared;
use roomcast::hub::command::{Ask, By, Request};
use roomcast::hub::journal::Durability;
use roomcast::hub::name::{Topic, TopicKind, User};
use roomcast::hub::operation::Operation;
use roomcast::hub::owner::{self, Owner};
use roomcast::hub::pattern::NamePattern;
use roomcast::hub::policy::{Documents, Options, Policies, Rule};
use roomcast::hub::stored::Image;
use roomcast::store::disk::Disk;

use crate::net::Dice;
use crate::store::Store;

const SEEDS: u64 = 3;
/// Requests of one seed.
const STEPS: usize = 1500;
/// Of them, those that a commit comes after: it waits for a real disk.
const COMMITTED_ONCE_IN: usize = 6;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn keys() -> Keys {
    Keys::new([4; 16])
}

fn new_owner(holds: bool) -> Owner {
    let rule = Rule::new(TopicKind::Room, NamePattern::new("*"));
    let rule = Rule { history: Some(3), ttl: Some(Duration::from_secs(30)), ..rule };
    let documents = Documents { age: Duration::from_secs(5), ..Documents::default() };
    let options = Options { rules: vec![rule], documents, ..Options::default() };
    let mut owner = Owner::new(ShardId(0), 1, keys(), Policies::new(&options));
    owner.keep_journal(if holds { Durability::Sync } else { Durability::Async });
    owner
}

/// Something that some client asks.
fn request(dice: &mut Dice) -> Request {
    let user = Arc::new(User { id: "ann".into(), name: dice.once_in(2).then(|| "Ann".into()) });
    let kind = *dice.pick(&[TopicKind::Room, TopicKind::Inbox, TopicKind::Document, TopicKind::Feed]);
    let payload = Shared::copy_of(&vec![b'1'; dice.below(9)]);
    let ask = match (kind, dice.below(8)) {
        (TopicKind::Room, 0..=1) => Ask::Join { user, since: None, history: 0, by_right: false },
        (TopicKind::Room, 2..=5) => Ask::Publish { payload, by: By::Member, echo: true },
        (TopicKind::Inbox, 0..=5) => Ask::Direct { payload, user, receipt: None },
        (TopicKind::Inbox, _) => Ask::Acknowledge { seq: dice.below(4) as u64 },
        (TopicKind::Feed, _) => Ask::Publish { payload, by: By::Server(user), echo: false },
        (_, 0) => Ask::Open { user, info: None },
        (TopicKind::Document, 1..=6) => {
            let text = "\u{1f389}x".repeat(dice.below(3000));
            let operation = match dice.below(4) {
                0 => Operation::Delete { start: 0, end: dice.below(20) as u64 },
                _ => Operation::Insert { position: dice.below(2) as u64, text: text.into() },
            };
            Ask::Edit { version: u64::MAX, operation }
        }
        _ => Ask::Gone,
    };
    let topic = Topic::new(kind, ["a", "ab"][dice.below(2)], keys());
    let origin = Origin { shard: ShardId(0), conn: Key { slot: 1, generation: 0 } };
    Request { topic, origin, tag: None, ask }
}

fn open(folder: &Path, store: &mut Store, holds: bool, life: u64) -> (Disk, Owner, Image) {
    let fresh = |mut count: u64| {
        move || {
            count += 1;
            owner::epoch(keys(), ShardId(9), count)
        }
    };
    let (disk, image) = Disk::open(folder, holds, keys(), fresh(life << 32)).expect("a store");
    let expected = store.begin(holds, keys(), fresh(life << 32));
    assert_eq!(image.inbox_floor, expected.inbox_floor);
    // The disk has texts last.
    let sorted = |image: &Image| {
        let mut topics: Vec<String> = image.topics.iter().map(|one| format!("{one:?}")).collect();
        topics.sort_unstable();
        topics
    };
    assert_eq!(sorted(&image), sorted(&expected));
    (disk, new_owner(holds), image)
}

fn run(seed: u64) {
    let folder = format!("roomcast-disk-{}-{seed}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(folder));
    let (mut dice, mut store) = (Dice::new(seed), Store::default());
    let (mut disk, mut owner, _) = open(&folder.0, &mut store, true, 0);
    let mut now = Now { mono: Mono(0), wall: Wall(0) };
    // By the length of a name: how far its document, and its inbox, has got.
    let (mut versions, mut newest) = ([0; 3], [0_u64; 3]);
    for step in 0..STEPS {
        let elapsed_ms = if dice.once_in(40) { 10_000 } else { dice.below(300) as u64 };
        now = Now { mono: Mono(now.mono.0 + elapsed_ms * 1000), wall: Wall(now.wall.0 + elapsed_ms) };
        let mut request = request(&mut dice);
        let place = request.topic.name().len();
        match &mut request.ask {
            Ask::Edit { version, .. } => *version = versions[place],
            // Mostly all but a few.
            Ask::Acknowledge { seq } => *seq = newest[place].saturating_sub(*seq),
            _ => {}
        }
        owner.handle(request, now);
        owner.expire(now.mono);
        owner.check();
        if dice.once_in(COMMITTED_ONCE_IN)
            && let Some(batch) = owner.cut_journal()
        {
            disk.commit(batch.iter()).expect("a disk");
            store.commit(&batch);
            owner.stored();
        }
        while let Some((_, outcome)) = owner.poll() {
            use roomcast::hub::event::{Outcome, Reply};
            match outcome {
                Outcome::Reply { topic, reply: Reply::Joined(snapshot), .. }
                    if topic.kind() == TopicKind::Document =>
                {
                    versions[topic.name().len()] = snapshot.text.map_or(0, |text| text.version);
                }
                Outcome::Reply { topic, reply: Reply::Edited { version }, .. } => {
                    versions[topic.name().len()] = version;
                }
                Outcome::Direct { topic, message, .. } => newest[topic.name().len()] = message.offset,
                _ => {}
            }
        }
        if dice.once_in(200) {
            if dice.once_in(2) {
                disk.close().expect("a disk");
                store.close();
            } else {
                drop(disk);
            }
            let image;
            (disk, owner, image) = open(&folder.0, &mut store, dice.once_in(2), step as u64);
            owner.restore_inbox_floor(image.inbox_floor);
            image.topics.into_iter().for_each(|restored| owner.restore(restored, now));
            owner.check();
            versions = [0; 3];
        }
    }
}

#[test]
fn the_simulated_store_is_the_one_on_disk() {
    (0..SEEDS).for_each(run);
}
