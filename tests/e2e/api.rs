//! The HTTP API, asked as an application on the same machine asks: over plain TCP, with requests spelled out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Server, head, offset};

/// A kept connection of the application.
struct App(TcpStream);

impl App {
    fn new(server: &Server) -> App {
        App(server.connect())
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the request goes out");
    }

    /// The next answer: status, head and body.
    #[track_caller]
    fn read(&mut self) -> (u16, String, Value) {
        let head = head(&mut self.0);
        let status = head[9..12].parse().expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        self.0.read_exact(&mut body).expect("a body");
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{head}"));
        (status, head, body)
    }

    #[track_caller]
    fn ask(&mut self, request: &[u8]) -> (u16, Value) {
        self.write(request);
        let (status, _, body) = self.read();
        (status, body)
    }

    /// The body of an answer that has to be a good one.
    #[track_caller]
    fn get(&mut self, path: &str) -> Value {
        let (status, body) = self.ask(&request("GET", path, "", None));
        assert_eq!(status, 200, "{body}");
        body
    }

    #[track_caller]
    fn post(&mut self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(&request("POST", path, "", Some(&body.to_string())));
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

/// A request as curl makes it; `headers` end with CR LF each.
fn request(method: &str, path: &str, headers: &str, body: Option<&str>) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n{headers}");
    if let Some(body) = body {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    } else {
        request += "\r\n";
    }
    request.into_bytes()
}

fn id_of(client: &Client) -> String {
    client.welcome["client_id"].as_str().expect("an id").to_owned()
}

#[test]
fn what_the_application_publishes_reaches_everybody() {
    let server = Server::start(&["--shards", "3"]);
    let mut clients = server.users(6);
    for client in &mut clients {
        client.join("lobby");
        client.ask(json!({"type": "subscribe", "channel": "news"}));
    }
    let mut app = App::new(&server);
    let first = app.post(
        "/api/rooms/lobby/messages",
        &json!({"message": {"a": 1}, "user_id": "bot", "username": "Bot"}),
    );
    assert_eq!(
        (&first["topic"], &first["offset"], &first["delivered"]),
        (&json!("room:lobby"), &json!(1), &json!(6))
    );
    let second = app.post("/api/rooms/lobby/messages", &json!({"message": "hi"}));
    assert_eq!((&second["offset"], &second["epoch"]), (&json!(2), &first["epoch"]));
    assert_eq!(app.post("/api/channels/news/messages", &json!({"data": ""}))["delivered"], 6);
    assert_eq!(app.post("/api/broadcast", &json!({"message": "all"})), json!({"topic": "everyone"}));
    for client in &mut clients {
        // Each topic has its order; there is none between them, and the others' arrivals come, too.
        let told = ["chat_message", "chat_message", "message", "broadcast"];
        let mut got: Vec<Value> = Vec::new();
        while got.len() < told.len() {
            let object = client.object();
            if object["type"].as_str().is_some_and(|kind| told.contains(&kind)) {
                got.push(object);
            }
        }
        let mut chat = got.iter().filter(|object| object["type"] == "chat_message");
        let first = chat.next().expect("a first");
        assert_eq!(
            (&first["message"], &first["user_id"], &first["username"]),
            (&json!({"a": 1}), &json!("bot"), &json!("Bot"))
        );
        let second = chat.next().expect("a second");
        let said = (offset(second), &second["user_id"], second.get("username"));
        assert_eq!(said, (2, &json!("server"), None));
        for kind in ["message", "broadcast"] {
            assert!(got.iter().any(|object| object["type"] == kind), "{got:?}");
        }
    }
}

#[test]
fn what_is_published_to_an_empty_room_waits_for_who_comes() {
    let server = Server::start(&[]);
    let mut app = App::new(&server);
    let stamp = app.post("/api/rooms/a%2Fb/messages", &json!({"message": 1}));
    app.post("/api/rooms/a%2Fb/messages", &json!({"message": 2}));
    let since = json!({"offset": 1, "epoch": stamp["epoch"]});
    let joined = server.user("ann").ask(json!({"type": "join_room", "room": "a/b", "since": since}));
    assert_eq!((&joined["recovered"], &joined["messages"][0]["message"]), (&json!(true), &json!(2)));
}

/// The same bytes, cut anywhere, are the same request; and tried again it is done once.
#[test]
fn a_post_may_be_cut_at_every_byte() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    ann.join("r");
    let key = "Idempotency-Key: k\r\n";
    let plain = request("POST", "/api/rooms/r/messages", key, Some(r#"{"message":"x"}"#));
    let chunked = format!(
        "POST /api/rooms/r/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{key}\
         Transfer-Encoding: chunked\r\n\r\n3\r\n{{\"m\r\nc;x=y\r\nessage\":\"x\"}}\r\n0\r\nA: b\r\n\r\n"
    );
    for bytes in [plain, chunked.into_bytes()] {
        for cut in 1..bytes.len() {
            let mut app = App::new(&server);
            app.write(&bytes[..cut]);
            let (status, answer) = app.ask(&bytes[cut..]);
            assert_eq!((status, &answer["offset"]), (200, &json!(1)), "cut at {cut}: {answer}");
        }
    }
    assert_eq!(ann.catch_up("r").iter().filter(|object| object["type"] == "chat_message").count(), 1);
}

#[test]
fn requests_may_come_in_a_row_and_are_answered_in_order() {
    let server = Server::start(&["--shards", "3"]);
    let mut app = App::new(&server);
    let mut requests = Vec::new();
    for number in 0..50 {
        let room = number % 7;
        let body = format!(r#"{{"message":{number}}}"#);
        requests.extend(request("POST", &format!("/api/rooms/{room}/messages"), "", Some(&body)));
        requests.extend(request("GET", &format!("/api/rooms/{room}/history?limit=1"), "", None));
        requests.extend(request("GET", "/health", "", None));
    }
    app.write(&requests);
    for number in 0..50 {
        assert_eq!(app.read().2["offset"], number / 7 + 1);
        assert_eq!(app.read().2["messages"][0]["message"], number);
        assert_eq!(app.read().2["status"], "ok");
    }
}

#[test]
fn each_of_a_batch_has_its_own_result() {
    let server = Server::start(&["--shards", "3"]);
    let mut ann = server.user("ann");
    ann.join("r");
    let mut app = App::new(&server);
    let batch = json!([
        {"topic": "room:r", "message": 1},
        {"topic": "room:r"},
        {"topic": "nowhere:r", "message": 2},
        {"topic": "channel:c", "data": 3},
        {"topic": format!("room:{}", "x".repeat(256)), "message": 4},
        {"topic": "room:r", "message": 5},
        {"topic": "everyone", "message": 6},
    ])
    .to_string();
    let retried = request("POST", "/api/batch", "Idempotency-Key: b\r\n", Some(&batch));
    let (status, answer) = app.ask(&retried);
    assert_eq!(status, 200);
    let results = answer["results"].as_array().expect("results");
    let words: Vec<String> = results
        .iter()
        .map(|result| match &result["error"] {
            Value::Null => format!("{} {}", result["topic"].as_str().unwrap_or_default(), result["offset"]),
            error => error["code"].as_str().unwrap_or_default().to_owned(),
        })
        .collect();
    assert_eq!(
        words,
        [
            "room:r 1",
            "invalid_field",
            "invalid_field",
            "channel:c 1",
            "invalid_field",
            "room:r 2",
            "everyone null"
        ]
    );
    assert_eq!(app.ask(&retried).1, answer, "done once, answered twice");
    assert_eq!(app.post("/api/batch", &json!([])), json!({"results": []}));
    let seen = ann.catch_up("r");
    assert_eq!(seen.iter().filter(|object| object["type"] == "chat_message").count(), 2);
}

#[test]
fn the_application_sees_rooms_users_and_history() {
    let server = Server::start(&["--shards", "3"]);
    let mut clients = server.users(9);
    for (number, client) in clients.iter_mut().enumerate() {
        for room in 0..=number {
            client.join(&format!("r{room}"));
        }
    }
    let mut app = App::new(&server);
    let rooms = app.get("/api/rooms?limit=4");
    let names: Vec<_> =
        rooms["rooms"].as_array().expect("rooms").iter().map(|room| room["room"].clone()).collect();
    assert_eq!(
        (&rooms["total_rooms"], names),
        (&json!(9), vec![json!("r0"), json!("r1"), json!("r2"), json!("r3")])
    );
    let room = app.get("/api/rooms/r7");
    assert_eq!(
        (&room["members_count"], &room["user_count"], &room["offset"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert_eq!(app.get("/api/rooms/nobody")["members_count"], 0);
    let users = app.get("/api/rooms/r5/users?limit=2");
    assert_eq!((&users["user_count"], users["users"].as_array().map(Vec::len)), (&json!(4), Some(2)));
    for number in 1..=5 {
        clients[8].say("r8", number);
    }
    clients[8].catch_up("r8");
    let history = app.get("/api/rooms/r8/history?limit=2&before=5");
    let messages: Vec<_> =
        history["messages"].as_array().expect("messages").iter().map(|one| &one["message"]).collect();
    assert_eq!((&history["offset"], messages), (&json!(5), vec![&json!(3), &json!(4)]));
    app.write(&request("HEAD", "/api/rooms/r8", "Connection: close\r\n", None));
    let head = head(&mut app.0);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nConnection: close\r\n"), "{head}");
    assert_eq!(app.0.read(&mut [0]).expect("an end"), 0, "a HEAD has no body");
}

#[test]
fn connections_are_listed_page_by_page_and_closed_one_by_one() {
    let server = Server::start(&["--shards", "3"]);
    let mut clients = server.users(7);
    clients.push(server.client("/ws"));
    clients[0].join("r");
    let mut app = App::new(&server);
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/api/connections?limit=2{after}"));
        assert_eq!(page["total_connections"], 8);
        let connections = page["connections"].as_array().expect("connections");
        assert!(connections.len() <= 2);
        found.extend(connections.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let mut ids: Vec<_> =
        found.iter().map(|one| one["client_id"].as_str().expect("an id").to_owned()).collect();
    let mut want: Vec<_> = clients.iter().map(id_of).collect();
    ids.sort();
    want.sort();
    assert_eq!(ids, want);
    let of = |client: &Client| {
        found.iter().find(|one| one["client_id"] == client.welcome["client_id"]).expect("listed")
    };
    assert_eq!((&of(&clients[0])["user_id"], &of(&clients[0])["topics"]), (&json!("u0"), &json!(1)));
    assert_eq!(of(&clients[7])["user_id"], clients[7].welcome["client_id"]);

    for client in clients.iter_mut().take(4) {
        let path = format!("/api/connections/{}", id_of(client));
        assert_eq!(app.ask(&request("DELETE", &path, "", None)), (200, json!({"closed": 1})));
        assert_eq!(client.closed(), 4008);
        assert_eq!(app.ask(&request("DELETE", &path, "", None)).0, 404, "once");
    }
    for id in ["nobody", "aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaa", "AAAAAAAAAAAAAAAA", "%00"] {
        assert_eq!(app.ask(&request("DELETE", &format!("/api/connections/{id}"), "", None)).0, 404, "{id}");
    }
    assert_eq!(clients[5].settle().len(), 0, "the others stay");
    assert_eq!(app.get("/api/rooms")["total_rooms"], 0);
}

#[test]
fn the_application_writes_to_users_finds_them_and_sends_them_away() {
    let server = Server::start(&["--shards", "3"]);
    let mut app = App::new(&server);
    let post = |message: u32| json!({"message": message, "user_id": "shop"});
    assert_eq!(app.post("/api/users/ann/messages", &post(1)), json!({"topic": "user:ann", "seq": 1}));
    let mut anns: Vec<Client> = (0..5).map(|_| server.user("ann")).collect();
    let mut bob = server.user("bob");
    let results = app.post("/api/batch", &json!([{"topic": "user:ann", "message": 2, "user_id": "shop"}]));
    assert_eq!(results, json!({"results": [{"topic": "user:ann", "seq": 2}]}));
    for ann in &mut anns {
        for seq in [1, 2] {
            let heard = ann.expect("direct_message");
            let told = (&heard["message"], &heard["seq"], &heard["user_id"]);
            assert_eq!(told, (&json!(seq), &json!(seq), &json!("shop")));
        }
    }
    assert_eq!(bob.settle(), Vec::<Value>::new());

    let user = app.get("/api/users/ann");
    let listed = user["connections"].as_array().expect("connections");
    let mut ids: Vec<_> = listed.iter().map(|one| one["client_id"].as_str().expect("an id")).collect();
    let mut want: Vec<_> = anns.iter().map(id_of).collect();
    ids.sort_unstable();
    want.sort();
    assert_eq!(
        (&user["user_id"], &user["total_connections"], ids),
        (&json!("ann"), &json!(5), want.iter().map(String::as_str).collect())
    );

    let away = request("DELETE", "/api/users/ann/connections", "", None);
    assert_eq!(app.ask(&away), (200, json!({"closed": 5})));
    for ann in &mut anns {
        assert_eq!(ann.closed(), 4008);
    }
    assert_eq!(app.ask(&away).0, 404, "once");
    assert_eq!(app.get("/api/users/ann")["total_connections"], 0);
    assert_eq!(bob.settle(), Vec::<Value>::new(), "the others stay");
    assert_eq!(app.ask(&request("GET", &format!("/api/users/{}", "x".repeat(129)), "", None)).0, 400);
    let pattern = request("POST", "/api/channels/news.%3E/messages", "", Some(r#"{"data":1}"#));
    assert_eq!(app.ask(&pattern).0, 400, "many channels are none");
}

#[test]
fn nodes_health_and_readiness() {
    let server = Server::start(&["--node-name", "edge-7"]);
    let mut app = App::new(&server);
    assert_eq!(app.get("/api/nodes/best")["node"], "edge-7");
    assert_eq!(app.get("/api/nodes")["nodes"][0]["healthy"], true);
    for path in ["/health", "/health/ws"] {
        let health = app.get(path);
        assert_eq!((&health["status"], &health["redis_connected"]), (&json!("ok"), &json!(false)));
    }
    assert_eq!(app.get("/ready"), json!({"status": "ready"}));
}

#[test]
fn who_expects_to_be_told_is_told_to_go_on() {
    let server = Server::start(&[]);
    let mut app = App::new(&server);
    let body = r#"{"message":"x"}"#;
    let whole = request("POST", "/api/rooms/r/messages", "Expect: 100-continue\r\n", Some(body));
    app.write(&whole[..whole.len() - body.len()]);
    assert_eq!(head(&mut app.0), "HTTP/1.1 100 Continue\r\n\r\n");
    app.write(body.as_bytes());
    assert_eq!(app.read().2["offset"], 1);
    // Whoever sends the body at once is not kept waiting either.
    assert_eq!(app.ask(&whole).1["offset"], 2);
    let refused = request("POST", "/api/rooms/r/messages", "Expect: 200-ok\r\n", Some(body));
    assert_eq!(app.ask(&refused).0, 417);
}

#[test]
fn who_does_not_want_an_api_has_none() {
    let server = Server::start(&["--no-api"]);
    let mut app = App::new(&server);
    assert_eq!(app.ask(&request("GET", "/api/rooms", "", None)).0, 404);
    assert_eq!(app.ask(&request("POST", "/api/broadcast", "", Some("{}"))).0, 404);
}

/// Both stacks have a loopback address, and a dual-stack listener shows the one in the other's clothes.
#[test]
fn loopback_is_loopback_in_every_form() {
    for (listen, connect) in
        [("[::1]:0", "::1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1"), ("0.0.0.0:0", "127.0.0.1")]
    {
        let server = Server::start_at(listen, &[]);
        let address = std::net::SocketAddr::new(connect.parse().expect("an address"), server.address.port());
        let mut app = App(TcpStream::connect(address).expect("the server accepts"));
        assert_eq!(app.ask(&request("GET", "/api/nodes", "", None)).0, 200, "{listen} {connect}");
    }
}

// ---- the page ----

/// One curl command line as a request. Knows only what docs/api.md uses.
fn by_curl(line: &str) -> Vec<u8> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    let (mut headers, mut body, mut path) = (String::new(), None, String::new());
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-H" => headers += &format!("{}\r\n", words.next().expect("a header")),
            "--json" => body = words.next(),
            url => path = url.strip_prefix("http://127.0.0.1:8080").expect("our address").to_owned(),
        }
    }
    request(if body.is_some() { "POST" } else { "GET" }, &path, &headers, body.as_deref())
}

/// Whether two answers differ in nothing but what differs from run to run.
fn alike(got: &Value, said: &Value, field: &str) {
    match (got, said) {
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{got} and {said}");
            a.iter().for_each(|(name, value)| alike(value, &b[name], name));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{got} and {said}");
            a.iter().zip(b).for_each(|(a, b)| alike(a, b, field));
        }
        _ if matches!(field, "epoch" | "timestamp" | "node") => assert!(got.is_string() && said.is_string()),
        _ => assert_eq!(got, said, "{field}"),
    }
}

/// Every example of docs/api.md, in order, does what the page says.
#[test]
fn the_page_keeps_its_word() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let server = Server::start(&[]);
    let mut app = App::new(&server);
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    assert!(blocks.len() > 16 && blocks.len().is_multiple_of(2));
    for pair in blocks.chunks(2) {
        let command = pair[0].strip_prefix("sh\n").expect("a command").trim();
        let said = pair[1].strip_prefix("json\n").expect("its answer");
        let (status, got) = app.ask(&by_curl(command));
        assert_eq!(status, 200, "{command}\n{got}");
        alike(&got, &serde_json::from_str(said).expect("JSON"), "");
    }
}
