//! `roomcast token`: its command line, as what is to be minted or explained.
//!
//! Reads no file and no clock: the server does, see `server::mint`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::access::grant::RIGHTS;
use crate::access::token::Rules;
use crate::config::setting::Files;
use crate::config::value::{self, Wrong};
use crate::hub::name::{self, USER_ID_BYTES_MAX};
use crate::wire::json;

/// The subcommand's name.
pub const NAME: &str = "token";
/// Columns of its help.
const HELP_COLUMNS: usize = 100;
/// How long a minted token is good where nothing is said.
const TTL: &str = "1h";
const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest time of a minted token: ten years, which is for ever.
const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

const EXAMPLES: &str = "\
Lists take commas or several flags. A token that names no rooms is good for all of them.

Examples:
  openssl rand -hex 32 > jwt.secret
  roomcast token --user ann --rooms 'chat:*' --can publish,direct --jwt-secret-file jwt.secret
  roomcast token --check - --jwt-secret-file jwt.secret < token.txt

--check exits with 1 if the token is not good. Without a key it tells what the token says, and that nobody knows
whether it is true.";

/// What is asked of `roomcast token`.
#[derive(Clone, Debug)]
pub enum Wish {
    /// To make one.
    Mint {
        /// Claims beside the times: name and JSON value.
        claims: Vec<(&'static str, String)>,
        /// How long it is to be good.
        ttl: Duration,
        /// What to sign it with.
        secret: PathBuf,
    },
    /// To explain one.
    Check {
        /// The token; `-`: it comes on standard input.
        token: String,
        /// What to verify it with; may be nothing.
        files: Files,
        /// What it has to say.
        rules: Rules,
    },
}

/// The subcommand.
#[must_use]
pub fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Set)
    };
    let list = |name, value, help| arg(name, value, help).action(ArgAction::Append).value_delimiter(',');
    Command::new(NAME)
        .about("Mints a token for development, or explains one.")
        .after_help(EXAMPLES)
        .max_term_width(HELP_COLUMNS)
        .disable_help_flag(true)
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print this."))
        .arg(arg("user", "ID", "User that the token is for (sub)."))
        .arg(arg("name", "NAME", "Name to show."))
        .arg(list("rooms", "PATTERN", "Rooms that it is good for; all if left out."))
        .arg(list("channels", "PATTERN", "Channels that it is good for; all if left out."))
        .arg(list("documents", "PATTERN", "Documents that it is good for; all if left out."))
        .arg(list("can", "WORD", "What its user may do: publish, broadcast, stats, direct, presence."))
        .arg(list("moderate", "PATTERN", "Rooms that its user moderates."))
        .arg(arg("ttl", "DURATION", "How long it is good.").default_value(TTL))
        .arg(arg("jwt-issuer", "NAME", "Issuer to name, or that has to be named (iss)."))
        .arg(arg("jwt-audience", "NAME", "Audience to name, or that has to be named (aud)."))
        .arg(arg("jwt-secret-file", "PATH", "File with the secret to sign or verify with."))
        .arg(
            arg("jwt-public-key", "FILE", "Public key to verify with; KID=FILE gives it a name.")
                .action(ArgAction::Append),
        )
        .arg(arg("jwks-file", "PATH", "Key set to verify with."))
        .arg(arg("check", "TOKEN", "Explain this token instead; - reads it from standard input."))
}

/// Reads what the subcommand was given. `environment` looks one variable up.
///
/// # Errors
/// What is wrong, and how to mend it.
pub fn read(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Wish, (String, String)> {
    let one = |name: &str| matches.get_one::<String>(name).cloned();
    let list = |name: &str| -> Option<Vec<&String>> { Some(matches.get_many(name)?.collect()) };
    let secret = one("jwt-secret-file").map(PathBuf::from);
    let secret = secret.or_else(|| environment("ROOMCAST_JWT_SECRET_FILE").map(PathBuf::from));
    let (issuer, audience) = (one("jwt-issuer"), one("jwt-audience"));
    if let Some(token) = one("check") {
        let public = list("jwt-public-key").unwrap_or_default();
        let public =
            public.into_iter().map(|text| match text.split_once('=').filter(|(kid, _)| !kid.contains('/')) {
                Some((kid, file)) => (Some(kid.to_owned()), PathBuf::from(file)),
                None => (None, PathBuf::from(text)),
            });
        let files = Files {
            secret,
            public: public.collect(),
            set: one("jwks-file").map(Into::into),
            ..Files::default()
        };
        let leeway = Duration::ZERO;
        let rules = Rules { issuer: issuer.map(Into::into), audience: audience.map(Into::into), leeway };
        return Ok(Wish::Check { token, files, rules });
    }
    let refused = |problem: String, mend: &str| (problem, mend.to_owned());
    let user = one("user").ok_or_else(|| {
        refused("the user is missing".into(), "give --user ID, or --check TOKEN, see roomcast token --help")
    })?;
    let fits = |flag: &str, text: &str| {
        let mend = "it has 1 to 128 bytes without control characters";
        name::check(text, USER_ID_BYTES_MAX).map_err(|_| refused(format!("--{flag} is not a name"), mend))
    };
    fits("user", &user)?;
    let secret = secret.ok_or_else(|| {
        refused(
            "there is no secret to sign with".into(),
            "give --jwt-secret-file; openssl rand -hex 32 makes one",
        )
    })?;
    let ttl_text = one("ttl").unwrap_or_else(|| TTL.to_owned());
    let ttl: Result<Duration, Wrong> =
        value::duration(&ttl_text).and_then(|time| value::between(time, TTL_MIN, TTL_MAX));
    let ttl = ttl.map_err(|wrong| {
        refused(format!("--ttl {}: {wrong}", value::quoted(&ttl_text)), "give a duration such as 15m or 24h")
    })?;
    let mut claims = vec![("sub", string(&user))];
    if let Some(name) = one("name") {
        fits("name", &name)?;
        claims.push(("name", string(&name)));
    }
    for (claim, value) in [("iss", issuer), ("aud", audience)] {
        claims.extend(value.map(|value| (claim, string(&value))));
    }
    for word in list("can").unwrap_or_default() {
        if !RIGHTS.iter().any(|(known, _)| known == word) {
            let known = RIGHTS.map(|(known, _)| known).join(", ");
            return Err((
                format!("--can {}: there is no such right", value::quoted(word)),
                format!("there are {known}"),
            ));
        }
    }
    for claim in ["rooms", "channels", "documents", "can", "moderate"] {
        let texts = list(claim).map(|all| all.iter().map(|text| string(text)).collect::<Vec<_>>().join(","));
        claims.extend(texts.map(|texts| (claim, format!("[{texts}]"))));
    }
    Ok(Wish::Mint { claims, ttl, secret })
}

fn string(text: &str) -> String {
    let mut json = Vec::new();
    json::write_string(&mut json, text);
    String::from_utf8_lossy(&json).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(args: &[&str]) -> Result<Wish, (String, String)> {
        let matches =
            command().try_get_matches_from([NAME].iter().chain(args)).expect("flags that there are");
        read(&matches, |name| (name == "ROOMCAST_JWT_SECRET_FILE").then(|| "env.secret".into()))
    }

    #[test]
    fn claims_are_json() {
        let args =
            ["--user", "a\"b", "--rooms", "chat:*,x", "--rooms", "y", "--can", "publish", "--ttl", "15m"];
        let Ok(Wish::Mint { claims, ttl, secret }) = wish(&args) else { panic!("a good wish") };
        assert_eq!((ttl, secret), (Duration::from_secs(900), "env.secret".into()));
        assert_eq!(
            claims,
            [
                ("sub", r#""a\"b""#.to_owned()),
                ("rooms", r#"["chat:*","x","y"]"#.to_owned()),
                ("can", r#"["publish"]"#.to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (args, problem) in [
            (&["--rooms", "x"][..], "the user is missing"),
            (&["--user", ""], "--user is not a name"),
            (&["--user", "a", "--ttl", "15"], "--ttl '15': the unit is missing (ms, s, m or h)"),
            (&["--user", "a", "--can", "fly"], "--can 'fly': there is no such right"),
        ] {
            assert_eq!(wish(args).map(drop).expect_err(problem).0, problem);
        }
    }

    #[test]
    fn a_check_takes_keys_or_none() {
        let Ok(Wish::Check { token, files, rules }) =
            wish(&["--check", "a.b.c", "--jwt-public-key", "k=x.pem", "--jwt-issuer", "us"])
        else {
            panic!("a good wish")
        };
        assert_eq!((token.as_str(), rules.issuer.as_deref()), ("a.b.c", Some("us")));
        assert_eq!(files.public, [(Some("k".into()), "x.pem".into())]);
    }
}
