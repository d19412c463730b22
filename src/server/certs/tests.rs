//! Over files as openssl and others write them: what is good is taken, and what is not is named.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A folder with files, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("roomcast-certs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A self-signed certificate and its key, in PEM.
fn made(from: i32, until: i32) -> (String, String) {
    let mut wanted = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (wanted.not_before, wanted.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().unwrap();
    (wanted.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn good() -> (String, String) {
    made(2020, 4000)
}

#[test]
fn a_good_pair_is_taken() {
    let folder = Folder::new("good");
    let (cert, key) = good();
    let files = TlsFiles {
        cert: folder.write("cert", &format!("some words before\n{cert}{}", good().0)),
        key: folder.write("key", &key),
        client_ca: Some(folder.write("ca", &format!("{}{}", good().0, good().0))),
    };
    let certs = Certs::load(files).unwrap();
    assert_eq!(certs.current().alpn_protocols, [ALPN.to_vec()]);
}

#[test]
fn each_mistake_is_named_with_its_file_and_what_was_in_force_stays() {
    let folder = Folder::new("bad");
    let (cert, key) = good();
    let files = TlsFiles {
        cert: folder.write("cert", &cert),
        key: folder.write("key", &key),
        client_ca: Some(folder.write("ca", &cert)),
    };
    let certs = Certs::load(files.clone()).unwrap();
    let before = certs.current();
    let broken = cert.replacen('\n', "\nAAAA", 1);
    for (file, text, said) in [
        ("cert", "", "there is no certificate in it"),
        ("cert", &key, "there is no certificate in it"),
        ("cert", &broken, "cert"),
        ("cert", &good().0, "is not that of the first certificate"),
        ("cert", &made(2000, 2001).0, "the certificate has expired; renew it"),
        ("cert", &made(3999, 4000).0, "the certificate is not valid yet"),
        ("key", "", "there is no private key in it"),
        ("key", &cert, "there is no private key in it"),
        ("key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "key"),
        ("key", &good().1, "is not that of the first certificate"),
        ("ca", "", "there is no certificate in it"),
    ] {
        let path = folder.0.join(file);
        let kept = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        for error in [Certs::load(files.clone()).unwrap_err(), certs.reload().unwrap_err()] {
            let line = error.to_string();
            assert!(line.contains(said) && line.contains(path.to_str().unwrap()), "{file}: {line}");
            assert!(!line.contains('\n') && !line.contains("BEGIN"), "{line}");
        }
        assert!(Arc::ptr_eq(&before, &certs.current()), "{file}: {said}");
        std::fs::write(&path, kept).unwrap();
    }
    std::fs::remove_file(folder.0.join("key")).unwrap();
    let line = certs.reload().unwrap_err().to_string();
    assert!(line.starts_with("cannot read ") && line.contains("key"), "{line}");
}

#[test]
fn a_better_pair_counts_from_then_on() {
    let folder = Folder::new("reload");
    let (cert, key) = good();
    let files =
        TlsFiles { cert: folder.write("cert", &cert), key: folder.write("key", &key), client_ca: None };
    let certs = Certs::load(files).unwrap();
    let before = certs.current();
    let (cert, key) = good();
    folder.write("cert", &cert);
    folder.write("key", &key);
    certs.reload().unwrap();
    let after = certs.current();
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(Arc::ptr_eq(&before.ticketer, &after.ticketer), "who has a ticket is still spared the handshake");
}
