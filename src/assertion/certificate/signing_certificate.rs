use std::error::Error;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivatePkcs1KeyDer;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::sign::SigningKey;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::der::{self, Certificate};
use crate::token::Secret;

/// A certificate with its RSA key.
pub(super) struct SigningCertificate {
    /// In DER: the certificate itself, then the issuer of each, as far as the file has them.
    chain: Vec<Vec<u8>>,
    /// rustls signs, with the program's [`CryptoProvider`]. `jsonwebtoken` has no such provider for
    /// ring, and would have to be configured a second time, for the whole process.
    key: Arc<dyn SigningKey>,
}

impl SigningCertificate {
    /// Reads PEM blocks in any order, or PKCS#12.
    pub(super) fn parse(
        bytes: &[u8],
        password: Option<&Secret>,
        provider: &CryptoProvider,
    ) -> Result<Self, Unusable> {
        let Contents { keys, certificates } = if bytes.windows(PEM.len()).any(|window| window == PEM) {
            Contents::of_pem(bytes)?
        } else if bytes.first() == Some(&der::SEQUENCE) {
            // PKCS#12 is one DER sequence.
            Contents::of_pkcs12(bytes, password)?
        } else {
            return Err(Unusable::Neither);
        };
        let [key] = keys.as_slice() else {
            return Err(if keys.is_empty() {
                Unusable::NoKey
            } else {
                Unusable::SeveralKeys
            });
        };
        if certificates.is_empty() {
            return Err(Unusable::NoCertificate);
        }
        let key = provider
            .key_provider
            .load_private_key(PrivatePkcs1KeyDer::from(key.to_vec()).into())
            .map_err(|_| Unusable::BrokenKey)?;
        let public = key.public_key().ok_or(Unusable::BrokenKey)?;
        let public = der::public_key(&public).ok_or(Unusable::BrokenKey)?;
        let chain = chain_of(public, &certificates)?;
        Ok(Self { chain, key })
    }

    /// Returns a compact JWT with `claims`. Its header identifies this certificate.
    pub(super) fn sign(&self, how: Signature, sends_chain: bool, claims: &Value) -> Option<Secret> {
        let leaf = self.chain.first()?;
        let mut header = match how {
            Signature::Entra => json!({
                "alg": "PS256",
                "typ": "JWT",
                "x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(leaf)),
            }),
            Signature::Adfs => json!({
                "alg": "RS256",
                "typ": "JWT",
                "x5t": URL_SAFE_NO_PAD.encode(Sha1::digest(leaf)),
            }),
        };
        if sends_chain {
            let chain: Vec<String> = self.chain.iter().map(|der| STANDARD.encode(der)).collect();
            header.as_object_mut()?.insert("x5c".to_owned(), json!(chain));
        }
        let scheme = match how {
            Signature::Entra => SignatureScheme::RSA_PSS_SHA256,
            Signature::Adfs => SignatureScheme::RSA_PKCS1_SHA256,
        };
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signer = self.key.choose_scheme(&[scheme])?;
        let signature = signer.sign(message.as_bytes()).ok()?;
        Some(Secret::from(format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }
}

/// The signature algorithm and the kind of certificate thumbprint that the server supports.
///
/// Source: Microsoft identity platform, "Certificate credentials"; for AD FS, which supports
/// neither PSS nor SHA-256 thumbprints, the MSAL libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Entra,
    Adfs,
}

/// Why a file cannot be used to sign, as the predicate of a sentence. It contains nothing of the
/// file.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(
    not(feature = "pkcs12"),
    expect(dead_code, reason = "only PKCS#12 has a password")
)]
pub(super) enum Unusable {
    #[error("is neither PEM nor PKCS#12")]
    Neither,
    #[error("has a PEM block that is broken")]
    BrokenPem,
    #[error(
        "has an encrypted key in PEM, which is not supported; decrypt it, or use PKCS#12 with a password"
    )]
    EncryptedPemKey,
    #[error("does not open with the given password")]
    WrongPassword,
    #[error("needs a password; set AZURE_CLIENT_CERTIFICATE_PASSWORD, or give .password(..)")]
    NoPassword,
    #[error("is PKCS#12 that cannot be read; make it anew with AES-256 and SHA-256, or use PEM")]
    BrokenPkcs12(Box<dyn Error + Send + Sync>),
    #[cfg(not(feature = "pkcs12"))]
    #[error(
        "is PKCS#12; enable the feature `pkcs12` of `entra-workload`, or convert it to PEM with \
         `openssl pkcs12 -noenc -in app.pfx -out app.pem`"
    )]
    Pkcs12Disabled,
    #[error("has no private key; the certificate and its key belong into one file")]
    NoKey,
    #[error("has more than one private key")]
    SeveralKeys,
    #[error("has a key of another kind than RSA; only RSA keys can sign assertions")]
    NotRsa,
    #[error("has a broken RSA key, or one of an unsupported size; use 2048 to 4096 bits")]
    BrokenKey,
    #[error("has no certificate; the certificate and its key belong into one file")]
    NoCertificate,
    #[error("has a broken certificate")]
    BrokenCertificate,
    #[error("has no certificate for its private key")]
    NoMatch,
}

/// The contents of a file.
#[derive(Default)]
pub(super) struct Contents {
    /// `RSAPrivateKey` of PKCS#1, in DER.
    pub(super) keys: Vec<Zeroizing<Vec<u8>>>,
    /// In DER.
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Contents {
    fn of_pem(pem: &[u8]) -> Result<Self, Unusable> {
        // The first is the label of an encrypted PKCS#8 block, the second a header of the older
        // format. Neither is valid base64.
        let has = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
        if has(b"BEGIN ENCRYPTED ") || has(b"4,ENCRYPTED") {
            return Err(Unusable::EncryptedPemKey);
        }
        let mut contents = Self::default();
        for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = block.map_err(|_| Unusable::BrokenPem)?;
            match kind {
                SectionKind::Certificate => contents.certificates.push(der),
                SectionKind::RsaPrivateKey => contents.keys.push(Zeroizing::new(der)),
                SectionKind::PrivateKey => contents.keys.push(rsa_key(&Zeroizing::new(der))?),
                SectionKind::EcPrivateKey => return Err(Unusable::NotRsa),
                _ => {}
            }
        }
        Ok(contents)
    }

    #[cfg(not(feature = "pkcs12"))]
    fn of_pkcs12(_der: &[u8], _password: Option<&Secret>) -> Result<Self, Unusable> {
        Err(Unusable::Pkcs12Disabled)
    }
}

/// Extracts an RSA key from PKCS#8.
pub(super) fn rsa_key(pkcs8: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    let (algorithm, key) = der::private_key(pkcs8).ok_or(Unusable::BrokenKey)?;
    if algorithm != der::RSA_ENCRYPTION {
        return Err(Unusable::NotRsa);
    }
    Ok(Zeroizing::new(key.to_vec()))
}

/// The certificate of `public_key`, then the issuer of each.
fn chain_of(public_key: &[u8], certificates: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Unusable> {
    let certificates: Vec<Certificate<'_>> = certificates
        .iter()
        .map(|der| Certificate::parse(der))
        .collect::<Option<_>>()
        .ok_or(Unusable::BrokenCertificate)?;
    let leaf = certificates
        .iter()
        .find(|certificate| certificate.public_key == public_key)
        .ok_or(Unusable::NoMatch)?;
    let mut chain = vec![leaf];
    let issuer_of = |last: &Certificate<'_>, chain: &[&Certificate<'_>]| {
        let is_new = |certificate: &&Certificate<'_>| !chain.iter().any(|known| known.der == certificate.der);
        certificates
            .iter()
            .filter(|_| last.issuer != last.subject)
            .filter(is_new)
            .find(|certificate| certificate.subject == last.issuer)
    };
    while let Some(issuer) = chain.last().and_then(|last| issuer_of(last, &chain)) {
        chain.push(issuer);
    }
    Ok(chain
        .into_iter()
        .map(|certificate| certificate.der.to_vec())
        .collect())
}

const PEM: &[u8] = b"-----BEGIN ";
