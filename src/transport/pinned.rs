use std::fmt::Write as _;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use sha1::{Digest, Sha1};

/// Returns a configuration that trusts exactly one server certificate, whoever signed it: for a server on
/// the same machine whose certificate is known beforehand.
///
/// * `thumbprint`: the SHA-1 of the certificate in hexadecimal, in any case.
pub(super) fn tls_config(
    provider: Arc<CryptoProvider>,
    thumbprint: &str,
) -> Result<ClientConfig, rustls::Error> {
    let verifier = PinnedCertificate {
        thumbprint: thumbprint.to_ascii_lowercase(),
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts a certificate by its thumbprint; that the server has its key is verified as usual.
#[derive(Debug)]
struct PinnedCertificate {
    thumbprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if thumbprint(end_entity) == self.thumbprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn thumbprint(certificate: &CertificateDer<'_>) -> String {
    let mut thumbprint = String::new();
    for byte in Sha1::digest(certificate) {
        let _ = write!(thumbprint, "{byte:02x}");
    }
    thumbprint
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConnection, Error, ServerConfig, ServerConnection, SupportedProtocolVersion};

    use super::*;
    use crate::crypto;

    /// Connects to a server that has `key` and presents `certificate`.
    fn handshake(
        version: &'static SupportedProtocolVersion,
        certificate: &CertificateDer<'static>,
        key: &KeyPair,
        thumbprint: &str,
    ) -> Result<(), Error> {
        let provider = crypto::provider().unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let key = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.clone()], key));
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(key));
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        let client = Arc::new(tls_config(provider, thumbprint).unwrap());
        let mut client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                server.read_tls(&mut bytes).unwrap();
                server.process_new_packets()?;
            }
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(())
    }

    #[test]
    fn server_must_have_the_key_of_the_pinned_certificate() {
        let (own, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let certificate = CertificateParams::new([]).unwrap().self_signed(&own).unwrap();
        let certificate = certificate.der().clone();
        let thumbprint = thumbprint(&certificate).to_uppercase();
        for version in [&TLS12, &TLS13] {
            let connect = |key, thumbprint| handshake(version, &certificate, key, thumbprint);
            assert_eq!(connect(&own, &thumbprint), Ok(()));
            let unsigned = Error::InvalidCertificate(CertificateError::BadSignature);
            assert_eq!(connect(&other, &thumbprint), Err(unsigned), "{version:?}");
            let unknown = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
            assert_eq!(connect(&own, "00"), Err(unknown), "{version:?}");
        }
    }
}
