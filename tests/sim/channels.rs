//! What each client must see of channels, of subscriptions by pattern, and of feeds: beside `model`, which judges
//! rooms.
//!
//! A publication must come once for each subscription that matches and was confirmed before it was sent, and never
//! more often than the client has ever asked for. Values of a feed may be passed over, but not the last one.

use std::collections::{BTreeMap, BTreeSet};

use roomcast::hub::pattern::Pattern;
use serde_json::{Value, json};

use crate::model::passes::{Grants, Pass};
use crate::net::Dice;

/// Channels that are published to.
const CHANNELS: [&str; 4] = ["x.a", "x.b", "y.a", "z"];
/// What is subscribed to.
const SUBSCRIBED: [&str; 7] = ["x.a", "y.a", "z", "x.*", "*.a", ">", "x.>"];
/// Feeds: the last is not known.
const FEEDS: [&str; 3] = ["f", "g", "unknown"];

/// The feeds that are declared.
pub(crate) fn declared() -> Vec<Box<str>> {
    FEEDS[..2].iter().map(|name| (*name).into()).collect()
}

struct Published {
    client: usize,
    channel: &'static str,
    echo: bool,
    step: usize,
    /// No token of its sender grants it.
    barred: bool,
}

/// What all clients together know.
#[derive(Default)]
pub(crate) struct Truth {
    published: Vec<Published>,
    /// By life, channel and offset; a channel is remembered for longer than a run.
    log: BTreeMap<(u64, &'static str, u64), usize>,
    places: BTreeMap<usize, u64>,
    /// The last value of each feed.
    values: BTreeMap<&'static str, u64>,
}

impl Truth {
    /// The next value of some feed.
    pub(crate) fn value(&mut self, dice: &mut Dice) -> (&'static str, u64) {
        let feed = FEEDS[dice.below(2)];
        let value = self.values.entry(feed).or_default();
        *value += 1;
        (feed, *value)
    }

    /// The values that sources set anew after a restart.
    pub(crate) fn values(&self) -> Vec<(&'static str, u64)> {
        self.values.iter().map(|(feed, value)| (*feed, *value)).collect()
    }

    fn observe(&mut self, life: u64, n: usize, offset: u64) {
        assert_eq!(*self.places.entry(n).or_insert(offset), offset, "publication {n} has two places");
        let channel = self.published[n].channel;
        let here = *self.log.entry((life, channel, offset)).or_insert(n);
        assert!(here == n, "{n} and {here} are both at {offset} of {channel}");
    }
}

enum Asked {
    Subscribe(&'static str),
    Unsubscribe(&'static str),
    Publish(usize),
    Feed(&'static str),
    LeaveFeed(&'static str),
}

/// One client's view.
#[derive(Default)]
pub(crate) struct Subscriber {
    client: usize,
    /// Numberings of another life have other epochs.
    life: u64,
    /// With what is known of whether its token grants it.
    asked: BTreeMap<String, (Asked, Option<bool>)>,
    count: usize,
    /// When each subscription was confirmed.
    active: BTreeMap<&'static str, usize>,
    /// All that it ever asked to subscribe to.
    ever: BTreeSet<&'static str>,
    /// How often it heard each publication.
    copies: BTreeMap<usize, usize>,
    /// The last offset of each channel.
    last: BTreeMap<&'static str, u64>,
    /// Channels of which it was told that it lost something.
    lost: BTreeSet<String>,
    /// The last value of each feed that it is subscribed to, and whether the next one may be told again.
    feeds: BTreeMap<&'static str, (u64, bool)>,
    /// What the token in force grants, after it was changed.
    grants: Option<Grants>,
}

fn matches(subscription: &str, channel: &str) -> bool {
    subscription == channel
        || Pattern::is_meant(subscription)
            && Pattern::parse(subscription, 99).is_ok_and(|p| p.matches(channel))
}

fn known(names: &[&'static str], said: &Value) -> &'static str {
    names.iter().find(|name| said == **name).unwrap_or_else(|| panic!("{said} was never named"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

impl Subscriber {
    /// The view of one who has heard nothing yet.
    pub(crate) fn new(client: usize, life: u64) -> Subscriber {
        Subscriber { client, life, ..Subscriber::default() }
    }

    /// Something that it asks.
    pub(crate) fn ask(
        &mut self,
        dice: &mut Dice,
        truth: &mut Truth,
        step: usize,
        pass: Option<&Pass>,
    ) -> Value {
        let may = |covers: &dyn Fn(&Grants) -> bool| pass.map_or(Some(true), |pass| pass.may(covers));
        let name = SUBSCRIBED[dice.below(SUBSCRIBED.len())];
        let feed = FEEDS[dice.below(FEEDS.len())];
        let (asked, mut message) = match dice.below(20) {
            0..=4 => (Asked::Subscribe(name), json!({"type": "subscribe", "channel": name})),
            5..=6 => (Asked::Unsubscribe(name), json!({"type": "unsubscribe", "channel": name})),
            7..=8 => (Asked::Feed(feed), json!({"type": "subscribe_feed", "feed": feed})),
            9 => (Asked::LeaveFeed(feed), json!({"type": "unsubscribe_feed", "feed": feed})),
            _ => {
                let channel = CHANNELS[dice.below(CHANNELS.len())];
                let (n, echo) = (truth.published.len(), !dice.once_in(4));
                let barred = may(&|grants| grants.channel(channel) && grants.can("publish")) == Some(false);
                truth.published.push(Published { client: self.client, channel, echo, step, barred });
                let pad = "p".repeat(*dice.pick(&[0, 0, 300]));
                let data = json!({"n": n, "pad": pad});
                let message = json!({"type": "publish", "channel": channel, "data": data, "echo": echo});
                (Asked::Publish(n), message)
            }
        };
        if let Asked::Subscribe(name) = asked {
            self.ever.insert(name);
        }
        let id = format!("c{}", self.count);
        self.count += 1;
        message["id"] = json!(id);
        let granted = match &asked {
            Asked::Subscribe(name) => may(&|grants| grants.channel(name)),
            Asked::Publish(n) => {
                let channel = truth.published[*n].channel;
                may(&|grants| grants.channel(channel) && grants.can("publish"))
            }
            _ => Some(true),
        };
        self.asked.insert(id, (asked, granted));
        message
    }

    /// Takes what is about channels and feeds. False if it is not.
    pub(crate) fn hear(&mut self, said: &Value, truth: &mut Truth, step: usize) -> bool {
        let kind = said["type"].as_str().expect("a message has a type");
        match kind {
            "message" => self.hear_message(said, truth),
            "data_update" => self.hear_value(said, truth),
            "dropped" if said.get("channel").is_some() => {
                self.lost.insert(said["channel"].as_str().expect("a string").into());
            }
            "dropped" => assert!(said.get("feed").is_none(), "{said}"),
            _ => {}
        }
        let Some(id) = said["id"].as_str() else {
            return matches!(kind, "message" | "data_update") || said.get("channel").is_some();
        };
        let (asked, may) = self.asked.remove(id).unwrap_or_else(|| panic!("nobody asked {said}"));
        assert!(kind == "error" || may != Some(false), "{said}: that was not granted");
        match (asked, kind) {
            (_, "error") if said["code"] == "forbidden" => assert!(may != Some(true), "{said}"),
            (_, "error") if said["code"] == "rate_limited" => {}
            (Asked::Subscribe(name), "subscribed") => {
                assert_eq!(said["channel"], name);
                if self.grants.as_ref().is_none_or(|grants| grants.channel(name)) {
                    self.active.entry(name).or_insert(step);
                }
            }
            (Asked::Subscribe(name), "error") if said["code"] == "too_many_rooms" => {
                assert!(!self.active.contains_key(name), "{said}: {name} is subscribed to");
            }
            (Asked::Unsubscribe(name), "unsubscribed") => {
                let over = self.grants.as_ref().is_some_and(|grants| !grants.channel(name));
                assert!(self.active.remove(name).is_some() || over, "{said} without being subscribed");
            }
            (Asked::Unsubscribe(name), "error") if said["code"] == "not_subscribed" => {
                assert!(!self.active.contains_key(name), "{said}: {name} is subscribed to");
            }
            (Asked::Publish(n), "ack") => truth.observe(self.life, n, number(&said["offset"])),
            (Asked::Feed(name), "subscription_confirmed") => {
                assert_ne!(name, FEEDS[2], "{said}");
                self.feeds.entry(name).or_default().1 = true;
            }
            (Asked::Feed(name), "error") if said["code"] == "unknown_feed" => {
                assert_eq!(name, FEEDS[2], "{said}")
            }
            (Asked::Feed(_), "error") if said["code"] == "too_many_rooms" => {}
            (Asked::LeaveFeed(name), "subscription_ended") => {
                assert!(self.feeds.remove(name).is_some(), "{said}")
            }
            (Asked::LeaveFeed(name), "error") if said["code"] == "not_subscribed" => {
                assert!(!self.feeds.contains_key(name), "{said}: {name} is subscribed to");
            }
            _ => panic!("{said} is no answer to that"),
        }
        true
    }

    /// Another token is in force: from now on nothing comes that it does not grant.
    pub(crate) fn renewed(&mut self, grants: &Grants) {
        self.active.retain(|name, _| grants.channel(name));
        self.grants = Some(grants.clone());
    }

    fn hear_message(&mut self, said: &Value, truth: &mut Truth) {
        let (channel, offset) = (known(&CHANNELS, &said["channel"]), number(&said["offset"]));
        let n = usize::try_from(number(&said["data"]["n"])).expect("indices are small");
        let Published { client, channel: of, echo, barred, .. } = truth.published[n];
        assert!(!barred, "{said} was not granted to its sender");
        assert_eq!(channel, of, "{said} is in another channel");
        assert!(client != self.client || echo, "{said} is its own, without echo");
        truth.observe(self.life, n, offset);
        assert!(self.active.keys().any(|name| matches(name, channel)), "{said} without being subscribed");
        let most = self.ever.iter().filter(|name| matches(name, channel)).count();
        let copies = self.copies.entry(n).or_default();
        *copies += 1;
        assert!(*copies <= most, "{said} came {copies} times, for {most} subscriptions");
        let last = self.last.insert(channel, offset);
        assert!(most > 1 || last.is_none_or(|last| last < offset), "{said} comes after {last:?}");
    }

    fn hear_value(&mut self, said: &Value, truth: &Truth) {
        let (feed, value) = (known(&FEEDS, &said["source"]), number(&said["data"]));
        let (last, again) =
            self.feeds.get_mut(feed).unwrap_or_else(|| panic!("{said} without being subscribed"));
        assert!(*last < value || *again && *last == value, "{said} comes after {last}");
        assert!(value <= truth.values[feed], "{said} comes before it is");
        (*last, *again) = (value, false);
    }

    /// Judges a connection that stands still, when everything that was said has been heard.
    pub(crate) fn judge(&self, truth: &Truth) {
        assert!(self.asked.is_empty(), "client {}: unanswered {:?}", self.client, self.asked.keys());
        for n in truth.places.keys() {
            let Published { client, channel, echo, step, .. } = truth.published[*n];
            if client == self.client && !echo || self.lost.contains(channel) {
                continue;
            }
            let confirmed =
                self.active.iter().filter(|(name, since)| matches(name, channel) && **since < step);
            let (expected, copies) = (confirmed.count(), self.copies.get(n).copied().unwrap_or(0));
            assert!(
                copies >= expected,
                "client {}: {copies} copies of {n} in {channel} for {:?}",
                self.client,
                self.active
            );
        }
        for (feed, (last, _)) in &self.feeds {
            let value = truth.values.get(feed).copied().unwrap_or(0);
            assert_eq!(*last, value, "client {}: the value of {feed}", self.client);
        }
    }
}
