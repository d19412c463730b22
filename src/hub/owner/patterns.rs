//! Subscriptions by pattern, as the owner of channels sees them: which patterns match what is published here.
//!
//! Every owner keeps a record of every pattern that has subscribers anywhere, as any channel may turn out to be its
//! own. What matches a channel is found once and kept with the channel's record; a later publication compares one
//! number, until a pattern comes or goes. Decides nothing about the channels' own subscribers.

use std::collections::BTreeSet;

use crate::base::id::Origin;
use crate::hub::event::{Event, Outcome, Sender};
use crate::hub::name::TopicKind;
use crate::hub::owner::Owner;
use crate::hub::pattern::{Pattern, Patterns};
use crate::hub::topic::Matched;

/// The patterns that have subscribers.
#[derive(Debug, Default)]
pub(super) struct Subscribed {
    /// By the slots of their records.
    patterns: Patterns<u32>,
    /// How often the set has changed; 0 = there has been none. Comes around after 2^32 changes, and a channel would
    /// have to sleep through exactly as many to be misled.
    generation: u32,
}

impl Owner {
    /// A record of a pattern was made.
    pub(super) fn add_pattern(&mut self, slot: u32) {
        let name = self.records[slot as usize].record.topic().name();
        // The edge has checked it.
        let Ok(pattern) = Pattern::parse(name, usize::MAX) else { return };
        self.subscribed.patterns.insert(&pattern, slot);
        self.subscribed.generation = self.subscribed.generation.wrapping_add(1);
    }

    /// The record of the pattern `name` is gone.
    pub(super) fn remove_pattern(&mut self, slot: u32, name: &str) {
        let Ok(pattern) = Pattern::parse(name, usize::MAX) else { return };
        self.subscribed.patterns.remove(&pattern, slot);
        self.subscribed.generation = self.subscribed.generation.wrapping_add(1);
    }

    /// Tells those who subscribed by a pattern what was published in the channel at `slot`: once for each pattern
    /// that matches. The publisher is one of them unless it wants no echo. How many subscriptions that were.
    pub(super) fn tell_patterns(&mut self, slot: u32, event: &Event, origin: Origin, echo: bool) -> u32 {
        let Owner { records, outcomes, subscribed, .. } = self;
        let channel = &mut records[slot as usize].record;
        if channel.matched.as_ref().map_or(0, |matched| matched.at) != subscribed.generation {
            let patterns = subscribed.patterns.matches(channel.topic().name());
            channel.matched = Some(Box::new(Matched { at: subscribed.generation, patterns }));
        }
        let channel = &records[slot as usize].record;
        let mut reached = 0;
        for pattern in channel.matched.iter().flat_map(|matched| &matched.patterns) {
            let pattern = &records[*pattern as usize].record;
            reached += pattern.members_count();
            for (shard, members) in pattern.shards() {
                let sender = (!echo && *shard == origin.shard).then_some(Sender { origin, copy: None });
                if sender.is_some() && *members == 1 && pattern.is_member(origin) {
                    continue;
                }
                let (pattern, topic) = (pattern.topic().clone(), channel.topic().clone());
                let event = event.clone();
                outcomes.push_back((*shard, Outcome::Matched { pattern, topic, event, sender }));
            }
        }
        reached
    }

    /// Asserts that the trie holds the patterns that have records, and that what channels know of it is true.
    pub(super) fn check_patterns(&self) {
        let records = || self.records.iter().map(|(slot, held)| (slot, &held.record));
        let all: Vec<(usize, Pattern)> = records()
            .filter(|(_, record)| record.topic().kind() == TopicKind::Pattern)
            .filter_map(|(slot, record)| {
                Some((slot, Pattern::parse(record.topic().name(), usize::MAX).ok()?))
            })
            .collect();
        assert_eq!(self.subscribed.patterns.is_empty(), all.is_empty(), "patterns");
        for (_, record) in records().filter(|(_, record)| record.topic().kind() == TopicKind::Channel) {
            let name = record.topic().name();
            let slow: BTreeSet<usize> =
                all.iter().filter(|(_, pattern)| pattern.matches(name)).map(|(slot, _)| *slot).collect();
            let found = self.subscribed.patterns.matches(name);
            assert_eq!(slow, found.iter().map(|slot| *slot as usize).collect(), "patterns of {name}");
            let known = record.matched.as_ref().filter(|matched| matched.at == self.subscribed.generation);
            assert!(known.is_none_or(|known| known.patterns == found), "{name} knows of other patterns");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::{Mono, Now, Wall};
    use crate::base::hash::Keys;
    use crate::base::id::{Key, ShardId};
    use crate::base::shared::Shared;
    use crate::hub::command::{Ask, By, Request};
    use crate::hub::name::{Topic, User};
    use crate::hub::policy::{Options, Policies};
    use std::sync::Arc;

    const SHARDS: u16 = 3;

    fn owner() -> Owner {
        let keys = Keys::new([2; 16]);
        Owner::new(ShardId(0), SHARDS, keys, Policies::new(&Options::default()))
    }

    fn origin(number: u16) -> Origin {
        Origin { shard: ShardId(number % SHARDS), conn: Key { slot: number.into(), generation: 0 } }
    }

    /// Asks, sweeps, and says who gets something by a pattern, and what.
    fn ask(owner: &mut Owner, kind: TopicKind, name: &str, origin: Origin, ask: Ask) -> Vec<(u16, String)> {
        let topic = Topic::new(kind, name, Keys::new([2; 16]));
        let request = Request { topic, origin, tag: None, ask };
        owner.handle(request, Now { mono: Mono(1), wall: Wall(1) });
        owner.check();
        let mut found = Vec::new();
        while let Some((shard, outcome)) = owner.poll() {
            if let Outcome::Matched { pattern, topic, sender, .. } = outcome {
                let but = if sender.is_some() { " but the sender" } else { "" };
                found.push((shard.0, format!("{} by {}{but}", topic.name(), pattern.name())));
            }
        }
        found
    }

    fn join(owner: &mut Owner, pattern: &str, who: u16) {
        let user = Arc::new(User { id: "ann".into(), name: None });
        ask(
            owner,
            TopicKind::Pattern,
            pattern,
            origin(who),
            Ask::Join { user, since: None, history: 0, by_right: false },
        );
    }

    fn publish(owner: &mut Owner, channel: &str, who: u16, echo: bool) -> Vec<(u16, String)> {
        let by = By::Anyone(Arc::new(User { id: "bob".into(), name: None }));
        let payload = Shared::copy_of(b"1");
        ask(owner, TopicKind::Channel, channel, origin(who), Ask::Publish { payload, by, echo })
    }

    #[test]
    fn a_publication_goes_once_to_each_shard_of_each_pattern_that_matches() {
        let mut owner = owner();
        assert!(publish(&mut owner, "news.sport", 0, true).is_empty());
        for (pattern, who) in [("news.*", 1), ("news.*", 4), ("news.*", 2), ("*.sport", 1), ("sport.>", 0)] {
            join(&mut owner, pattern, who);
        }
        let by = |shard, pattern: &str| (shard, format!("news.sport by {pattern}"));
        let mut told = publish(&mut owner, "news.sport", 0, true);
        told.sort();
        assert_eq!(told, [by(1, "*.sport"), by(1, "news.*"), by(2, "news.*")]);
        assert!(publish(&mut owner, "news", 0, true).is_empty());
        ask(&mut owner, TopicKind::Pattern, "news.*", origin(2), Ask::Gone);
        assert_eq!(publish(&mut owner, "news.sport", 0, true).len(), 2);
    }

    #[test]
    fn a_publisher_without_echo_gets_no_copy_by_a_pattern_either() {
        let mut owner = owner();
        join(&mut owner, "a.*", 1);
        assert_eq!(publish(&mut owner, "a.b", 1, true), [(1, "a.b by a.*".to_owned())]);
        assert!(publish(&mut owner, "a.b", 1, false).is_empty(), "nobody else is there");
        join(&mut owner, "a.*", 4);
        assert_eq!(publish(&mut owner, "a.b", 1, false), [(1, "a.b by a.* but the sender".to_owned())]);
    }

    #[test]
    fn topics_that_nobody_matches_pay_nothing() {
        let mut owner = owner();
        join(&mut owner, "a.*", 1);
        publish(&mut owner, "b.c", 0, true);
        let known = |owner: &Owner| {
            let (_, held) =
                owner.records.iter().find(|(_, held)| held.record.topic().name() == "b.c").unwrap();
            held.record.matched.as_ref().map(|matched| (matched.at, matched.patterns.len()))
        };
        assert_eq!(known(&owner), Some((owner.subscribed.generation, 0)));
        join(&mut owner, "a.*", 4);
        assert_eq!(
            known(&owner),
            Some((owner.subscribed.generation, 0)),
            "who comes to a known pattern changes no set"
        );
    }

    proptest! {
        #[test]
        fn patterns_come_and_go(
            steps in prop::collection::vec((0..4_u8, "[ab*]\\.[ab*>]", "[ab]\\.[ab](\\.[ab])?", 0..6_u16), 0..60),
        ) {
            let mut owner = owner();
            let mut members = BTreeSet::new();
            for (act, pattern, channel, who) in steps {
                match act {
                    0 | 1 if Pattern::is_meant(&pattern) => {
                        join(&mut owner, &pattern, who);
                        members.insert((pattern, who));
                    }
                    2 => {
                        ask(&mut owner, TopicKind::Pattern, &pattern, origin(who), Ask::Leave);
                        members.remove(&(pattern, who));
                    }
                    _ => {
                        let matching = members.iter().filter(|(text, _)| {
                            Pattern::parse(text, 99).is_ok_and(|pattern| pattern.matches(&channel))
                        });
                        let expected: BTreeSet<(u16, String)> = matching
                            .map(|(text, who)| (origin(*who).shard.0, format!("{channel} by {text}")))
                            .collect();
                        let told = publish(&mut owner, &channel, who, true);
                        prop_assert_eq!(told.len(), expected.len());
                        prop_assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected);
                    }
                }
            }
            for (pattern, who) in members {
                ask(&mut owner, TopicKind::Pattern, &pattern, origin(who), Ask::Gone);
            }
            prop_assert!(owner.subscribed.patterns.is_empty());
        }
    }
}
