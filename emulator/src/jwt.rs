use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::Signer;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::crypto::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
};
use super::crypto::{any_supported_type, digest};
use super::rsa_key;

/// An RSA key that signs with RS256, and its public key.
pub(super) struct SigningKey {
    signer: Box<dyn Signer>,
    public: PublicKey,
}

impl SigningKey {
    /// Generates a key: see [`rsa_key::generate`].
    pub(super) fn generate() -> io::Result<Self> {
        Self::new(&rsa_key::generate()?)
    }

    pub(super) fn new(pair: &KeyPair) -> io::Result<Self> {
        let spki = pair.subject_public_key_info();
        let (_, spki) = SubjectPublicKeyInfo::from_der(&spki).map_err(io::Error::other)?;
        let mut public = PublicKey::read(&spki)?;
        public.alg = Some(RS256.to_owned());
        let der = PrivatePkcs8KeyDer::from(pair.serialize_der()).into();
        let signing = any_supported_type(&der).map_err(io::Error::other)?;
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
        let mut key = Self::read(parsed.public_key())?;
        key.kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &certificate));
        Ok(key)
    }

    /// The key ID is the SHA-1 of the modulus.
    fn read(key: &SubjectPublicKeyInfo<'_>) -> io::Result<Self> {
        let Ok(ParsedKey::RSA(key)) = key.parsed() else {
            return Err(io::Error::other("the key is no RSA key"));
        };
        let (n, e) = (without_zero(key.modulus), without_zero(key.exponent));
        Ok(Self {
            kty: "RSA".to_owned(),
            key_use: Some("sig".to_owned()),
            alg: None,
            kid: URL_SAFE_NO_PAD.encode(Sha1::digest(n)),
            x5t: None,
            x5c: Vec::new(),
            n: URL_SAFE_NO_PAD.encode(n),
            e: URL_SAFE_NO_PAD.encode(e),
        })
    }

    /// The modulus and the exponent.
    fn components(&self) -> Option<RsaPublicKeyComponents<Vec<u8>>> {
        let number = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        Some(RsaPublicKeyComponents {
            n: number(&self.n)?,
            e: number(&self.e)?,
        })
    }
}

/// Removes what DER puts before a number whose first bit is set.
fn without_zero(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
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
        self.header.alg == RS256 && self.has_signature(&RSA_PKCS1_2048_8192_SHA256, key)
    }

    /// Returns whether the algorithm is RS256 or PS256 and the signature matches `key`.
    pub(super) fn is_signed_by_certificate(&self, key: &PublicKey) -> bool {
        match self.header.alg.as_str() {
            RS256 => self.has_signature(&RSA_PKCS1_2048_8192_SHA256, key),
            PS256 => self.has_signature(&RSA_PSS_2048_8192_SHA256, key),
            _ => false,
        }
    }

    fn has_signature(&self, algorithm: &RsaParameters, key: &PublicKey) -> bool {
        let (message, signature) = (self.message.as_bytes(), &self.signature);
        key.components()
            .is_some_and(|key| key.verify(algorithm, message, signature).is_ok())
    }
}

pub(super) const RS256: &str = "RS256";
pub(super) const PS256: &str = "PS256";

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7518, section 6.3.1.1.
    #[test]
    fn numbers_of_a_public_key_have_no_leading_zero() {
        let key = SigningKey::new(&rsa_key::read(rsa_key::ISSUER).unwrap()).unwrap();
        let RsaPublicKeyComponents { n, e } = key.public().components().unwrap();
        assert_eq!((n.len(), e), (256, vec![1, 0, 1]));
    }

    #[test]
    fn signature_of_another_key_or_message_is_rejected() {
        let [key, other] = [rsa_key::ISSUER, rsa_key::ENTRA]
            .map(|key| SigningKey::new(&rsa_key::read(key).unwrap()).unwrap());
        let text = key.sign(&json!({ "alg": "RS256" }), &json!({ "sub": "orders" }));
        let jwt = |text: &str| Jwt::<Value>::parse(text).unwrap();
        assert!(jwt(&text).is_signed_by(key.public()));
        assert!(!jwt(&text).is_signed_by(other.public()));
        let changed = text.replacen(&URL_SAFE_NO_PAD.encode(r#"{"sub":"orders"}"#), "e30", 1);
        assert_ne!(changed, text);
        assert!(!jwt(&changed).is_signed_by(key.public()));
    }

    #[test]
    fn keys_that_are_generated_differ() {
        let ids: std::collections::HashSet<String> = (0..3)
            .map(|_| SigningKey::generate().unwrap().public().kid.clone())
            .collect();
        assert_eq!(ids.len(), 3);
    }
}
