//! Settings about who may come in: their rows, and what they have to be together.
//!
//! Opens no file: paths are for the server to read, at the start and again later.

use std::path::PathBuf;
use std::time::Duration;

use crate::access::origin::Allowed;
use crate::config::setting::{Category, Files, Kind, Setting, Typed};
use crate::config::value::Wrong;
use crate::hub::name;
use crate::shard::limits::Limits;

/// Longest issuer, audience or name of a cookie or key, in bytes.
const WORD_BYTES_MAX: usize = 255;
/// Shortest time to show a token.
const STEP_MIN: Duration = Duration::from_millis(10);
/// Longest time to show a token, and longest warning.
const STEP_MAX: Duration = Duration::from_secs(3_600);
/// Most by which clocks can be said to differ: beyond it, expiry means nothing.
const LEEWAY_MAX: Duration = Duration::from_secs(600);
/// Longest header line.
const HEADER_BYTES_MAX: usize = 4096;
/// Most bytes of header lines: every answer has them all.
const HEADERS_BYTES_MAX: usize = 16 << 10;

/// Headers that say how an answer is to be read; these are not the operator's.
const OURS: [&str; 7] =
    ["connection", "content-length", "content-type", "keep-alive", "trailer", "transfer-encoding", "upgrade"];

const fn row(name: &'static str, kind: Kind, default: &'static str, example: &'static str) -> Setting {
    let category = Category::Identity;
    Setting { name, category, kind, words: &[], default, example, help: "", details: "" }
}

/// Whether clients have to show a token.
pub const AUTH: Setting = Setting {
    help: "Whether clients have to show a token: none, or token.",
    details: "`none`: everybody may come in, and a `user_id` is what the client says it is. `token`: every client of \
        `/ws` and `/echo` shows a JWT that one of the keys below has signed; it says who the client is and what it may \
        do. See docs/security.md.",
    ..row(
        "auth",
        Kind::Choice(&[
            ("none", |t| t.limits.access.tokens = false),
            ("token", |t| t.limits.access.tokens = true),
        ]),
        "none",
        "token",
    )
};

/// The secret.
pub const JWT_SECRET_FILE: Setting = Setting {
    words: &[("none", |t| t.files.secret = None)],
    help: "File with the secret that tokens are signed with (HS256, HS384, HS512).",
    details: "At least 32 bytes; a line end after them does not count. `openssl rand -hex 32` makes one. Who has it \
        can make tokens. Read again on SIGHUP.",
    ..row("jwt-secret-file", Kind::Path(|t, v| t.files.secret = Some(v)), "none", "/etc/roomcast/jwt.secret")
};

/// Public keys.
pub const JWT_PUBLIC_KEY: Setting = Setting {
    words: &[("none", |t| t.files.public.clear())],
    help: "PEM file with a public key that tokens are signed by; may be given several times.",
    details: "RSA (RS256 to RS512, PS256 to PS512; 2048 bits at least), EC on P-256 (ES256) or P-384 (ES384), or \
        Ed25519 (EdDSA): a key verifies the algorithms of its kind, whatever a token says. With `KID=` a token whose \
        header has that `kid` means this key. Read again on SIGHUP.",
    ..row(
        "jwt-public-key",
        Kind::Lines("FILE", "FILE or KID=FILE", public_key),
        "none",
        "2026=/etc/roomcast/jwt-2026.pem",
    )
};

/// A key set.
pub const JWKS_FILE: Setting = Setting {
    words: &[("none", |t| t.files.set = None)],
    help: "File with a JSON Web Key Set of public keys that tokens are signed by.",
    details: "Keys are never fetched from the network, least of all from where a token says: let a timer write the \
        file, and send SIGHUP. Secrets (`oct`) do not belong there.",
    ..row("jwks-file", Kind::Path(|t, v| t.files.set = Some(v)), "none", "/etc/roomcast/jwks.json")
};

/// Who issues tokens.
pub const JWT_ISSUER: Setting = Setting {
    words: &[("any", |t| t.limits.access.rules.issuer = None)],
    help: "Issuer (`iss`) that every token has to name.",
    ..row(
        "jwt-issuer",
        Kind::Name(WORD_BYTES_MAX, |t, v| t.limits.access.rules.issuer = Some(v.into())),
        "any",
        "https://login.example",
    )
};

/// Whom tokens are for.
pub const JWT_AUDIENCE: Setting = Setting {
    words: &[("any", |t| t.limits.access.rules.audience = None)],
    help: "Audience (`aud`) that every token has to name, alone or among others.",
    details: "Set it where one issuer serves several applications: without it, a token that was made for another \
        one is good here, too.",
    ..row(
        "jwt-audience",
        Kind::Name(WORD_BYTES_MAX, |t, v| t.limits.access.rules.audience = Some(v.into())),
        "any",
        "chat.example",
    )
};

/// Leeway.
pub const JWT_LEEWAY: Setting = Setting {
    help: "By how much the issuer's clock may differ from ours, for `exp` and `nbf`.",
    details: "A token is good for so long after its end, and so long before its begin.",
    ..row(
        "jwt-leeway",
        Kind::Time(Duration::ZERO, LEEWAY_MAX, |t, v| t.limits.access.rules.leeway = v),
        "0",
        "5s",
    )
};

/// The time to show a token.
pub const AUTH_TIMEOUT: Setting = Setting {
    help: "Time for a client to show its token in a message, if its request had none.",
    details: "Then it is closed with 4002. Until it is in, it hears nothing and is not obeyed.",
    ..row("auth-timeout", Kind::Time(STEP_MIN, STEP_MAX, |t, v| t.limits.access.timeout = v), "5s", "2s")
};

/// The warning.
pub const TOKEN_WARNING: Setting = Setting {
    help: "How long before its token expires a client is told (`token_expiring`).",
    details: "It may then send `auth` with a fresh token and stay; otherwise it is closed with 4007.",
    ..row(
        "token-warning",
        Kind::Time(Duration::ZERO, STEP_MAX, |t, v| t.limits.access.warning = v),
        "30s",
        "2m",
    )
};

/// The cookie.
pub const AUTH_COOKIE: Setting = Setting {
    words: &[("none", |t| t.limits.access.cookie = None)],
    help: "Name of a cookie that may hold the token.",
    details: "Only together with `--allow-origin`: browsers send cookies for pages of everybody.",
    ..row(
        "auth-cookie",
        Kind::Name(WORD_BYTES_MAX, |t, v| t.limits.access.cookie = Some(v.into())),
        "none",
        "session_token",
    )
};

/// The origins.
pub const ALLOW_ORIGIN: Setting = Setting {
    words: &[("any", |t| t.limits.access.origins.clear())],
    help: "Origin whose pages may open a WebSocket; may be given several times.",
    details: "Scheme, host and port have to be the same; `https://*.example` stands for one label in place of the \
        star, not for `https://example` nor for `https://a.b.example`. Pages of other origins get 403, \
        the chat page at an address that is not listed among them. Clients that \
        send no `Origin` are no pages, and are let through: this protects users of browsers, not the server.",
    ..row(
        "allow-origin",
        Kind::Several(
            "ORIGIN",
            "http://HOST or https://HOST, with :PORT where it is not the usual one",
            origin,
        ),
        "any",
        "https://chat.example",
    )
};

/// The keys of the API.
pub const API_KEY_FILE: Setting = Setting {
    words: &[("none", |t| t.files.api_keys = None)],
    help: "File with the keys of the HTTP API, one on each line with what it may do.",
    details: "A line is a key of 16 bytes at least and its scopes: `publish`, `read` (all that asks), `admin` (closes \
        connections, and includes the others); `#` begins a comment. With keys the API answers everybody who shows \
        one, as `Authorization: Bearer` or `X-API-Key`; without, only processes of this machine. Read again on SIGHUP.",
    ..row("api-key-file", Kind::Path(|t, v| t.files.api_keys = Some(v)), "none", "/etc/roomcast/api.keys")
};

/// Signatures.
pub const REQUIRE_SIGNATURES: Setting = Setting {
    help: "Take only messages that are signed with their session's key.",
    details: "Needs `--auth token`. See docs/security.md for what is signed, and what for.",
    ..row("require-signatures", Kind::Switch(|t, v| t.limits.access.signatures = v), "false", "true")
};

/// Content rules.
pub const REJECT_CONTENT: Setting = Setting {
    words: &[("none", |t| t.files.content = None)],
    help: "File with words that no message may hold, one on each line.",
    details: "Literal, in any case of ASCII letters; `#` begins a comment. Such a message is answered with the error \
        `content_rejected`. It keeps out words, nothing else: pages have to escape what they show, whatever stands \
        here. Read again on SIGHUP.",
    ..row("reject-content", Kind::Path(|t, v| t.files.content = Some(v)), "none", "/etc/roomcast/words.txt")
};

/// Headers.
pub const HEADER: Setting = Setting {
    words: &[("none", |t| t.limits.headers.clear())],
    help: "Header that every HTTP answer gets; may be given several times.",
    details: "Such as `Strict-Transport-Security: max-age=31536000`. Those that say how an answer is to be read \
        cannot be set.",
    ..row(
        "header",
        Kind::Lines("NAME: VALUE", "NAME: VALUE in printable ASCII", header),
        "none",
        "Referrer-Policy: no-referrer",
    )
};

/// A file, or a name and a file. Only where a name of a key can stand before it does an equals sign divide.
fn public_key(typed: &mut Typed, text: &str) -> Result<(), Wrong> {
    let named =
        text.split_once('=').filter(|(kid, file)| !kid.contains('/') && !kid.is_empty() && !file.is_empty());
    let (kid, file) = match named {
        Some((kid, file)) => {
            name::check(kid, WORD_BYTES_MAX).map_err(Wrong::Name)?;
            (Some(kid.to_owned()), file)
        }
        None => (None, text),
    };
    typed.files.public.push((kid, PathBuf::from(file)));
    Ok(())
}

fn origin(typed: &mut Typed, text: &str) -> Result<(), Wrong> {
    typed.limits.access.origins.push(Allowed::parse(text).map_err(Wrong::Origin)?);
    Ok(())
}

fn header(typed: &mut Typed, text: &str) -> Result<(), Wrong> {
    let (name, value) = text.split_once(':').ok_or(Wrong::Header("the colon after the name is missing"))?;
    let (name, value) = (name.trim_end(), value.trim());
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Wrong::Header("this is not the name of a header"));
    }
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(Wrong::Header("a value is printable ASCII"));
    }
    let lower = name.to_ascii_lowercase();
    if OURS.contains(&lower.as_str()) || lower.starts_with("sec-websocket-") {
        return Err(Wrong::Header("this header says how an answer is to be read, and is roomcast's own"));
    }
    let lines = &mut typed.limits.headers;
    if text.len() > HEADER_BYTES_MAX || lines.len() + text.len() > HEADERS_BYTES_MAX {
        return Err(Wrong::Header("that is too long"));
    }
    lines.extend_from_slice([name, ": ", value, "\r\n"].concat().as_bytes());
    Ok(())
}

/// What is wrong with these settings together, and how to mend it; none if they fit.
#[must_use]
pub fn misfit(limits: &Limits, files: &Files) -> Option<(&'static str, &'static str)> {
    let access = &limits.access;
    let Files { secret, public, set, .. } = files;
    let has_keys = secret.is_some() || !public.is_empty() || set.is_some();
    let is_cookie = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let without = "add --auth token, or leave it out";
    if access.tokens && !has_keys {
        let mend = "give --jwt-secret-file, --jwt-public-key or --jwks-file";
        return Some(("--auth token has no key to verify tokens with", mend));
    }
    if !access.tokens {
        // Whoever gives keys believes that tokens are asked for.
        return match () {
            () if has_keys => Some(("keys for tokens are given, but no token is asked for", without)),
            () if access.cookie.is_some() => {
                Some(("--auth-cookie is given, but no token is asked for", without))
            }
            () if access.signatures => Some(("--require-signatures needs to know its users", without)),
            () => None,
        };
    }
    match &access.cookie {
        Some(name) if !name.bytes().all(is_cookie) => {
            Some(("--auth-cookie is not the name of a cookie", "give one of letters, digits, - and _"))
        }
        Some(_) if access.origins.is_empty() => Some((
            "--auth-cookie lets pages of every origin act for their visitors",
            "say by --allow-origin which may, or show tokens otherwise",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::{Asked, read};

    fn typed(args: &[&str]) -> Result<Typed, String> {
        let args = ["roomcast"].iter().chain(args).map(|arg| (*arg).into());
        match read(args, |_| None) {
            Ok(Asked::Start(typed)) => Ok(*typed),
            Err(complaint) => Err(complaint.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn public_keys_have_a_name_if_one_stands_before_the_file() {
        let public = |text: &str| typed(&["--jwt-public-key", text]).expect("good").files.public;
        assert_eq!(public("a.pem"), [(None, "a.pem".into())]);
        assert_eq!(
            public("k1=a.pem\n/b=c.pem"),
            [(Some("k1".into()), "a.pem".into()), (None, "/b=c.pem".into())]
        );
    }

    #[test]
    fn headers_become_lines_and_those_of_ours_are_refused() {
        let lines = |text: &str| typed(&["--header", text]).map(|typed| typed.limits.headers);
        assert_eq!(lines("X-A : b; c").as_deref(), Ok(&b"X-A: b; c\r\n"[..]));
        for wrong in [
            "X-A",
            ": b",
            "X A: b",
            "X-A: b\u{7}",
            "X-A: \u{e9}",
            "Content-Length: 5",
            "connection: close",
            "Sec-WebSocket-Protocol: x",
            &format!("X-A: {}", "x".repeat(5000)),
        ] {
            assert!(lines(wrong).expect_err(wrong).starts_with("--header '"), "{wrong}");
        }
        let both = typed(&["--header", "A: 1", "--header", "B: 2"]).expect("good");
        assert_eq!(both.limits.headers, b"A: 1\r\nB: 2\r\n");
    }

    #[test]
    fn settings_that_leave_a_door_open_by_mistake_are_refused() {
        let wrong = |args: &str| {
            let typed = typed(&args.split(' ').collect::<Vec<_>>()).expect("good by itself");
            misfit(&typed.limits, &typed.files).map(|(problem, _)| problem)
        };
        assert!(wrong("--auth token").is_some_and(|text| text.contains("has no key")));
        for keys in ["--jwt-secret-file x", "--jwt-public-key x", "--jwks-file x"] {
            assert_eq!(wrong(&format!("--auth token {keys}")), None);
            assert!(wrong(keys).is_some_and(|text| text.contains("no token is asked for")), "{keys}");
        }
        assert_eq!(wrong("--auth token --jwt-secret-file x --jwt-public-key y --require-signatures"), None);
        assert!(wrong("--require-signatures").is_some() && wrong("--auth-cookie t").is_some());
        let cookie = "--auth token --jwks-file x --auth-cookie t";
        assert!(wrong(cookie).is_some_and(|text| text.contains("every origin")));
        assert_eq!(wrong(&format!("{cookie} --allow-origin https://a.example")), None);
        assert!(
            wrong("--auth token --jwks-file x --auth-cookie a=b --allow-origin https://a.example").is_some()
        );
        assert_eq!(wrong("--api-key-file x --allow-origin https://a.example --reject-content y"), None);
    }
}
