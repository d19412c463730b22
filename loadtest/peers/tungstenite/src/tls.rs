//! TLS for the peer: tokio-rustls over aws-lc-rs, by the certificate in the folder that `TLS_FOLDER` names.
//!
//! As a user would configure it, but that sessions are resumed by tickets that hold all there is to a session, as our
//! own server's are: rustls' default keeps them in a table, and costs a little more.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::Ticketer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::server::TlsStream;

thread_local! {
    static ACCEPTOR: Result<TlsAcceptor, String> = acceptor();
}

/// The server's side of a TLS handshake.
///
/// # Errors
/// There is no certificate, or the client is no party to a handshake.
pub async fn accept(socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let acceptor = ACCEPTOR.with(Clone::clone).map_err(io::Error::other)?;
    acceptor.accept(socket).await
}

fn acceptor() -> Result<TlsAcceptor, String> {
    let folder = std::env::var("TLS_FOLDER").map_err(|_| "TLS_FOLDER is not set")?;
    let folder = Path::new(&folder);
    let text = |error: &dyn std::error::Error| error.to_string();
    let cert = CertificateDer::from_pem_file(folder.join("cert.pem")).map_err(|error| text(&error))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(|error| text(&error))?;
    let builder = ServerConfig::builder().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![cert], key).map_err(|error| text(&error))?;
    config.ticketer = Ticketer::new().map_err(|error| text(&error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}
