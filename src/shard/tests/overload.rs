//! Who is not heard while a shard is behind with its mail.

use super::*;

fn text(bytes: usize) -> Vec<u8> {
    let length = u16::try_from(bytes).unwrap().to_be_bytes();
    let payload = (0..bytes).map(|at| b' ' ^ MASK[at % 4]);
    [&[0x81, 0xfe][..], &length, &MASK].concat().into_iter().chain(payload).collect()
}

/// Turns take no time here, as the clock stands still in them: only the mail tells.
#[test]
fn old_mail_holds_the_loudest_for_a_while_and_fresh_mail_nobody() {
    let mut rig = Rig::new(2, Limits::default());
    let (loud, quiet) = (rig.open("/echo"), rig.open("/echo"));
    let loud_one = text(5000);
    let turn = |rig: &mut Rig, age: u64| {
        rig.now = rig.now + Duration::from_millis(1);
        let inputs =
            [(loud, &loud_one[..]), (quiet, &text(10)[..])].map(|(key, bytes)| (key, bytes.to_vec()));
        let heard: Vec<_> = inputs
            .iter()
            .filter(|(key, _)| rig.shard.takes_input(*key))
            .map(|(key, bytes)| (*key, &bytes[..]))
            .collect();
        rig.shard.handle_mail_age(Duration::from_millis(age));
        rig.turn(&heard);
        (rig.shard.takes_input(loud), rig.shard.takes_input(quiet), rig.shard.handle_turned(rig.now))
    };
    for _ in 0..100 {
        assert_eq!(turn(&mut rig, 90), (true, true, None), "it waits for two turns of 50 ms at most");
    }
    let begun = (0..20).map(|_| turn(&mut rig, 500).2).find_map(|turned| turned);
    assert_eq!(begun, Some(Turned::Over));
    turn(&mut rig, 500);
    assert_eq!(turn(&mut rig, 500), (false, true, None), "the quiet one is heard");
    let ended = (0..40).map(|_| turn(&mut rig, 0).2).find_map(|turned| turned);
    assert_eq!(ended, Some(Turned::Relieved));
    assert_eq!(turn(&mut rig, 0), (true, true, None));
}

/// What an owner on the same shard does not get to is mail as well.
#[test]
fn requests_to_itself_get_old() {
    let mut limits = Limits::default();
    limits.pace.requests_per_turn = 1;
    let mut rig = Rig::new(1, limits);
    let keys: Vec<Key> = (0..40).map(|n| rig.open(&format!("/ws?room=r{n}&room=s{n}&room=t{n}"))).collect();
    let mut turns = 0;
    let turned = loop {
        rig.now = rig.now + Duration::from_millis(40);
        rig.turn(&[]);
        turns += 1;
        if let Some(turned) = rig.shard.handle_turned(rig.now) {
            break turned;
        }
        assert!(turns < 100, "never overloaded");
    };
    assert_eq!((turned, keys.len()), (Turned::Over, 40));
}
