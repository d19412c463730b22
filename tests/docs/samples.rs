//! One or more of every message that the server can send, made by the encoder itself.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roomcast::base::clock::Wall;
use roomcast::base::hash::Keys;
use roomcast::base::shared::Shared;
use roomcast::dialect::native::encode::{self, Dropped, Welcome};
use roomcast::hub::document::Cursor;
use roomcast::hub::event::{
    Attendance, Body, Cleared, Edit, Editor, Event, Pointed, Publication, Refusal, Reply, Roll, Snapshot,
    Stats, Text,
};
use roomcast::hub::name::{Topic, TopicKind, User};
use roomcast::hub::operation::Operation;

const NOW: Wall = Wall(1_735_689_600_000);
const TAG: Option<&[u8]> = Some(b"1");

fn topic(kind: TopicKind) -> Topic {
    Topic::new(kind, "lobby", Keys::new([7; 16]))
}

fn user(id: &str) -> Arc<User> {
    Arc::new(User { id: id.into(), name: None })
}

fn publication(name: Option<&str>) -> Arc<Publication> {
    let user = Arc::new(User { id: "ada".into(), name: name.map(Into::into) });
    Arc::new(Publication {
        offset: 1,
        time: NOW,
        user,
        payload: Shared::copy_of(b"1"),
        body: Body::Value,
        frame: OnceLock::new(),
    })
}

fn replies() -> Vec<Reply> {
    let messages = vec![publication(None)];
    let users = vec![Arc::clone(&messages[0].user)];
    let roll = Roll { users, moderators: vec![0] };
    let snapshot = |recovered: Option<bool>, messages: Option<Vec<_>>| {
        let (roll, epoch) = (roll.clone(), "e".into());
        Reply::Joined(Box::new(Snapshot {
            members_count: 1,
            user_count: 1,
            roll,
            offset: 1,
            epoch,
            recovered,
            messages,
            text: None,
        }))
    };
    vec![
        snapshot(None, None),
        snapshot(Some(true), Some(messages.clone())),
        Reply::Left,
        Reply::Accepted { offset: 0 },
        Reply::Accepted { offset: 1 },
        Reply::History { messages, offset: 1, epoch: "e".into() },
        Reply::Users { members_count: 1, user_count: 1, roll: Box::new(roll.clone()) },
        Reply::Kicked { by: user("ada"), seconds: 60 },
        Reply::Muted { by: user("ada"), seconds: 60 },
        Reply::Stats(Box::new(Stats { rooms: vec![(topic(TopicKind::Room), 1)], ..Stats::default() })),
        Reply::Refused(Refusal::NotMember(TopicKind::Room)),
        Reply::Refused(Refusal::RateLimited { retry_after_ms: 1 }),
    ]
}

fn events() -> Vec<Event> {
    let of_user = |name| {
        let publication = publication(name);
        let user = || Arc::clone(&publication.user);
        vec![
            Event::UserJoined { user: user(), members_count: 1, moderator: true },
            Event::UserLeft { user: user(), members_count: 1 },
            Event::Typing { user: user(), is_typing: true },
            Event::Attendance(Arc::new(Attendance {
                members_count: 1,
                user_count: 1,
                roll: Some(Roll::default()),
            })),
            Event::HistoryCleared(Arc::new(Cleared { by: user(), offset: 1 })),
            Event::Published(publication),
        ]
    };
    [of_user(None), of_user(Some("Ada"))].concat()
}

/// Everything about documents, as replies and events.
fn documents() -> (Vec<Reply>, Vec<Event>) {
    let user = Arc::clone(&publication(Some("Ada")).user);
    let (content, info) = (Arc::new("x".into()), Some(b"{}".as_slice().into()));
    let cursor = Cursor { position: 1, selection: Some((1, 0)) };
    let text = Text { content, version: 1, infos: vec![info], cursors: vec![(Arc::clone(&user), cursor)] };
    let users = vec![Arc::clone(&user)];
    let state = Snapshot {
        members_count: 1,
        user_count: 1,
        roll: Roll { users, moderators: Vec::new() },
        offset: 0,
        epoch: "".into(),
        recovered: None,
        messages: None,
        text: Some(Box::new(text)),
    };
    let full = Refusal::Edit(roomcast::hub::document::Refusal::Full);
    let replies =
        vec![Reply::Joined(Box::new(state)), Reply::Left, Reply::Edited { version: 1 }, Reply::Refused(full)];
    let edit = |operation| Event::Edited(Arc::new(Edit { user: Arc::clone(&user), operation, version: 1 }));
    let info = b"{}".as_slice().into();
    let point = |cursor| Event::Pointed(Arc::new(Pointed { user: Arc::clone(&user), cursor, version: 1 }));
    let events = vec![
        Event::EditorJoined(Arc::new(Editor { user: Arc::clone(&user), info, members_count: 1 })),
        Event::UserLeft { user: Arc::clone(&user), members_count: 1 },
        edit(Operation::Insert { position: 0, text: "x".into() }),
        edit(Operation::Delete { start: 0, end: 1 }),
        point(cursor),
        point(Cursor { position: 1, selection: None }),
    ];
    (replies, events)
}

/// Collects messages as JSON.
type Add<'a> = dyn FnMut(&dyn Fn(&mut Vec<u8>)) + 'a;

/// The messages as JSON.
pub(crate) fn all() -> Vec<serde_json::Value> {
    let mut found = Vec::new();
    let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        found.push(serde_json::from_slice(&out).expect("the encoder writes JSON"));
    };
    of_topics(&mut add);
    to_clients(&mut add);
    for (kind, offsets, events) in [
        (TopicKind::Room, Some((1, 2)), 0),
        (TopicKind::Channel, None, 1),
        (TopicKind::Document, None, 1),
        (TopicKind::Everyone, None, 1),
    ] {
        add(&|out| encode::dropped(out, &topic(kind), Dropped { offsets, events }));
    }
    found
}

/// What is told of topics.
fn of_topics(add: &mut Add<'_>) {
    let room = topic(TopicKind::Room);
    for reply in replies() {
        add(&|out| encode::reply(out, &room, TAG, &reply, NOW));
    }
    for event in events() {
        add(&|out| encode::event(out, &room, &event, None));
    }
    let channel = topic(TopicKind::Channel);
    for reply in replies()
        .iter()
        .filter(|reply| matches!(reply, Reply::Joined(_) | Reply::Left | Reply::History { .. }))
    {
        add(&|out| encode::reply(out, &channel, TAG, reply, NOW));
    }
    let (pattern, feed) = (topic(TopicKind::Pattern), topic(TopicKind::Feed));
    for reply in replies().iter().filter(|reply| matches!(reply, Reply::Joined(_) | Reply::Left)) {
        add(&|out| encode::reply(out, &pattern, TAG, reply, NOW));
        add(&|out| encode::reply(out, &feed, TAG, reply, NOW));
    }
    add(&|out| encode::event(out, &feed, &Event::Published(publication(None)), None));
    add(&|out| encode::event(out, &channel, &Event::Published(publication(None)), None));
    let document = topic(TopicKind::Document);
    let (replies, events) = documents();
    replies.iter().for_each(|reply| add(&|out| encode::reply(out, &document, TAG, reply, NOW)));
    events.iter().for_each(|event| add(&|out| encode::event(out, &document, event, None)));
    for name in [None, Some("Ada")] {
        let Some(typed) = Arc::into_inner(publication(name)) else { continue };
        let typed = Event::Published(Arc::new(Publication { body: Body::Typed(2), ..typed }));
        add(&|out| encode::event(out, &room, &typed, None));
    }
    let everybody = Event::Published(publication(None));
    add(&|out| encode::event(out, &topic(TopicKind::Everyone), &everybody, None));
}

/// What is told to one client.
fn to_clients(add: &mut Add<'_>) {
    let interval = Some(Duration::from_secs(25));
    let resumed = Some(true);
    let mut welcome = Welcome {
        client_id: "c",
        user_id: "u",
        session: "s",
        resumed,
        node: "n",
        heartbeat_interval: interval,
    };
    add(&|out| encode::welcome(out, &welcome));
    welcome.resumed = None;
    add(&|out| encode::welcome(out, &welcome));
    for name in [None, Some("Ada")] {
        let message = publication(name);
        add(&|out| encode::inbox::direct_message(out, &message));
        let mut json = Vec::new();
        encode::inbox::direct_message(&mut json, &message);
        add(&|out| encode::session::numbered(out, &json, 1));
    }
    for session_key in [None, Some("k")] {
        let success =
            encode::auth::Success { user_id: "ada", expires_in: Duration::from_secs(60), session_key };
        add(&|out| encode::auth::success(out, TAG, &success));
    }
    add(&|out| encode::auth::expiring(out, Duration::from_secs(30)));
    add(&|out| encode::inbox::delivered(out, TAG, 1));
    add(&|out| encode::inbox::inbox_lost(out, "ada", (1, 2)));
    add(&|out| encode::session::session_lost(out, (1, 2)));
    add(&|out| encode::pong(out, TAG, Some(b"1"), NOW));
    add(&|out| encode::pong(out, None, None, NOW));
    add(&|out| encode::heartbeat(out, NOW));
    add(&|out| encode::server_shutdown(out, Duration::from_secs(1)));
}
