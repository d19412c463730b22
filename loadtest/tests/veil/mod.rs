//! TLS in front of a server that has none: what comes in encrypted goes on in the clear, and back.
//!
//! Blocking, one thread for each connection; its certificate is made afresh for each test.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

/// Between two looks at the side that is silent; what a message waits at most.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) struct Veil {
    address: SocketAddr,
    certificate: PathBuf,
}

impl Veil {
    pub(crate) fn start(behind: SocketAddr) -> Veil {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key of its own");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a pair");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let certificate =
            std::env::temp_dir().join(format!("veil-{}-{}.pem", std::process::id(), address.port()));
        std::fs::write(&certificate, made.cert.pem()).expect("a file");
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
                // Either side hangs up in the end; that is no error.
                std::thread::spawn(move || pass_on(stream, session, TcpStream::connect(behind)?));
            }
        });
        Veil { address, certificate }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }
}

impl Drop for Veil {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate);
    }
}

/// Alternates between the two sides, waiting a moment for each.
fn pass_on(mut outer: TcpStream, mut session: ServerConnection, mut inner: TcpStream) -> io::Result<()> {
    outer.set_nodelay(true)?;
    inner.set_nodelay(true)?;
    outer.set_read_timeout(Some(LOOK))?;
    inner.set_read_timeout(Some(LOOK))?;
    let mut buffer = vec![0; 16 << 10];
    loop {
        while session.wants_write() {
            session.write_tls(&mut outer)?;
        }
        match session.read_tls(&mut outer) {
            Ok(0) => return Ok(()),
            Err(error) if !is_silence(&error) => return Err(error),
            _ => {}
        }
        session.process_new_packets().map_err(io::Error::other)?;
        loop {
            match session.reader().read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(got) => inner.write_all(&buffer[..got])?,
                Err(error) if is_silence(&error) => break,
                Err(error) => return Err(error),
            }
        }
        match inner.read(&mut buffer) {
            Ok(0) => {
                session.send_close_notify();
                session.write_tls(&mut outer)?;
                return Ok(());
            }
            Ok(got) => session.writer().write_all(&buffer[..got])?,
            Err(error) if !is_silence(&error) => return Err(error),
            Err(_) => {}
        }
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
