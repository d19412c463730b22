//! Tokens, and the texts that stand beside them: whatever comes, no token is good that was not signed, and what is good
//! says what a token has to, as serde_json reads it. Files of keys are the target `keys`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use roomcast::access::key::Keyring;
use roomcast::access::origin::{self, Allowed};
use roomcast::access::signature::{Seen, Shown};
use roomcast::access::token::{Rules, contents, judge, mint};
use roomcast::base::clock::Wall;
use serde_json::Value;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: Wall = Wall(1_770_000_000_000);

// What no input changes is made once.
static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let mut keyring = Keyring::default();
    keyring.add_secret(SECRET).expect("a secret");
    keyring
});
static ORIGINS: LazyLock<[Allowed; 1]> =
    LazyLock::new(|| [Allowed::parse("https://*.good.example").expect("an origin")]);

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let rules = Rules::default();

    // As a token. A seed is one, and nothing can be made of it but itself.
    if let Ok(identity) = judge(text, &KEYRING, &rules, NOW) {
        let (_, claims) = contents(text).expect("it was read before");
        agrees(&claims, &identity.user_id, identity.expires);
    }
    let _ = contents(text);

    // As what somebody has signed.
    let token = mint(text, SECRET).expect("signed");
    if let Ok(identity) = judge(&token, &KEYRING, &rules, NOW) {
        agrees(text, &identity.user_id, identity.expires);
    }
    let other = mint(text, b"another secret, which is not ours").expect("signed");
    assert!(judge(&other, &KEYRING, &rules, NOW).is_err());

    let shown = Shown { timestamp: text, signature: text };
    assert!(!Seen::default().judge("key", "user", "message", shown, NOW));
    if origin::is_allowed(&*ORIGINS, data) {
        let host = text.to_ascii_lowercase();
        assert!(host.trim_end_matches(":443").ends_with(".good.example") && host.starts_with("https://"));
    }
    if let Ok(allowed) = Allowed::parse(text) {
        assert!(origin::is_allowed(&[allowed], data) || text.contains('*'));
    }
});

/// What a good token has to say.
fn agrees(claims: &str, user_id: &str, expires: Wall) {
    // Numbers that no float holds are refused there, and are nothing to us.
    let Ok(claims) = serde_json::from_str::<Value>(claims) else { return };
    assert_eq!(claims["sub"], user_id);
    assert!(claims["exp"].is_number() && expires > NOW);
    assert!(claims.get("nbf").is_none_or(Value::is_number));
    assert!(claims.get("rooms").is_none_or(Value::is_array));
}
