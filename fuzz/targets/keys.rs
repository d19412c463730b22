//! Files of keys: key sets, public keys, secrets, and the keys of the API. Whatever is taken from one is bounded, and
//! no secret is taken from what should hold public keys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::access::api_key::{self, ApiKeys};
use roomcast::access::key::{KeyError, Keyring, SECRET_BYTES_MIN};

fuzz_target!(|data: &[u8]| {
    let mut keyring = Keyring::default();
    let _ = keyring.add_set(data);
    let is_public = keyring.add_public(None, data).is_ok();
    match keyring.add_secret(data) {
        Ok(()) => assert!(!is_public && data.len() >= SECRET_BYTES_MIN),
        Err(KeyError::ShortSecret(bytes)) => assert!(bytes < SECRET_BYTES_MIN && bytes <= data.len()),
        Err(_) => {}
    }
    // A key that the file gives for everything can be shown.
    if let Some(key) = api_key::admin(data) {
        let keys = ApiKeys::read(data).expect("it was read before");
        assert!(keys.scopes(key.as_bytes()).is_some());
    }
    let _ = ApiKeys::read(data);
});
