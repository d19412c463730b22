//! The certificate, the key and the issuers of clients' certificates: read from PEM files, checked, made into what TLS
//! needs, and read again when asked to.
//!
//! Speaks no TLS. What cannot be used is refused as a whole, so that what was in force stays so. No text here tells
//! anything of a key but the name of its file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};

use crate::config::plan::TlsFiles;
use crate::server::validity::{self, Validity};

/// What is spoken inside; who offers other protocols only is refused (RFC 7301 §3.2).
const ALPN: &[u8] = b"http/1.1";
/// So long before its end a certificate is warned of: who renews by hand needs days, who renews by a timer is late.
const WARNING_S: u64 = 14 * 24 * 3_600;

/// Why files cannot be used; shown as one line: which file, what is wrong, how to mend it.
#[derive(Debug)]
pub enum CertError {
    /// It cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is no PEM, or holds nothing of the kind that it should.
    Empty {
        /// The file.
        file: PathBuf,
        /// What is looked for in it.
        wanted: &'static str,
    },
    /// The certificate is not valid now.
    OutOfTime {
        /// The file.
        file: PathBuf,
        /// "expired", or "is not valid yet".
        how: &'static str,
    },
    /// The key is not that of the certificate.
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The library does not take it.
    Refused {
        /// The file.
        file: PathBuf,
        /// What the library says.
        cause: Error,
    },
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertError::Unreadable { file, cause } => {
                write!(f, "cannot read {}: {cause}; check its path and who may read it", file.display())
            }
            CertError::Empty { file, wanted } => {
                write!(f, "{}: there is no {wanted} in it; give a file in PEM", file.display())
            }
            CertError::OutOfTime { file, how } => {
                write!(f, "{}: the certificate {how}; renew it, or set the clock", file.display())
            }
            CertError::Mismatch { cert, key } => write!(
                f,
                "the key in {} is not that of the first certificate in {}; give the pair that was made together, \
                 with the server's certificate before its issuers'",
                key.display(),
                cert.display()
            ),
            CertError::Refused { file, cause } => write!(f, "{}: {cause}", file.display()),
        }
    }
}

impl std::error::Error for CertError {}

/// What TLS needs, in force until better is read.
pub struct Certs {
    files: TlsFiles,
    ticketer: Arc<dyn ProducesTickets>,
    current: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for Certs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certs").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certs {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn load(files: TlsFiles) -> Result<Arc<Certs>, CertError> {
        let ticketer = ticketer(&files)?;
        let current = RwLock::new(read(&files, &ticketer)?);
        Ok(Arc::new(Certs { files, ticketer, current }))
    }

    /// What new connections get.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// The first thing that is wrong with them; what was in force stays so.
    pub fn reload(&self) -> Result<(), CertError> {
        // A ticket spares its holder to show a certificate: with other issuers, old tickets must not count.
        let fresh = match self.files.client_ca {
            Some(_) => read(&self.files, &ticketer(&self.files)?)?,
            None => read(&self.files, &self.ticketer)?,
        };
        *self.current.write() = fresh;
        Ok(())
    }
}

/// Keys for tickets, new every six hours, so that who comes back is spared the half of a handshake that costs.
fn ticketer(files: &TlsFiles) -> Result<Arc<dyn ProducesTickets>, CertError> {
    aws_lc_rs::Ticketer::new().map_err(|cause| CertError::Refused { file: files.cert.clone(), cause })
}

fn read(files: &TlsFiles, ticketer: &Arc<dyn ProducesTickets>) -> Result<Arc<ServerConfig>, CertError> {
    let TlsFiles { cert, key, client_ca } = files;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let refused = |file: &Path| {
        let file = file.to_owned();
        move |cause| CertError::Refused { file, cause }
    };
    let pair = pair(cert, key, &provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(refused(cert))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for issuer in certificates(file)? {
                roots.add(issuer).map_err(refused(file))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| CertError::Refused {
                    file: file.clone(),
                    cause: Error::General(error.to_string()),
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = Arc::clone(ticketer);
    // Tickets do without memory of ours.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Certificate and key, which belong together and are valid.
fn pair(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, CertError> {
    let chain = certificates(cert)?;
    if let Some(validity) = chain.first().and_then(|first| validity::of(first)) {
        in_time(cert, validity)?;
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| pem_error(key, "private key", error))?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|cause| match cause {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            CertError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
        }
        // The library says of a key only that it is none, which is all that may be told.
        Error::General(_) => CertError::Refused { file: key.to_owned(), cause },
        cause => CertError::Refused { file: cert.to_owned(), cause },
    })
}

#[expect(clippy::disallowed_methods, reason = "server reads clocks")]
fn in_time(file: &Path, validity: Validity) -> Result<(), CertError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let wrong = |how| Err(CertError::OutOfTime { file: file.to_owned(), how });
    if now > validity.until {
        return wrong("has expired");
    }
    if now < validity.from {
        return wrong("is not valid yet");
    }
    if validity.until - now < WARNING_S {
        let days = (validity.until - now) / (24 * 3_600);
        tracing::warn!(file = %file.display(), days, "the certificate expires soon: renew it and send SIGHUP");
    }
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let wrong = |error| pem_error(file, "certificate", error);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(wrong(pem::Error::NoItemsFound)),
        chain => chain.map_err(wrong),
    }
}

fn pem_error(file: &Path, wanted: &'static str, error: pem::Error) -> CertError {
    match error {
        pem::Error::Io(cause) => CertError::Unreadable { file: file.to_owned(), cause },
        _ => CertError::Empty { file: file.to_owned(), wanted },
    }
}

#[cfg(test)]
mod tests;
