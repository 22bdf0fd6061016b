use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use sha1::{Digest, Sha1};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::server::ResolvesServerCert;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::crypto;
use super::public_host::certificate_names;

/// A certificate authority for the lifetime of the emulator.
///
/// A server certificate is a separate leaf: rustls rejects a CA certificate as a server
/// certificate (`CaUsedAsEndEntity`).
pub(super) struct CertificateAuthority {
    pem: String,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl CertificateAuthority {
    pub(super) fn generate() -> io::Result<Self> {
        let authority = authority().map_err(io::Error::other)?;
        Ok(Self {
            pem: authority.pem(),
            authority,
        })
    }

    /// The CA certificate as one PEM block.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a server certificate for these DNS names and addresses.
    pub(super) fn issue(&self, names: &[&str]) -> io::Result<Arc<CertifiedKey>> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = server_params(names)
            .and_then(|params| params.signed_by(&key, &self.authority))
            .map_err(io::Error::other)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = crypto::any_supported_type(&key).map_err(io::Error::other)?;
        Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
    }

    /// The configuration of a server on loopback.
    pub(super) fn server_config(&self) -> io::Result<Arc<ServerConfig>> {
        let public = certificate_names();
        let mut names = vec!["127.0.0.1", "::1", "localhost"];
        names.extend(public.iter().map(String::as_str));
        let certificate = self.issue(&names)?;
        server_config_with(Arc::new(SingleCertAndKey::from(certificate)))
    }
}

/// The configuration of a server that chooses its certificate for each handshake.
pub(super) fn server_config_with(certificates: Arc<dyn ResolvesServerCert>) -> io::Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Returns the SHA-1 of a certificate in hexadecimal.
pub(super) fn thumbprint(certificate: &CertifiedKey) -> String {
    let certificate = certificate
        .cert
        .first()
        .map_or(&[][..], |certificate| certificate.as_ref());
    let mut text = String::new();
    for byte in Sha1::digest(certificate) {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("entra-workload emulator CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn server_params(names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = name("entra-workload emulator");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn name(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
