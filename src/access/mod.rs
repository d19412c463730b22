//! Who may come in and what they may do: tokens, keys, origins, signatures and content rules as pure checks.
//!
//! Time and the bytes of files are arguments: nothing here reads a clock or a file, and nothing is logged. Nothing
//! that is secret is ever shown, not by `Debug` either. Who is refused, and with which words, is for the callers.

pub mod grant;
pub mod key;
pub mod token;
pub mod api_key;
pub mod origin;
pub mod signature;
pub mod content;

use std::time::Duration;

use crate::access::api_key::ApiKeys;
use crate::access::content::Content;
use crate::access::key::Keyring;
use crate::access::origin::Allowed;
use crate::access::token::Rules;

/// What an operator sets once and for all; files are in [`Papers`].
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether clients have to show a token.
    pub tokens: bool,
    /// What a token has to say.
    pub rules: Rules,
    /// How long a client may take to show its token in a message.
    pub timeout: Duration,
    /// How long before its token expires a client is told.
    pub warning: Duration,
    /// The cookie that may hold a token.
    pub cookie: Option<Box<str>>,
    /// Origins of pages that may open a WebSocket; empty: all.
    pub origins: Vec<Allowed>,
    /// Whether messages to others have to be signed.
    pub signatures: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            tokens: false,
            rules: Rules::default(),
            timeout: Duration::from_secs(5),
            warning: Duration::from_secs(30),
            cookie: None,
            origins: Vec::new(),
            signatures: false,
        }
    }
}

/// What was read from files, and can be read again while the server runs.
#[derive(Debug, Default)]
pub struct Papers {
    /// Keys that tokens are signed with.
    pub keyring: Keyring,
    /// Keys of the API; none: it answers processes of this machine.
    pub api_keys: Option<ApiKeys>,
    /// What no message may hold.
    pub content: Option<Content>,
}
