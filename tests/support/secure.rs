//! Clients that speak TLS by rustls' own client, and certificates made for one test.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tungstenite::WebSocket;

use super::{Server, guarded};

/// A TLS connection.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A folder with certificates, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// With `cert` and `key`, self-signed, for localhost.
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("roomcast-e2e-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        let folder = Folder(path);
        folder.renew();
        folder
    }

    /// Another pair in place of the old one.
    pub(crate) fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        self.write("cert", &made.cert.pem());
        self.write("key", &made.signing_key.serialize_pem());
    }

    /// An authority in `ca`, and a client's `client-cert` and `client-key` that it has issued.
    pub(crate) fn add_client(&self) {
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        self.write("ca", &authority.self_signed(&authority_key).expect("a certificate").pem());
        let key = KeyPair::generate().expect("a key");
        let client = CertificateParams::new(["client".to_owned()]).expect("a name");
        let issued = client.signed_by(&key, &Issuer::new(authority, authority_key)).expect("a certificate");
        self.write("client-cert", &issued.pem());
        self.write("client-key", &key.serialize_pem());
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("the folder can be written to");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// A server with TLS on a port of its own.
    pub(crate) fn server(&self, flags: &[&str]) -> Server {
        let (cert, key) = (self.text("cert"), self.text("key"));
        let flags = [&["--tls-cert", &cert, "--tls-key", &key], flags].concat();
        Server::start_at("tls:127.0.0.1:0", &flags)
    }

    /// What a client needs to trust this server now.
    pub(crate) fn trust(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let builder = builder(versions).with_root_certificates(roots(&self.path("cert")));
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// The same for a client that shows a certificate.
    pub(crate) fn trust_and_show(&self) -> ClientConfig {
        let chain = CertificateDer::pem_file_iter(self.path("client-cert")).expect("a file");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_file(self.path("client-key")).expect("PEM");
        builder(rustls::DEFAULT_VERSIONS)
            .with_root_certificates(roots(&self.path("cert")))
            .with_client_auth_cert(chain, key)
            .expect("they fit")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that the library has")
}

fn roots(file: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).expect("a file") {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    roots
}

/// A session that has not begun.
pub(crate) fn session(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a configuration that fits")
}

/// Connects and finishes the handshake.
pub(crate) fn connect(server: &Server, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    let mut socket = TcpStream::connect(server.address)?;
    guarded(&socket);
    let mut session = session(config);
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(session, socket))
}

/// An open WebSocket over TLS.
pub(crate) fn websocket(server: &Server, config: &Arc<ClientConfig>, target: &str) -> WebSocket<Stream> {
    let stream = connect(server, config).expect("a handshake");
    let dialled = tungstenite::client::client(format!("wss://localhost{target}"), stream);
    dialled.expect("the upgrade succeeds").0
}

/// Sends these bytes and reads to the end, which has to be said (`close_notify`).
pub(crate) fn exchange(server: &Server, config: &Arc<ClientConfig>, request: &str) -> String {
    let mut stream = connect(server, config).expect("a handshake");
    stream.write_all(request.as_bytes()).expect("the request goes out");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and an orderly end");
    answer
}
