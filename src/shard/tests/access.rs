//! Who is let in and until when, to the millisecond: a shard that asks for tokens, at times that the test sets.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::access::token::mint;
use crate::access::{Papers, Policy};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const MS: Duration = Duration::from_millis(1);

fn papers(secret: &[u8]) -> Arc<Papers> {
    let mut papers = Papers::default();
    papers.keyring.add_secret(secret).expect("a secret");
    Arc::new(papers)
}

/// A shard that asks for tokens. The calendar stands still at 1970: tokens end so many seconds after they are shown.
fn rig(policy: Policy) -> Rig {
    let access = Policy { tokens: true, ..policy };
    let mut rig = Rig::new(1, Limits { access, ping_interval: None, ..Limits::default() });
    rig.shard.handle_papers(papers(SECRET));
    rig
}

fn token(user: &str, ends_s: u64) -> String {
    mint(&format!("{{\"sub\":\"{user}\",\"exp\":{ends_s}}}"), SECRET).expect("minted")
}

/// A text message of a client, of less than 64 KiB.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    let mut frame = vec![0x80 | Opcode::Text as u8];
    match length.to_be_bytes() {
        [0, short @ 0..=125] => frame.push(0x80 | short),
        long => frame.extend([&[0x80 | 126][..], &long].concat()),
    }
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What was written since, as text, with the bytes of headers in it.
fn heard(rig: &mut Rig) -> String {
    let bytes: Vec<u8> = rig.written.drain(..).flat_map(|(_, bytes)| bytes).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a close frame with this code was written.
fn closed(rig: &mut Rig, code: u16) -> bool {
    let bytes: Vec<u8> = rig.written.drain(..).flat_map(|(_, bytes)| bytes).collect();
    let frame = [0x80 | Opcode::Close as u8];
    let places = (0..bytes.len().saturating_sub(3)).filter(|at| bytes[*at..].starts_with(&frame));
    places.into_iter().any(|at| bytes[at + 2..at + 4] == code.to_be_bytes())
}

#[test]
fn a_guest_is_closed_when_its_time_is_over_and_not_before() {
    let mut rig = rig(Policy { timeout: 200 * MS, ..Policy::default() });
    let guest = rig.open("/ws?user_id=root&room=r");
    heard(&mut rig);
    rig.now = rig.now + 199 * MS;
    rig.turn(&[]);
    assert_eq!(heard(&mut rig), "", "nothing is said to it");
    rig.now = rig.now + 2 * MS;
    rig.turn(&[]);
    assert!(closed(&mut rig, 4002));
    rig.turn(&[(guest, &close_frame())]);
    rig.shard.handle_eof(guest);
    rig.turn(&[]);
    assert!(!rig.is_open(guest));
    assert_eq!(rig.shard.poll_due(), None, "nothing is left of it");
}

#[test]
fn a_token_is_taken_wherever_its_message_is_cut() {
    let shows = frame(&format!("{{\"type\":\"auth\",\"token\":\"{}\"}}", token("ann", 60)));
    let input = [shows, frame("{\"type\":\"ping\",\"id\":1}")].concat();
    for cut in 1..input.len() {
        let mut rig = rig(Policy::default());
        let key = rig.open("/ws");
        heard(&mut rig);
        rig.turn(&[(key, &input[..cut])]);
        rig.turn(&[(key, &input[cut..])]);
        let told = heard(&mut rig);
        let places = ["\"welcome\"", "\"auth_success\"", "\"pong\",\"id\":1"].map(|word| told.find(word));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "cut at {cut}: {told}");
    }
}

#[test]
fn a_token_ends_by_the_clock_that_nobody_sets() {
    let mut rig = rig(Policy { warning: 500 * MS, ..Policy::default() });
    let key = rig.open(&format!("/ws?token={}", token("ann", 2)));
    heard(&mut rig);
    rig.now = rig.now + 1499 * MS;
    rig.turn(&[]);
    assert_eq!(heard(&mut rig), "");
    rig.now = rig.now + 2 * MS;
    rig.turn(&[]);
    assert!(heard(&mut rig).contains("{\"type\":\"token_expiring\",\"expires_in\":1}"));
    rig.now = rig.now + 100 * MS;
    rig.turn(&[]);
    assert_eq!(heard(&mut rig), "", "once");
    // A fresh one: the former end passes, and another warning comes before the new one.
    rig.turn(&[(key, &frame(&format!("{{\"type\":\"auth\",\"token\":\"{}\"}}", token("ann", 3))))]);
    assert!(heard(&mut rig).contains("{\"type\":\"auth_success\",\"user_id\":\"ann\",\"expires_in\":3}"));
    rig.now = rig.now + 2499 * MS;
    rig.turn(&[]);
    assert_eq!(heard(&mut rig), "");
    rig.now = rig.now + 2 * MS;
    rig.turn(&[]);
    assert!(heard(&mut rig).contains("token_expiring"));
    rig.now = rig.now + 500 * MS;
    rig.turn(&[]);
    assert!(closed(&mut rig, 4007));
}

#[test]
fn a_client_shows_one_token_in_a_second() {
    let mut rig = rig(Policy::default());
    let key = rig.open(&format!("/ws?token={}", token("ann", 60)));
    let again = frame(&format!("{{\"type\":\"auth\",\"token\":\"{}\"}}", token("ann", 60)));
    heard(&mut rig);
    rig.turn(&[(key, &again.repeat(3))]);
    let told = heard(&mut rig);
    assert_eq!(
        (told.matches("auth_success").count(), told.matches("rate_limited").count()),
        (1, 2),
        "{told}"
    );
    assert!(told.contains("\"retry_after_ms\":1000"));
    rig.now = rig.now + Duration::from_secs(1);
    rig.turn(&[(key, &again)]);
    assert!(heard(&mut rig).contains("auth_success"));
}

#[test]
fn new_keys_hold_for_newcomers() {
    let mut rig = rig(Policy::default());
    let ann = rig.open(&format!("/ws?token={}", token("ann", 60)));
    rig.shard.handle_papers(papers(b"another secret that is long enough"));
    heard(&mut rig);
    rig.open(&format!("/ws?token={}", token("bob", 60)));
    assert!(closed(&mut rig, 4001));
    rig.turn(&[(ann, &frame("{\"type\":\"ping\"}"))]);
    assert!(heard(&mut rig).contains("\"pong\""), "who is in stays in");
}

/// Its own session's socket closes, and what came behind the token is heard by the session.
#[test]
fn a_guest_goes_on_with_its_session_in_the_middle_of_its_input() {
    let mut rig = rig(Policy::default());
    let first = rig.open(&format!("/ws?last_seq=0&token={}", token("ann", 60)));
    let told = heard(&mut rig);
    let session =
        told.split("\"session\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a session");
    let path = format!("/ws?last_seq=0&session={session}");
    rig.shard.handle_reset(first);
    while rig.shard.poll_move().is_some() {}
    rig.turn(&[]);
    let guest = rig.open(&path);
    heard(&mut rig);
    let shows = frame(&format!("{{\"token\":\"{}\"}}", token("ann", 60)));
    rig.turn(&[(guest, &[shows, frame("{\"type\":\"ping\",\"id\":\"behind\"}")].concat())]);
    rig.turn(&[]);
    let told = heard(&mut rig);
    assert!(told.contains("\"resumed\":true") && told.contains("\"pong\",\"id\":\"behind\""), "{told}");
}
