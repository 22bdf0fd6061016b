use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as Pkcs12Error;
use pkcs8::PrivateKeyInfoRef;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use crate::token::Secret;

/// A certificate with its RSA key.
pub(super) struct SigningCertificate {
    /// In DER: the certificate itself, then each one's issuer, as far as they are known.
    chain: Vec<Vec<u8>>,
    key: EncodingKey,
}

impl SigningCertificate {
    /// Takes PEM blocks in any order, or PKCS#12.
    pub(super) fn parse(bytes: &[u8], password: Option<&Secret>) -> Result<Self, Unusable> {
        let Contents { keys, certificates } = if bytes.windows(PEM.len()).any(|window| window == PEM) {
            Contents::of_pem(bytes)?
        } else {
            Contents::of_pkcs12(bytes, password)?
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
        let chain = chain_of(key, &certificates)?;
        Ok(Self {
            chain,
            key: EncodingKey::from_rsa_der(key),
        })
    }

    /// A compact JWT with `claims`, that names this certificate in its header.
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
        let algorithm = match how {
            Signature::Entra => Algorithm::PS256,
            Signature::Adfs => Algorithm::RS256,
        };
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        // The provider is named: the process-wide one panics where the program's features chose two or none.
        let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &self.key).ok()?;
        let signature = signer.try_sign(message.as_bytes()).ok()?;
        Some(Secret::from(format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }
}

/// Which signatures the server knows, and by which thumbprint it finds the certificate.
///
/// Source: Microsoft identity platform, "Certificate credentials"; for AD FS, which knows neither PSS nor SHA-256
/// thumbprints, what the MSAL libraries send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Entra,
    Adfs,
}

/// Why a file is no certificate to sign with: the end of a sentence about the file. Nothing of its content is in it.
#[derive(Debug, thiserror::Error)]
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
    Pkcs12(Pkcs12Error),
    #[error("has no private key; the certificate and its key belong into one file")]
    NoKey,
    #[error("has more than one private key")]
    SeveralKeys,
    #[error("has a key that is no RSA key; assertions are signed with RSA only")]
    NotRsa,
    #[error("has a broken RSA key, or one that does not have 2048 to 8192 bits")]
    BrokenKey,
    #[error("has no certificate; the certificate and its key belong into one file")]
    NoCertificate,
    #[error("has a broken certificate")]
    BrokenCertificate,
    #[error("has no certificate for its private key")]
    NoMatch,
}

/// What is in a file.
#[derive(Default)]
struct Contents {
    /// `RSAPrivateKey` of PKCS#1, in DER.
    keys: Vec<Zeroizing<Vec<u8>>>,
    /// In DER.
    certificates: Vec<Vec<u8>>,
}

impl Contents {
    fn of_pem(pem: &[u8]) -> Result<Self, Unusable> {
        // One stands in the first line of a PKCS#8 block, the other in a header of the older kind; neither can be base64.
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

    fn of_pkcs12(der: &[u8], password: Option<&Secret>) -> Result<Self, Unusable> {
        // A SEQUENCE, like all of PKCS#12 and nothing that is text.
        if der.first() != Some(&0x30) {
            return Err(Unusable::Neither);
        }
        let archive =
            Pkcs12Archive::from_pkcs12(der, password.map_or("", Secret::expose)).map_err(|error| {
                // A wrong password shows in the MAC, or, in a file without one, in what comes out of the decryption.
                match error {
                    Pkcs12Error::MacError(_) | Pkcs12Error::Pkcs5Error(_) | Pkcs12Error::UnpadError
                        if password.is_none() =>
                    {
                        Unusable::NoPassword
                    }
                    Pkcs12Error::MacError(_) | Pkcs12Error::Pkcs5Error(_) | Pkcs12Error::UnpadError => {
                        Unusable::WrongPassword
                    }
                    error => Unusable::Pkcs12(error),
                }
            })?;
        Ok(Self {
            keys: archive
                .keys
                .iter()
                .map(|bag| rsa_key(bag.key.as_der()))
                .collect::<Result<_, _>>()?,
            certificates: archive
                .certs
                .iter()
                .map(|bag| bag.cert.as_der().to_vec())
                .collect(),
        })
    }
}

/// Takes an RSA key out of PKCS#8.
fn rsa_key(pkcs8: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    let key = PrivateKeyInfoRef::try_from(pkcs8).map_err(|_| Unusable::BrokenKey)?;
    if key.algorithm.oid != RSA_ENCRYPTION {
        return Err(Unusable::NotRsa);
    }
    Ok(Zeroizing::new(key.private_key.as_bytes().to_vec()))
}

/// The certificate of `key`, then each one's issuer.
fn chain_of(key: &[u8], certificates: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Unusable> {
    let public = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_private_key)(key)
        .map_err(|_| Unusable::BrokenKey)?;
    let certificates: Vec<X509Certificate<'_>> = certificates
        .iter()
        .map(|der| parse_x509_certificate(der).map(|(_, certificate)| certificate))
        .collect::<Result<_, _>>()
        .map_err(|_| Unusable::BrokenCertificate)?;
    let is_of_key = |certificate: &&X509Certificate<'_>| {
        let der = &certificate.public_key().subject_public_key.data;
        (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).is_ok_and(|its| its == public)
    };
    let leaf = certificates.iter().find(is_of_key).ok_or(Unusable::NoMatch)?;
    let mut chain = vec![leaf];
    let issuer_of = |last: &X509Certificate<'_>, chain: &[&X509Certificate<'_>]| {
        let is_new = |certificate: &&X509Certificate<'_>| {
            !chain.iter().any(|known| known.as_raw() == certificate.as_raw())
        };
        let issuer = last.issuer().as_raw();
        certificates
            .iter()
            .filter(|_| issuer != last.subject().as_raw())
            .filter(is_new)
            .find(|certificate| certificate.subject().as_raw() == issuer)
    };
    while let Some(issuer) = chain.last().and_then(|last| issuer_of(last, &chain)) {
        chain.push(issuer);
    }
    Ok(chain
        .into_iter()
        .map(|certificate| certificate.as_raw().to_vec())
        .collect())
}

const PEM: &[u8] = b"-----BEGIN ";

/// `rsaEncryption`, RFC 8017, appendix A.1.
const RSA_ENCRYPTION: pkcs8::ObjectIdentifier = pkcs8::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
