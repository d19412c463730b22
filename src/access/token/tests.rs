//! Tokens as issuers and as forgers make them, each held against keys that were made for the test.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;

use super::*;
use crate::access::key::{KeyError, UNNAMED_MAX};
use crate::hub::name::TopicKind;

const NOW: Wall = Wall(1_770_000_000_000);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const GOOD: &str = r#"{"sub":"ann","exp":1770000060}"#;

fn pem(tag: &str, der: &[u8]) -> String {
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", STANDARD.encode(der))
}

/// A pair of keys in PEM.
struct Pair {
    private: String,
    public: String,
}

fn rsa_of(size: KeySize) -> Pair {
    let pair = aws_lc_rs::rsa::KeyPair::generate(size).expect("a key");
    let private = pair.as_der().map(|der: Pkcs8V1Der<'_>| pem("PRIVATE KEY", der.as_ref())).expect("DER");
    let public = pair.public_key().as_der().map(|der: PublicKeyX509Der<'_>| pem("PUBLIC KEY", der.as_ref()));
    Pair { private, public: public.expect("DER") }
}

/// Making one takes a while.
fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| rsa_of(KeySize::Rsa2048))
}

fn ec(algorithm: Algorithm) -> Pair {
    let algorithm = match algorithm {
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
    let public = pair.public_key().as_der().map(|der: PublicKeyX509Der<'_>| pem("PUBLIC KEY", der.as_ref()));
    let private = pem("PRIVATE KEY", pair.to_pkcs8v1().expect("DER").as_ref());
    Pair { private, public: public.expect("DER") }
}

fn ed_pair() -> Pair {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let public = pair.public_key().as_der().map(|der: PublicKeyX509Der<'_>| pem("PUBLIC KEY", der.as_ref()));
    Pair {
        private: pem("PRIVATE KEY", pair.to_pkcs8v1().expect("DER").as_ref()),
        public: public.expect("DER"),
    }
}

fn encoded(header: &str, claims: &str) -> String {
    [URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)].join(".")
}

fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = encoded(header, claims);
    let signature = crypto::sign(message.as_bytes(), key, algorithm).expect("signed");
    [message, signature].join(".")
}

fn by(pair: &Pair, algorithm: Algorithm) -> EncodingKey {
    let pem = pair.private.as_bytes();
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    }
    .expect("a private key")
}

fn of_secret() -> Keyring {
    let mut keyring = Keyring::default();
    keyring.add_secret(SECRET).expect("good");
    keyring
}

fn of_public(pair: &Pair) -> Keyring {
    let mut keyring = Keyring::default();
    keyring.add_public(None, pair.public.as_bytes()).expect("good");
    keyring
}

/// Judged by the secret, without rules.
fn judged(claims: &str) -> Result<Identity, Refused> {
    judge(&mint(claims, SECRET).expect("minted"), &of_secret(), &Rules::default(), NOW)
}

#[test]
fn a_good_token_says_who_it_is() {
    let claims =
        r#"{"sub":"ann","name":"Ann","exp":1770000060.5,"nbf":1769999999,"iat":1,"rooms":["a*"],"x":{}}"#;
    let identity = judged(claims).expect("good");
    assert_eq!((&*identity.user_id, identity.name.as_deref()), ("ann", Some("Ann")));
    assert_eq!(identity.expires, Wall(1_770_000_060_500));
    assert!(!identity.grants.may_enter(TopicKind::Room, "b"));
}

#[test]
fn every_algorithm_is_verified_by_the_key_of_its_kind() {
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = signed(
            &format!("{{\"alg\":\"{algorithm:?}\"}}"),
            GOOD,
            &EncodingKey::from_secret(SECRET),
            algorithm,
        );
        assert!(judge(&token, &of_secret(), &Rules::default(), NOW).is_ok(), "{algorithm:?}");
    }
    let (p256, p384, ed) = (ec(Algorithm::ES256), ec(Algorithm::ES384), ed_pair());
    for (algorithm, pair) in [
        (Algorithm::RS256, rsa()),
        (Algorithm::RS384, rsa()),
        (Algorithm::RS512, rsa()),
        (Algorithm::PS256, rsa()),
        (Algorithm::PS384, rsa()),
        (Algorithm::PS512, rsa()),
        (Algorithm::ES256, &p256),
        (Algorithm::ES384, &p384),
        (Algorithm::EdDSA, &ed),
    ] {
        let token = signed(&format!("{{\"alg\":\"{algorithm:?}\"}}"), GOOD, &by(pair, algorithm), algorithm);
        assert!(judge(&token, &of_public(pair), &Rules::default(), NOW).is_ok(), "{algorithm:?}");
        let other = of_public(&match algorithm {
            Algorithm::ES384 => ec(algorithm),
            Algorithm::EdDSA => ed_pair(),
            _ => ec(Algorithm::ES256),
        });
        assert!(judge(&token, &other, &Rules::default(), NOW).is_err(), "another key");
        let cut = &token[..token.len() - 4];
        assert!(judge(cut, &of_public(pair), &Rules::default(), NOW).is_err(), "a cut signature");
    }
}

/// CVE-2026-25537: a claim of the wrong type counts as a wrong one, never as none.
#[test]
fn threat_37_times_of_the_wrong_type_are_refused() {
    for exp in [
        "\"never\"",
        "\"9999999999\"",
        "null",
        "true",
        "[9999999999]",
        "{}",
        "-1",
        "-9999999999",
        "1e400",
        "-0.5",
    ] {
        let refused = judged(&format!("{{\"sub\":\"ann\",\"exp\":{exp}}}"));
        assert_eq!(refused, Err(Refused::Claim("exp must be a number of seconds")), "{exp}");
    }
    for nbf in ["\"9999999999\"", "null", "false", "[]", "-1", "1e999"] {
        let refused = judged(&format!("{{\"sub\":\"ann\",\"exp\":1770000060,\"nbf\":{nbf}}}"));
        assert_eq!(refused, Err(Refused::Claim("nbf must be a number of seconds")), "{nbf}");
    }
    assert_eq!(judged(r#"{"sub":"ann"}"#), Err(Refused::Claim("the token has no exp")));
    // What is not JSON is no claim at all.
    assert_eq!(judged(r#"{"sub":"ann","exp":NaN}"#), Err(Refused::Malformed));
    assert_eq!(judged(r#"{"sub":"ann","exp":1770000060}x"#), Err(Refused::Malformed));
    assert_eq!(judged("[]"), Err(Refused::Malformed));
    // Beyond every date is a date all the same.
    assert_eq!(judged(r#"{"sub":"ann","exp":1e300}"#).map(|one| one.expires), Ok(Wall(253_402_300_799_000)));
}

/// CVE-2022-29217, CVE-2023-48223, CVE-2026-44699, and c.19 and c.20 of the catalogue.
#[test]
fn threat_38_the_token_does_not_choose_the_algorithm() {
    let claims = r#"{"sub":"forged-admin","exp":1770000060}"#;
    let both = {
        let mut keyring = of_public(rsa());
        keyring.add_secret(SECRET).expect("good");
        keyring
    };
    for none in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
        for signature in ["", "AAAA", "e30"] {
            let token = format!("{}.{signature}", encoded(&format!("{{\"alg\":\"{none}\"}}"), claims));
            for keyring in [&of_secret(), &of_public(rsa()), &both, &Keyring::default()] {
                assert_eq!(
                    judge(&token, keyring, &Rules::default(), NOW),
                    Err(Refused::Malformed),
                    "{none:?}"
                );
            }
        }
    }
    // HS256 with the public key as the secret, in each form in which a forger may have it.
    let der = STANDARD.decode(rsa().public.lines().nth(1).expect("a body")).expect("base64");
    for secret in [rsa().public.as_bytes(), rsa().public.trim().as_bytes(), &der] {
        let token = signed(r#"{"alg":"HS256"}"#, claims, &EncodingKey::from_secret(secret), Algorithm::HS256);
        assert_eq!(judge(&token, &of_public(rsa()), &Rules::default(), NOW), Err(Refused::NoKey));
        assert_eq!(judge(&token, &both, &Rules::default(), NOW), Err(Refused::Signature));
    }
    // A signature of one kind under the name of another.
    let token = signed(r#"{"alg":"RS256"}"#, claims, &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    assert_eq!(judge(&token, &both, &Rules::default(), NOW), Err(Refused::Signature));
    let token = signed(r#"{"alg":"ES256"}"#, claims, &by(rsa(), Algorithm::RS256), Algorithm::RS256);
    assert_eq!(judge(&token, &both, &Rules::default(), NOW), Err(Refused::NoKey));
    for header in
        [r#"{}"#, r#"{"alg":5}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":"HS256","alg":"none"}"#, "[]", "{"]
    {
        let token = signed(header, claims, &EncodingKey::from_secret(SECRET), Algorithm::HS256);
        assert_eq!(judge(&token, &both, &Rules::default(), NOW), Err(Refused::Malformed), "{header}");
    }
}

/// CVE-2026-32301: nothing that a token says leads to a key, neither an address nor a key of its own.
#[test]
fn threat_39_keys_come_from_the_operator_only() {
    let forger = EncodingKey::from_secret(b"a secret that only its forger knows!");
    let own = ec(Algorithm::ES256);
    let jwk = DecodingKey::from_ec_pem(own.public.as_bytes()).expect("good");
    let jwk = Jwk::from_decoding_key(&jwk, Some(Algorithm::ES256)).expect("good");
    let jwk = serde_json::to_string(&jwk).expect("JSON");
    for more in [
        r#""jku":"http://127.0.0.1:1/keys""#,
        r#""x5u":"file:///dev/null""#,
        r#""kid":"../../dev/null""#,
        r#""kid":"http://evil.example/jwks.json""#,
        r#""kid":"' OR 1=1 --""#,
        r#""kid":"""#,
    ] {
        let token = signed(&format!("{{\"alg\":\"HS256\",{more}}}"), GOOD, &forger, Algorithm::HS256);
        assert_eq!(judge(&token, &of_secret(), &Rules::default(), NOW), Err(Refused::Signature), "{more}");
    }
    let key = by(&own, Algorithm::ES256);
    let token = signed(&format!("{{\"alg\":\"ES256\",\"jwk\":{jwk}}}"), GOOD, &key, Algorithm::ES256);
    let other = of_public(&ec(Algorithm::ES256));
    assert_eq!(judge(&token, &other, &Rules::default(), NOW), Err(Refused::Signature));
    let claims = r#"{"sub":"ann","exp":1770000060,"iss":"http://evil.example/.well-known"}"#;
    let rules = Rules { issuer: Some("https://issuer.example".into()), ..Rules::default() };
    assert_eq!(
        judge(&mint(claims, SECRET).expect("minted"), &of_secret(), &rules, NOW),
        Err(Refused::Issuer)
    );
}

/// c.20: expired, not yet, wrong audience and issuer; with and without leeway.
#[test]
fn attack_c20_times_issuer_and_audience_are_held_to() {
    let rules = |leeway| Rules {
        issuer: Some("us".into()),
        audience: Some("chat".into()),
        leeway: Duration::from_secs(leeway),
    };
    let at = |more: &str, leeway| {
        let claims = format!("{{\"sub\":\"ann\",{more}}}");
        judge(&mint(&claims, SECRET).expect("minted"), &of_secret(), &rules(leeway), NOW)
            .map(|one| one.expires.0)
    };
    let ours = r#""iss":"us","aud":"chat""#;
    assert_eq!(at(&format!(r#""exp":1770000001,{ours}"#), 0), Ok(1_770_000_001_000));
    assert_eq!(at(&format!(r#""exp":1770000000,{ours}"#), 0), Err(Refused::Expired), "on, not only after");
    assert_eq!(at(&format!(r#""exp":1769999995,{ours}"#), 6), Ok(1_770_000_001_000));
    assert_eq!(at(&format!(r#""exp":0,{ours}"#), 60), Err(Refused::Expired));
    assert_eq!(at(&format!(r#""exp":1770000009,"nbf":1770000001,{ours}"#), 0), Err(Refused::NotYet));
    assert!(at(&format!(r#""exp":1770000009,"nbf":1770000001,{ours}"#), 1).is_ok());
    assert!(at(r#""exp":1770000001,"iss":"us","aud":["x","chat"]"#, 0).is_ok());
    for audience in ["", r#","aud":"chats""#, r#","aud":[]"#, r#","aud":["CHAT","cha","t"]"#] {
        let refused = at(&format!(r#""exp":1770000001,"iss":"us"{audience}"#), 0);
        assert_eq!(refused, Err(Refused::Audience), "{audience}");
    }
    for wrong in [r#""aud":5"#, r#""aud":["chat",5]"#, r#""aud":{"0":"chat"}"#, r#""aud":null"#] {
        let refused = at(&format!(r#""exp":1770000001,"iss":"us",{wrong}"#), 0);
        assert!(matches!(refused, Err(Refused::Claim(_))), "{wrong}");
    }
    assert_eq!(at(r#""exp":1770000001,"aud":"chat""#, 0), Err(Refused::Issuer));
    assert!(matches!(at(r#""exp":1770000001,"aud":"chat","iss":["us"]"#, 0), Err(Refused::Claim(_))));
}

#[test]
fn users_have_ids_and_names_as_all_names_are() {
    for (sub, good) in [
        (r#""ann""#, true),
        (r#""__proto__""#, true),
        (r#""""#, false),
        (r#""a\u0000b""#, false),
        (r#""a\r\nb""#, false),
        ("5", false),
        ("null", false),
        (&format!("\"{}\"", "x".repeat(128)), true),
        (&format!("\"{}\"", "x".repeat(129)), false),
    ] {
        assert_eq!(judged(&format!("{{\"sub\":{sub},\"exp\":1770000060}}")).is_ok(), good, "{sub}");
    }
    assert!(judged(r#"{"exp":1770000060}"#).is_err());
    for (name, shown) in
        [(r#""""#, Some(None)), ("null", Some(None)), (r#""A""#, Some(Some("A"))), ("1", None)]
    {
        let read = judged(&format!("{{\"sub\":\"a\",\"exp\":1770000060,\"name\":{name}}}"));
        assert_eq!(read.ok().as_ref().map(|one| one.name.as_deref()), shown, "{name}");
    }
}

#[test]
fn what_is_no_token_is_refused_before_any_work() {
    let token = mint(GOOD, SECRET).expect("minted");
    let judge = |token: &str| judge(token, &of_secret(), &Rules::default(), NOW).map(drop);
    assert_eq!(judge(&token), Ok(()));
    let long = format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX));
    assert_eq!(judge(&long), Err(Refused::TooLong));
    let (message, signature) = token.rsplit_once('.').expect("parts");
    for wrong in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        message,
        &format!("{message}."),
        &format!("{token}.x"),
        &format!("x.{token}"),
        &format!(" {token}"),
        "\u{e9}.\u{e9}.\u{e9}",
    ] {
        assert!(matches!(judge(wrong), Err(Refused::Malformed)), "{wrong}");
    }
    for wrong in [format!("{message}.{signature}="), format!("{message}.!{signature}"), format!("{token} ")] {
        assert_eq!(judge(&wrong), Err(Refused::Signature), "{wrong}");
    }
    // Every byte of it counts.
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("ASCII");
        // The last digit has bits that mean nothing.
        assert!(judge(&other).is_err() || at + 1 == token.len(), "{at}");
    }
    let header = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
    let critical = signed(header, GOOD, &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    assert_eq!(judge(&critical), Err(Refused::Malformed));
}

#[test]
fn keys_are_chosen_by_kid() {
    let (one, two, unnamed) = (ec(Algorithm::ES256), ec(Algorithm::ES256), ec(Algorithm::ES256));
    let mut keyring = Keyring::default();
    keyring.add_public(Some("one"), one.public.as_bytes()).expect("good");
    let token = |pair, kid: &str| {
        let kid = if kid.is_empty() { String::new() } else { format!(",\"kid\":\"{kid}\"") };
        signed(&format!("{{\"alg\":\"ES256\"{kid}}}"), GOOD, &by(pair, Algorithm::ES256), Algorithm::ES256)
    };
    let ok = |keyring: &Keyring, token: &str| judge(token, keyring, &Rules::default(), NOW).is_ok();
    assert!(ok(&keyring, &token(&one, "one")) && !ok(&keyring, &token(&one, "two")));
    assert!(ok(&keyring, &token(&one, "")), "there is no other that could be meant");
    keyring.add_public(Some("two"), two.public.as_bytes()).expect("good");
    assert!(ok(&keyring, &token(&two, "two")) && !ok(&keyring, &token(&two, "one")));
    assert!(!ok(&keyring, &token(&one, "")), "now there is");
    assert!(!ok(&keyring, &token(&unnamed, "one")));
    keyring.add_public(None, unnamed.public.as_bytes()).expect("good");
    assert!(ok(&keyring, &token(&unnamed, "")) && ok(&keyring, &token(&unnamed, "anything")));
    assert_eq!(keyring.add_public(Some("two"), unnamed.public.as_bytes()), Err(KeyError::SameName));
    for _ in 1..UNNAMED_MAX {
        keyring.add_public(None, unnamed.public.as_bytes()).expect("a few");
    }
    assert_eq!(keyring.add_public(None, unnamed.public.as_bytes()), Err(KeyError::TooManyUnnamed));
    keyring.add_secret(SECRET).expect("a secret costs nothing");
    assert!(!format!("{keyring:?}").contains("BEGIN"));
}

/// The keys of a set as JSON, without the braces.
fn member(pair: &Pair) -> String {
    let pem = pair.public.as_bytes();
    let key = DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .expect("good");
    let text = serde_json::to_string(&Jwk::from_decoding_key(&key, None).expect("good")).expect("JSON");
    text.trim_matches(['{', '}']).to_owned()
}

#[test]
fn key_sets_are_read() {
    let (p256, ed) = (ec(Algorithm::ES256), ed_pair());
    let set = format!(
        r#"{{"keys":[{{{},"kid":"r","alg":"PS256"}},{{{},"kid":"e","use":"sig"}},{{{},"kid":"d"}},
            {{"kty":"new","kid":"n"}},{{{},"kid":"x","use":"enc"}}],"more":1}}"#,
        member(rsa()),
        member(&p256),
        member(&ed),
        member(&p256),
    );
    let mut keyring = Keyring::default();
    keyring.add_set(set.as_bytes()).expect("good");
    let ok = |pair, kid: &str, algorithm| {
        let header = format!("{{\"alg\":\"{algorithm:?}\",\"kid\":\"{kid}\"}}");
        judge(&signed(&header, GOOD, &by(pair, algorithm), algorithm), &keyring, &Rules::default(), NOW)
            .is_ok()
    };
    assert!(ok(rsa(), "r", Algorithm::PS256) && !ok(rsa(), "r", Algorithm::RS256), "alg binds the key");
    assert!(
        ok(&p256, "e", Algorithm::ES256)
            && !ok(&p256, "x", Algorithm::ES256)
            && ok(&ed, "d", Algorithm::EdDSA)
    );
    for (set, error) in [
        ("", KeyError::Empty),
        ("{", KeyError::NotSet),
        ("[]", KeyError::NotSet),
        (r#"{"keys":{}}"#, KeyError::NotSet),
        (r#"{"keys":[5]}"#, KeyError::NotSet),
        (r#"{"keys":[{}]}"#, KeyError::NotSet),
        (r#"{"keys":[]}"#, KeyError::NoneInSet),
        (r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, KeyError::SecretInSet),
        (r#"{"keys":[{"kty":"RSA","n":"AQAB"}]}"#, KeyError::NotKey),
        (r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, KeyError::Weak),
        (r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}]}"#, KeyError::NotKey),
        (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"!"}]}"#, KeyError::NotKey),
        (&format!(r#"{{"keys":[{{{},"alg":"HS256"}}]}}"#, member(&p256)), KeyError::NotKey),
    ] {
        assert_eq!(Keyring::default().add_set(set.as_bytes()), Err(error), "{set}");
    }
}

#[test]
fn files_that_hold_no_such_key_are_refused() {
    let mut keyring = Keyring::default();
    for (file, error) in [
        (&b""[..], KeyError::Empty),
        (b"\n", KeyError::Empty),
        (b"short", KeyError::ShortSecret(5)),
        (b"0123456789abcdef0123456789abcde\n", KeyError::ShortSecret(31)),
        (rsa().public.as_bytes(), KeyError::PublicAsSecret),
        // Whatever stands before it: those who know the public key know that, too, or guess it.
        (format!("\u{feff}{}", rsa().public).as_bytes(), KeyError::PublicAsSecret),
        (format!("\n# ours\n{}", rsa().public).as_bytes(), KeyError::PublicAsSecret),
    ] {
        assert_eq!(keyring.add_secret(file), Err(error));
    }
    assert_eq!(keyring.add_secret(b"0123456789abcdef0123456789abcdef\r\n"), Ok(()));
    for (file, error) in [
        (&b""[..], KeyError::Empty),
        (SECRET, KeyError::NotKey),
        (rsa().private.as_bytes(), KeyError::Private),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KeyError::Certificate),
        (&vec![b'x'; (1 << 20) + 1], KeyError::TooLong),
    ] {
        assert_eq!(keyring.add_public(None, file), Err(error));
    }
    let cut = &rsa().public.as_bytes()[..200];
    assert_eq!(keyring.add_public(None, cut), Err(KeyError::NotKey));
}

#[test]
fn what_is_minted_can_be_explained_and_used() {
    let token = mint(GOOD, SECRET).expect("minted");
    let (header, claims) = contents(&token).expect("a token");
    assert_eq!((header.as_str(), claims.as_str()), (r#"{"typ":"JWT","alg":"HS256"}"#, GOOD));
    assert_eq!(contents("a.b.c"), Err(Refused::Malformed));
    for refused in [Refused::TooLong, Refused::Malformed, Refused::NoKey, Refused::Signature] {
        assert_eq!(refused.reason(), "invalid token", "a forger learns nothing");
    }
}
