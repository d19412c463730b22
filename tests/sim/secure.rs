//! TLS on simulated links: the server's filter, and a client by rustls.
//!
//! Real cryptography draws real random numbers, so two runs of a seed differ in the bytes of their records. They do not
//! differ in how many there are: key shares and signatures of Ed25519 have one length, and the certificate is made of
//! constants. So bytes are cut at the same places and a seed replays the same run.

use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use roomcast::shard::front::{Front, Terms};
use roomcast::shard::tls::Room;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

/// Both ends of a TLS connection.
pub(crate) struct Secure {
    client: ClientConnection,
    pub(crate) front: Box<Front>,
    pub(crate) room: Room,
}

/// Of all links: nothing depends on which key it is.
fn configs() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static CONFIGS: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let mut wanted = rcgen::CertificateParams::new(["sim".to_owned()]).expect("a name");
        wanted.serial_number = Some(7_u64.into());
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let made = wanted.self_signed(&pair).expect("a certificate");
        let cert = CertificateDer::from_pem_slice(made.pem().as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).expect("PEM");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the library has it")
            .with_no_client_auth()
            .with_single_cert(vec![cert.clone()], key)
            .expect("they fit");
        let mut roots = RootCertStore::empty();
        roots.add(cert).expect("a certificate");
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the library has it")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // What one connection leaves behind would make the next one different.
        client.resumption = rustls::client::Resumption::disabled();
        (Arc::new(server), Arc::new(client))
    })
}

impl Secure {
    pub(crate) fn new() -> Secure {
        let (server, client) = configs();
        let name = ServerName::try_from("sim").expect("a name");
        let mut client = ClientConnection::new(Arc::clone(client), name).expect("a session");
        client.set_buffer_limit(None);
        let terms = Terms { tls: Some(Arc::clone(server)), proxy: false };
        let front = Front::new(&terms).expect("a session").expect("it has something to do");
        Secure { client, front, room: Room::default() }
    }

    /// What the client has to send, after these bytes; they wait for the handshake.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(bytes).expect("there is no limit");
        self.unsent()
    }

    /// What the client has to send.
    pub(crate) fn unsent(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut records).expect("to memory");
        }
        records
    }

    /// The client says that it says nothing more; in the middle of a handshake that would be a violation.
    pub(crate) fn say_goodbye(&mut self) -> Vec<u8> {
        if !self.client.is_handshaking() {
            self.client.send_close_notify();
        }
        self.unsent()
    }

    /// The client reads.
    pub(crate) fn open(&mut self, mut records: &[u8], plain: &mut Vec<u8>) {
        while !records.is_empty() {
            self.client.read_tls(&mut records).expect("from memory");
            self.client.process_new_packets().expect("the server speaks good TLS");
            // Nothing there, or the end: it is the link's to tell.
            let _ = self.client.reader().read_to_end(plain);
        }
    }
}
