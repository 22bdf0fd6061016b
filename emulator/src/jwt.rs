use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::Signer;
use x509_parser::parse_x509_certificate;

/// An RSA key that signs with RS256, and its public key.
///
/// It signs through rustls, which keeps the parsed key: `jsonwebtoken` parses and checks it for each token, which takes
/// longer than the signature.
///
/// The crypto provider is named at each use: the process default depends on the enabled features of
/// `jsonwebtoken` in the whole program, and panics if two providers are enabled.
pub(super) struct SigningKey {
    signer: Box<dyn Signer>,
    public: PublicKey,
}

impl SigningKey {
    /// Generates a 2048-bit key. This takes up to a second; do not call it on an async thread.
    pub(super) fn generate() -> io::Result<Self> {
        Self::new(&generate_pair()?)
    }

    pub(super) fn new(pair: &KeyPair) -> io::Result<Self> {
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).map_err(io::Error::other)?;
        let (n, e) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_private_key)(key.as_bytes())
            .map_err(io::Error::other)?;
        let public = PublicKey {
            kty: "RSA".to_owned(),
            key_use: Some("sig".to_owned()),
            alg: Some(RS256.to_owned()),
            kid: URL_SAFE_NO_PAD.encode(Sha1::digest(&n)),
            x5t: None,
            x5c: Vec::new(),
            n: URL_SAFE_NO_PAD.encode(n),
            e: URL_SAFE_NO_PAD.encode(e),
        };
        let der = PrivatePkcs8KeyDer::from(pair.serialize_der()).into();
        let signing = aws_lc_rs::sign::any_supported_type(&der).map_err(io::Error::other)?;
        let signer = signing.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signer = signer.ok_or_else(|| io::Error::other("the key is no RSA key"))?;
        Ok(Self { signer, public })
    }

    /// Creates a key with a certificate, named by its thumbprint, as Entra does.
    pub(super) fn with_certificate(pair: &KeyPair) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(vec![1].into());
        params
            .distinguished_name
            .push(DnType::CommonName, "accounts.accesscontrol.windows.net");
        let certificate = params.self_signed(pair).map_err(io::Error::other)?;
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha1::digest(certificate.der()));
        let mut key = Self::new(pair)?;
        key.public.kid.clone_from(&thumbprint);
        key.public.x5t = Some(thumbprint);
        key.public.x5c = vec![STANDARD.encode(certificate.der())];
        Ok(key)
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns a compact JWT. The header is used unchanged, so that tests can make it inconsistent.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        // Signing with a generated key does not fail. If it did, the signature would be invalid.
        let signature = self.signer.sign(message.as_bytes()).unwrap_or_default();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Generates a 2048-bit RSA key. This takes up to a second; do not call it on an async thread.
pub(super) fn generate_pair() -> io::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(io::Error::other)
}

/// Reads an RSA key.
///
/// * `der`: PKCS #8.
pub(super) fn read_pair(der: &[u8]) -> io::Result<KeyPair> {
    KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_RSA_SHA256).map_err(io::Error::other)
}

/// One RSA key of a JWK set.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct PublicKey {
    kty: String,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    key_use: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    pub(super) kid: String,
    /// The SHA-1 thumbprint of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    x5t: Option<String>,
    /// The certificate, in base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    x5c: Vec<String>,
    n: String,
    e: String,
}

impl PublicKey {
    /// Reads the RSA key of the first certificate in `pem`. The key ID is the SHA-256 thumbprint of
    /// the certificate.
    pub(super) fn from_certificate(pem: &[u8]) -> io::Result<Self> {
        let certificate = CertificateDer::from_pem_slice(pem).map_err(io::Error::other)?;
        let (_, parsed) = parse_x509_certificate(&certificate).map_err(io::Error::other)?;
        let utils = &DEFAULT_PROVIDER.key_utils;
        let public_key = &parsed.public_key().subject_public_key.data;
        let (n, e) = (utils.rsa_pub_components_from_public_key)(public_key).map_err(io::Error::other)?;
        let thumbprint =
            (utils.compute_digest)(&certificate, ThumbprintHash::SHA256).map_err(io::Error::other)?;
        Ok(Self {
            kty: "RSA".to_owned(),
            key_use: Some("sig".to_owned()),
            alg: None,
            kid: URL_SAFE_NO_PAD.encode(thumbprint),
            x5t: None,
            x5c: Vec::new(),
            n: URL_SAFE_NO_PAD.encode(n),
            e: URL_SAFE_NO_PAD.encode(e),
        })
    }
}

/// Returns a JWK set with these keys.
pub(super) fn key_set<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Value {
    json!({ "keys": keys.into_iter().collect::<Vec<_>>() })
}

/// Parses a JWK set, ignoring keys that are not RSA keys. Returns `None` for other documents.
pub(super) fn parse_key_set(json: &[u8]) -> Option<Vec<PublicKey>> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<Value>,
    }
    let set: KeySet = serde_json::from_slice(json).ok()?;
    let rsa = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<PublicKey>(key).ok());
    Some(rsa.filter(|key| key.kty == "RSA").collect())
}

/// A parsed JWT with an unverified signature.
pub(super) struct Jwt<C> {
    pub(super) header: Header,
    pub(super) claims: C,
    message: String,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: String,
    /// The SHA-256 thumbprint of the signing certificate.
    #[serde(default, rename = "x5t#S256")]
    pub(super) x5t_s256: String,
}

impl<C: DeserializeOwned> Jwt<C> {
    /// Returns `None` if `text` is not three parts of unpadded base64url, the first two with JSON.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        Some(Self {
            header: serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?,
            claims: serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?,
            message: message.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Returns whether the algorithm is RS256 and the signature matches `key`.
    pub(super) fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.header.alg == RS256 && self.has_signature(Algorithm::RS256, key)
    }

    /// Returns whether the algorithm is RS256 or PS256 and the signature matches `key`.
    pub(super) fn is_signed_by_certificate(&self, key: &PublicKey) -> bool {
        match self.header.alg.as_str() {
            RS256 => self.has_signature(Algorithm::RS256, key),
            PS256 => self.has_signature(Algorithm::PS256, key),
            _ => false,
        }
    }

    fn has_signature(&self, algorithm: Algorithm, key: &PublicKey) -> bool {
        DecodingKey::from_rsa_components(&key.n, &key.e)
            .and_then(|key| (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key))
            .is_ok_and(|verifier| verifier.verify(self.message.as_bytes(), &self.signature).is_ok())
    }
}

pub(super) const RS256: &str = "RS256";
pub(super) const PS256: &str = "PS256";
