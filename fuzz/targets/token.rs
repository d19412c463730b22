//! Tokens, and the files and texts that stand beside them: whatever comes, no token is good that was not signed, and
//! what is good says what a token has to, as serde_json reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::access::api_key::ApiKeys;
use roomcast::access::content::Content;
use roomcast::access::key::Keyring;
use roomcast::access::origin::{self, Allowed};
use roomcast::access::signature::{Seen, Shown};
use roomcast::access::token::{Rules, contents, judge, mint};
use roomcast::base::clock::Wall;
use serde_json::Value;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: Wall = Wall(1_770_000_000_000);

fuzz_target!(|data: &[u8]| {
    let mut keyring = Keyring::default();
    keyring.add_secret(SECRET).expect("a secret");
    files(data);
    let Ok(text) = std::str::from_utf8(data) else { return };

    // As a token. A seed is one, and nothing can be made of it but itself.
    if let Ok(identity) = judge(text, &keyring, &Rules::default(), NOW) {
        let (_, claims) = contents(text).expect("it was read before");
        agrees(&claims, &identity.user_id, identity.expires);
    }
    let _ = contents(text);

    // As what somebody has signed.
    let token = mint(text, SECRET).expect("signed");
    if let Ok(identity) = judge(&token, &keyring, &Rules::default(), NOW) {
        agrees(text, &identity.user_id, identity.expires);
    }
    let other = mint(text, b"another secret, which is not ours").expect("signed");
    assert!(judge(&other, &keyring, &Rules::default(), NOW).is_err());

    let shown = Shown { timestamp: text, signature: text };
    assert!(!Seen::default().judge("key", "user", "message", shown, NOW));
    let list = [Allowed::parse("https://*.good.example").expect("an origin")];
    if origin::is_allowed(&list, data) {
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

fn files(data: &[u8]) {
    let mut keyring = Keyring::default();
    let _ = keyring.add_set(data);
    let _ = keyring.add_public(None, data);
    let _ = keyring.add_secret(data);
    let _ = ApiKeys::read(data);
    if let (Ok(content), Ok(text)) = (Content::read(data), std::str::from_utf8(data)) {
        let _ = content.is_in_json(text);
    }
}
