//! Settings about TLS and proxies: their rows.
//!
//! Opens no file: paths are for the server to read, at the start and again later.

use crate::base::network::Trusted;
use crate::config::proxy;
use crate::config::setting::{Category, Kind, Setting};

/// The server's certificate.
pub const TLS_CERT: Setting = Setting {
    name: "tls-cert",
    category: Category::Tls,
    kind: Kind::Path(|t, v| t.tls_cert = Some(v)),
    words: &[("none", |t| t.tls_cert = None)],
    default: "none",
    example: "/etc/roomcast/cert.pem",
    help: "The server's certificate in PEM, and after it those of its issuers; for `--listen tls:...`.",
    details: "TLS 1.2 and 1.3 are spoken. At SIGHUP this file, the key and `--tls-client-ca` are read again: new \
        connections get what they say then, open ones stay as they are, and files that cannot be used leave the \
        old ones in force, which the log tells (docs/tls.md).",
};

/// The key of the certificate.
pub const TLS_KEY: Setting = Setting {
    name: "tls-key",
    category: Category::Tls,
    kind: Kind::Path(|t, v| t.tls_key = Some(v)),
    words: &[("none", |t| t.tls_key = None)],
    default: "none",
    example: "/etc/roomcast/key.pem",
    help: "The key of the certificate, in PEM: PKCS #8, SEC1 or PKCS #1.",
    details: "It must not be encrypted: nobody is there to type a password when the process is started again.",
};

/// Who issues certificates to clients.
pub const TLS_CLIENT_CA: Setting = Setting {
    name: "tls-client-ca",
    category: Category::Tls,
    kind: Kind::Path(|t, v| t.tls_client_ca = Some(v)),
    words: &[("none", |t| t.tls_client_ca = None)],
    default: "none",
    example: "/etc/roomcast/clients.pem",
    help: "Certificates, in PEM, of those who issue certificates to clients: clients then have to show one.",
    details: "On all listeners with TLS. Whoever shows none, or one that somebody else has issued, does not get \
        through the handshake.",
};

/// Who is believed to speak for others.
pub const TRUSTED_PROXY: Setting = Setting {
    name: "trusted-proxy",
    category: Category::Tls,
    kind: Kind::Several("NETWORK", proxy::ACCEPTS, |t, v| proxy::add(&mut t.trusted, v)),
    words: &[("none", |t| t.trusted = Trusted::default())],
    default: "none",
    example: "10.0.0.0/8",
    help: "Proxies that are believed to say for whom they speak; may be given several times.",
    details: "Of connections from there, a WebSocket counts for `--max-connections-per-address` where its request \
        says that its client is: the last address in `X-Forwarded-For` that is not in these networks. The proxy \
        itself is not counted. From anywhere else the header means nothing. `unix` stands for whoever connects by \
        a Unix socket.",
};

/// Whether connections begin with a header of the PROXY protocol.
pub const PROXY_PROTOCOL: Setting = Setting {
    name: "proxy-protocol",
    category: Category::Tls,
    kind: Kind::Switch(|t, v| t.proxy_protocol = v),
    words: &[],
    default: "false",
    example: "true",
    help: "Every connection begins with a header of the PROXY protocol, version 1 or 2.",
    details: "On all listeners, before TLS. Who is not in `--trusted-proxy` cannot connect, and who is and sends \
        no header is cut off; it counts against `--handshake-timeout`. A header without a client (`LOCAL`, \
        `UNKNOWN`), as of a health check, leaves the address as it is.",
};
