//! Channels, and subscriptions by pattern: who gets what is published, once, and in which order.

use serde_json::{Value, json};

use crate::support::{Client, Server};

#[track_caller]
fn subscribe(client: &mut Client, channel: &str) -> Value {
    let subscribed = client.ask(json!({"type": "subscribe", "channel": channel}));
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    assert_eq!((&subscribed["channel"], &subscribed["status"]), (&json!(channel), &json!("subscribed")));
    subscribed
}

#[track_caller]
fn publish(client: &mut Client, channel: &str, data: impl Into<Value>) {
    let data: Value = data.into();
    let ack = client.ask(json!({"type": "publish", "channel": channel, "data": data}));
    assert_eq!(ack["type"], "ack", "{ack}");
}

/// Channels and data of what came, up to a last message in `end`, which the client has to be subscribed to.
#[track_caller]
fn heard(client: &mut Client, end: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let message = client.find("message");
        if message["channel"] == end {
            return heard;
        }
        heard.push(format!("{} {}", message["channel"].as_str().expect("a name"), message["data"]));
    }
}

/// Enough channels that every shard owns some of them.
#[test]
fn a_pattern_gets_what_is_published_in_every_channel_that_matches() {
    for shards in ["1", "2", "4"] {
        let server = Server::start(&["--shards", shards]);
        let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
        let subscribed = subscribe(&mut ann, "news.*");
        assert_eq!(subscribed.get("offset"), None, "a pattern has no numbering");
        subscribe(&mut ann, "sport.>");
        for number in 0..20 {
            publish(&mut bob, &format!("news.{number}"), number);
            publish(&mut bob, &format!("news.{number}.deep"), "not matched");
            publish(&mut bob, &format!("sport.{number}.deep"), "rest");
            publish(&mut bob, "news", "not matched");
        }
        let mut heard: Vec<Value> = (0..40).map(|_| ann.expect("message")).collect();
        heard.sort_by_key(|message| message["channel"].to_string());
        for number in 0..20 {
            let of = |channel: String| heard.iter().find(|message| message["channel"] == channel.as_str());
            let news = of(format!("news.{number}")).expect("a copy");
            assert_eq!((&news["data"], &news["offset"]), (&json!(number), &json!(1)));
            assert_eq!(news["user_id"], "bob");
            assert_eq!(of(format!("sport.{number}.deep")).expect("a copy")["data"], "rest");
        }
        assert_eq!(ann.settle(), Vec::<Value>::new());
    }
}

#[test]
fn who_subscribes_by_name_and_by_pattern_gets_a_copy_for_each() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    for channel in ["a.b", "a.*", "*.b", ">"] {
        subscribe(&mut ann, channel);
        subscribe(&mut ann, channel);
    }
    publish(&mut bob, "a.b", 1);
    publish(&mut bob, "end", 1);
    assert_eq!(heard(&mut ann, "end"), vec!["a.b 1"; 4]);
}

#[test]
fn after_unsubscribed_nothing_comes() {
    let server = Server::start(&["--shards", "3"]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    subscribe(&mut ann, "a.*");
    subscribe(&mut ann, "end");
    let unsubscribed = ann.ask(json!({"type": "unsubscribe", "channel": "a.*"}));
    assert_eq!((&unsubscribed["type"], &unsubscribed["channel"]), (&json!("unsubscribed"), &json!("a.*")));
    (0..9).for_each(|number| publish(&mut bob, &format!("a.{number}"), 1));
    publish(&mut bob, "end", 1);
    assert_eq!(heard(&mut ann, "end"), Vec::<String>::new());
    let again = ann.ask(json!({"type": "unsubscribe", "channel": "a.*"}));
    assert_eq!((&again["type"], &again["code"]), (&json!("error"), &json!("not_subscribed")));
    // Asked without a pause, each is answered once, in order.
    for _ in 0..3 {
        ann.send(&json!({"type": "subscribe", "channel": "a.*"}));
        ann.send(&json!({"type": "unsubscribe", "channel": "a.*"}));
    }
    for _ in 0..3 {
        ann.expect("subscribed");
        ann.expect("unsubscribed");
    }
    assert_eq!(ann.settle(), Vec::<Value>::new());
}

#[test]
fn a_publisher_hears_itself_by_a_pattern_but_for_no_echo() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    subscribe(&mut ann, "a.*");
    subscribe(&mut ann, "end");
    publish(&mut ann, "a.b", "echoed");
    ann.ask(json!({"type": "publish", "channel": "a.b", "data": "silent", "echo": false}));
    publish(&mut ann, "end", 1);
    assert_eq!(heard(&mut ann, "end"), ["a.b \"echoed\""]);
}

#[test]
fn what_a_pattern_cannot_is_refused() {
    let server = Server::start(&["--max-rooms-per-connection", "2"]);
    let mut ann = server.user("ann");
    let mut refused = |object: Value, text: &str| {
        let error = ann.ask(object);
        assert_eq!((&error["code"], &error["message"]), (&json!("invalid_field"), &json!(text)));
    };
    let since = json!({"offset": 0, "epoch": "e"});
    let left_out = "must be left out where channel is a pattern";
    refused(json!({"type": "subscribe", "channel": "a.*", "since": since}), &format!("since {left_out}"));
    refused(json!({"type": "subscribe", "channel": "a.*", "history": 5}), &format!("history {left_out}"));
    let one = "channel must be one channel, not a pattern";
    refused(json!({"type": "publish", "channel": "a.*", "data": 1}), one);
    refused(json!({"type": "publish", "channel": ">", "data": 1}), one);
    refused(json!({"type": "get_history", "channel": "a.*"}), one);
    let deep = ["a"; 8].join(".") + ".*";
    for (pattern, rule) in [
        (">.a", "with > at its end only"),
        ("a..*", "without empty levels"),
        ("*.", "without empty levels"),
        (&deep, "of at most 8 levels"),
    ] {
        let text = format!("channel must be a pattern {rule}");
        refused(json!({"type": "subscribe", "channel": pattern}), &text);
    }
    // A star that is not alone in its level is a letter like others.
    assert!(subscribe(&mut ann, "a*").get("offset").is_some());
    subscribe(&mut ann, "*");
    let full = ann.ask(json!({"type": "subscribe", "channel": "b.*"}));
    assert_eq!(full["code"], "too_many_rooms");
    subscribe(&mut ann, "*");
}

/// Who leaves without a word is forgotten by every owner.
#[test]
fn patterns_go_with_their_subscribers() {
    let server = Server::start(&["--shards", "3"]);
    let mut bob = server.user("bob");
    for _ in 0..20 {
        let mut ann = server.user("ann");
        subscribe(&mut ann, "a.*");
        ann.send(&json!({"type": "unsubscribe", "channel": "a.*"}));
        ann.send(&json!({"type": "subscribe", "channel": "*.b"}));
        drop(ann);
        (0..5).for_each(|number| publish(&mut bob, &format!("a.{number}"), number));
    }
    let mut ann = server.user("ann");
    subscribe(&mut ann, "a.*");
    publish(&mut bob, "a.b", "once");
    assert_eq!(ann.expect("message")["data"], "once");
    assert_eq!(ann.settle(), Vec::<Value>::new());
}
