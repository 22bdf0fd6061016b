use std::error::Error as _;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::der::Certificate;
use super::*;
use crate::clock::SystemClock;
use crate::clock::test_clock::TestClock;
use crate::error::ErrorKind;

#[test]
fn every_pem_form_that_openssl_writes_is_read() {
    is_read("chain.pem", None, 3);
    is_read("pkcs1.pem", None, 1);
    is_read("pkcs1.pem", Some("a password that a file has no use for"), 1);
}

#[cfg(feature = "pkcs12")]
#[test]
fn every_pkcs12_form_that_openssl_writes_is_read() {
    is_read("aes.p12", Some(PASSWORD), 3);
    is_read("legacy.p12", Some(PASSWORD), 3);
    is_read("no-mac.p12", Some(PASSWORD), 3);
    is_read("empty-password.p12", None, 3);
    is_read("empty-password.p12", Some(""), 3);
}

#[test]
fn the_signature_matches_the_algorithm_in_the_header() {
    let certificate = parse(&fixture("chain.pem"), None).unwrap();
    let leaf = der(&blocks(&text("chain.pem"))[3]);
    // The first byte of a bit string counts the unused bits at its end.
    let public_key = &Certificate::parse(&leaf).unwrap().public_key[1..];
    let public_key = DecodingKey::from_rsa_der(public_key);
    for (how, algorithm) in [
        (Signature::Entra, Algorithm::PS256),
        (Signature::Adfs, Algorithm::RS256),
    ] {
        let jwt = certificate.sign(how, false, &json!({})).unwrap();
        let (message, signature) = jwt.expose().rsplit_once('.').unwrap();
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &public_key).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        verifier.verify(message.as_bytes(), &signature).unwrap();
        assert_eq!(jsonwebtoken::decode_header(jwt.expose()).unwrap().alg, algorithm);
    }
}

#[test]
fn pem_with_crlf_a_byte_order_mark_or_text_between_blocks_is_read() {
    let pem = text("chain.pem");
    for pem in [
        pem.replace('\n', "\r\n"),
        format!("\u{feff}{pem}"),
        pem.replace(
            "-----BEGIN",
            "Bag Attributes\n    friendlyName: app\nsubject=CN = app\n-----BEGIN",
        ),
    ] {
        parse(pem.as_bytes(), None).unwrap_or_else(|unusable| panic!("{unusable}: {pem}"));
    }
}

#[test]
fn unusable_pem_is_named_and_explained() {
    let blocks = blocks(&text("chain.pem"));
    let [root, key, _, leaf] = blocks.as_slice() else {
        panic!("{} blocks", blocks.len())
    };
    let small = "-----BEGIN RSA PRIVATE KEY-----\nMAMCAQA=\n-----END RSA PRIVATE KEY-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n";
    for (content, why) in [
        (key.clone(), "has no certificate;"),
        (leaf.clone(), "has no private key;"),
        (format!("{key}{root}"), "has no certificate for its private key"),
        (format!("{key}{leaf}{key}"), "has more than one private key"),
        (leaf.chars().take(200).collect(), "has a PEM block that is broken"),
        (leaf.replace("MII", "M!I"), "has a PEM block that is broken"),
        (format!("{small}{leaf}"), "has a broken RSA key"),
        (format!("{key}{no_certificate}"), "has a broken certificate"),
        (text("encrypted-pkcs8.pem"), "has an encrypted key in PEM"),
        (text("encrypted-pkcs1.pem"), "has an encrypted key in PEM"),
        (text("ec.pem"), "has a key of another kind than RSA"),
        (text("ec-pkcs8.pem"), "has a key of another kind than RSA"),
    ] {
        is_refused(content.as_bytes(), Some(PASSWORD), why);
    }
}

#[test]
fn content_that_is_neither_pem_nor_pkcs12_is_rejected() {
    is_refused(b"", None, "is neither PEM nor PKCS#12");
    is_refused(b"planted", None, "is neither PEM nor PKCS#12");
}

#[cfg(not(feature = "pkcs12"))]
#[test]
fn pkcs12_without_its_feature_names_the_feature_and_pem() {
    for name in ["aes.p12", "legacy.p12", "no-mac.p12", "empty-password.p12"] {
        for password in [None, Some(PASSWORD)] {
            let way_out = "is PKCS#12; enable the feature `pkcs12` of `entra-workload`, or convert it to PEM with `openssl";
            is_refused(&fixture(name), password, way_out);
        }
    }
}

#[cfg(feature = "pkcs12")]
#[test]
fn unusable_pkcs12_is_named_and_explained() {
    let cut = fixture("aes.p12").get(..1000).unwrap().to_vec();
    for (content, password, why) in [
        (cut, Some(PASSWORD), "is PKCS#12 that cannot be read"),
        (
            b"\x30\x03\x02\x01\x00".to_vec(),
            None,
            "is PKCS#12 that cannot be read",
        ),
        (fixture("aes.p12"), None, NO_PASSWORD),
        (fixture("no-mac.p12"), None, NO_PASSWORD),
        (fixture("aes.p12"), Some("planted-too"), WRONG_PASSWORD),
        (fixture("legacy.p12"), Some("planted-too"), WRONG_PASSWORD),
        (fixture("no-mac.p12"), Some("planted-too"), WRONG_PASSWORD),
    ] {
        is_refused(&content, password, why);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_may_appear_later() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("long");
    std::fs::write(&long, vec![b'a'; MAX_FILE + 1]).unwrap();
    let missing = folder.path().join("missing");
    for (path, why) in [
        (folder.path(), "is a directory"),
        (&long, "is longer than 256 KiB"),
        (&missing, "does not exist"),
    ] {
        let error = sign(&source(path, None), &request()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Assertion, "{error}");
        let start = format!("the client certificate {} {why}", path.display());
        assert!(error.to_string().starts_with(&start), "{error}");
    }
    let late = source(&missing, None);
    sign(&late, &request()).unwrap_err();
    std::fs::write(&missing, fixture("chain.pem")).unwrap();
    sign(&late, &request()).unwrap();
}

#[test]
fn an_assertion_has_the_documented_header_and_claims() {
    let source = in_memory("chain.pem", false);
    let first = sign(&source, &request()).unwrap();
    let (header, claims) = parts(&first);
    assert_eq!(
        header,
        json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": text("leaf.sha256") })
    );
    let at = |name: &str| claims[name].as_u64().unwrap();
    assert_eq!(claims["aud"], "https://login/tenant/oauth2/v2.0/token");
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!("client"), &json!("client"))
    );
    assert_eq!(
        (at("iat"), at("nbf"), at("exp")),
        (1_000_000, 1_000_000, 1_000_600)
    );
    assert_eq!(claims.as_object().unwrap().len(), 7);
    let jti = claims["jti"].as_str().unwrap();
    assert_eq!(jti.len(), 36);
    assert_ne!(
        parts(&sign(&source, &request()).unwrap()).1["jti"],
        jti,
        "a `jti` is used once"
    );
}

#[test]
fn ad_fs_gets_rs256_and_a_sha1_thumbprint() {
    let endpoint = http::Uri::from_static("https://fs.contoso.com/adfs/oauth2/token");
    let request = AssertionRequest::new("client", &endpoint, "audience");
    let jwt = sign(&in_memory("chain.pem", false), &request).unwrap();
    let (header, claims) = parts(&jwt);
    assert_eq!(
        header,
        json!({ "alg": "RS256", "typ": "JWT", "x5t": text("leaf.sha1") })
    );
    assert_eq!(claims["aud"], "https://fs.contoso.com/adfs/oauth2/token");
}

#[test]
fn the_chain_is_sent_from_leaf_to_root_and_only_if_enabled() {
    let (header, _) = parts(&sign(&in_memory("chain.pem", true), &request()).unwrap());
    let chain: Vec<Vec<u8>> = header["x5c"]
        .as_array()
        .unwrap()
        .iter()
        .map(|der| STANDARD.decode(der.as_str().unwrap()).unwrap())
        .collect();
    let blocks = blocks(&text("chain.pem"));
    let in_file: Vec<Vec<u8>> = blocks.iter().map(|block| der(block)).collect();
    assert_eq!(chain, [&*in_file[3], &*in_file[2], &*in_file[0]]);
}

#[test]
fn a_renewed_file_is_used_at_once_and_an_unusable_one_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.pem");
    let source = source(&path, None);
    let has_chain = |source: &Source| {
        let (header, _) = parts(&sign(source, &request()).unwrap());
        header["x5c"].as_array().unwrap().len()
    };
    std::fs::write(&path, fixture("pkcs1.pem")).unwrap();
    assert_eq!(has_chain(&source), 1);
    std::fs::write(&path, fixture("chain.pem")).unwrap();
    assert_eq!(has_chain(&source), 3);
    std::fs::write(&path, fixture("ec.pem")).unwrap();
    assert_eq!(has_chain(&source), 3, "the previous one is used");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(has_chain(&source), 3, "the previous one is used");
    std::fs::write(&path, fixture("pkcs1.pem")).unwrap();
    assert_eq!(has_chain(&source), 1);
}

/// A subscriber may block, or request a token itself.
#[test]
fn log_line_is_written_without_the_lock_when_the_file_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.pem");
    std::fs::write(&path, fixture("pkcs1.pem")).unwrap();
    let source = Arc::new(source(&path, None));
    source.or_last(source.load()).unwrap();
    std::fs::remove_file(&path).unwrap();

    let was_locked = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let (source, was_locked) = (Arc::clone(&source), Arc::clone(&was_locked));
        move || {
            was_locked.lock().unwrap().push(source.last.try_lock().is_err());
            io::sink()
        }
    };
    let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, || source.or_last(source.load()).unwrap());
    assert_eq!(*was_locked.lock().unwrap(), [false]);
}

#[cfg(feature = "diagnose")]
#[tokio::test(start_paused = true)]
async fn file_that_hangs_is_an_error_after_the_time_limit() {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let hang = move |_: &Path| {
        let _ = ended.lock().unwrap().recv();
        Ok(Vec::new())
    };
    let origin = CertificateOrigin::File(External::path("/hung.pem"), FileReader::new(Arc::new(hang)));
    let source = ClientCertificate::new(origin, None, false, Arc::new(SystemClock::new()));
    let mut assertion = std::pin::pin!(source.assertion(request()));
    assert!(futures::poll!(&mut assertion).is_pending());
    tokio::time::advance(Duration::from_millis(7999)).await;
    assert!(futures::poll!(&mut assertion).is_pending());
    tokio::time::advance(Duration::from_millis(1)).await;
    let error = assertion.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Assertion);
    let message =
        "the client certificate /hung.pem cannot be read in time; check the file system that holds it";
    assert_eq!(error.to_string(), message);
    drop(end);
}

#[test]
fn an_unchanged_file_is_parsed_once() {
    let source = in_memory("chain.pem", false);
    let first = source.or_last(source.load()).unwrap();
    assert!(Arc::ptr_eq(&first, &source.or_last(source.load()).unwrap()));
}

#[test]
fn an_origin_shows_its_path_and_never_its_bytes() {
    let file = CertificateOrigin::File(External::path("/app.pem"), FileReader::default());
    assert_eq!(format!("{file:?}"), r#"File("/app.pem")"#);
    let bytes = CertificateOrigin::Bytes(Arc::new(fixture("chain.pem").into()));
    assert_eq!(
        format!("{bytes:?} {bytes}"),
        "Bytes(..) the client certificate given to .certificate(..)"
    );
}

fn sign(source: &Source, request: &AssertionRequest) -> Result<Secret, Error> {
    source.sign(&*source.or_last(source.load())?, request)
}

#[track_caller]
fn is_read(name: &str, password: Option<&str>, chain: usize) {
    let password = password.map(Secret::from);
    let certificate = parse(&fixture(name), password.as_ref());
    let certificate = certificate.unwrap_or_else(|unusable| panic!("{name} {unusable}"));
    let jwt = certificate.sign(Signature::Entra, true, &json!({})).unwrap();
    let (header, _) = parts(&jwt);
    assert_eq!(header["x5t#S256"], text("leaf.sha256"), "{name}");
    assert_eq!(header["x5c"].as_array().unwrap().len(), chain, "{name}");
}

fn parse(bytes: &[u8], password: Option<&Secret>) -> Result<SigningCertificate, Unusable> {
    SigningCertificate::parse(bytes, password, &crypto::provider().unwrap())
}

#[track_caller]
fn is_refused(content: &[u8], password: Option<&str>, why: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app");
    std::fs::write(&path, content).unwrap();
    let error = sign(&source(&path, password), &request()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    let start = format!("the client certificate {} {why}", path.display());
    assert!(error.to_string().starts_with(&start), "{error}; expected: {why}");
    let cause = error.source().map(ToString::to_string);
    assert!(!format!("{error:?} {cause:?}").contains("planted"), "{error:?}");
}

fn source(path: &Path, password: Option<&str>) -> Source {
    Source {
        origin: CertificateOrigin::File(External::path(path), FileReader::default()),
        password: password.map(Secret::from),
        sends_chain: true,
        clock: Arc::new(SystemClock::new()),
        reading: Shared::default(),
        last: Mutex::new(None),
    }
}

fn in_memory(name: &str, sends_chain: bool) -> Source {
    let clock = TestClock::stopped();
    clock.set_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
    Source {
        origin: CertificateOrigin::Bytes(Arc::new(fixture(name).into())),
        password: Some(PASSWORD.into()),
        sends_chain,
        clock: Arc::new(clock),
        reading: Shared::default(),
        last: Mutex::new(None),
    }
}

fn request() -> AssertionRequest {
    AssertionRequest::new(
        "client",
        &http::Uri::from_static("https://login/tenant/oauth2/v2.0/token"),
        "audience",
    )
}

fn parts(jwt: &Secret) -> (Value, Value) {
    let mut parts = jwt
        .expose()
        .split('.')
        .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

#[expect(clippy::disallowed_methods, reason = "a small file, in a test")]
fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificate");
    std::fs::read(folder.join(name)).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

/// The PEM blocks of a text.
fn blocks(pem: &str) -> Vec<String> {
    let mut blocks: Vec<String> = pem.split_inclusive("-----\n").map(str::to_owned).collect();
    // Each block is cut in two: behind its first line, and behind its last.
    blocks.chunks_mut(2).map(|block| block.concat()).collect()
}

fn der(block: &str) -> Vec<u8> {
    let base64: String = block.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).unwrap()
}

const PASSWORD: &str = "planted-password";
#[cfg(feature = "pkcs12")]
const NO_PASSWORD: &str = "needs a password; set AZURE_CLIENT_CERTIFICATE_PASSWORD";
#[cfg(feature = "pkcs12")]
const WRONG_PASSWORD: &str = "does not open with the given password";
