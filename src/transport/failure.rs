//! The reason why a request got no complete response, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::CertificateError;

use super::name_resolution::ResolverSilent;
use crate::blocking::NO_THREAD;
use crate::code::Code;
use crate::env::{self, AZURE_KUBERNETES_CA_FILE, AZURE_KUBERNETES_SNI_NAME, AZURE_KUBERNETES_TOKEN_PROXY};
use crate::error::Error;

/// The other side of a connection.
pub(super) enum Peer<'a> {
    /// A host, by its name.
    Host(&'a str),
    /// The token proxy of the cluster, by its name in messages.
    TokenProxy(&'a str),
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) | Self::TokenProxy(name) => f.write_str(name),
        }
    }
}

/// Converts the error of a request. The message is the same each time; details are in the source,
/// without the URL.
pub(super) fn failure(peer: &Peer<'_>, error: reqwest::Error) -> Error {
    if causes(&error).any(|cause| io_error_kind(cause) == Some(NO_THREAD)) {
        let message = format!(
            "{peer} cannot be looked up because no thread can be started; raise the limit of processes of the container"
        );
        return Error::transport(message).with_source(error.without_url());
    }
    let (code, message) = if error.is_connect() {
        match peer {
            Peer::Host(host) => connect_failure(host, &error),
            Peer::TokenProxy(name) => token_proxy_connect_failure(name, &error),
        }
    } else if error.is_timeout() {
        (Code::NO_RESPONSE, format!("{peer} did not respond in time"))
    } else if error.is_body() || error.is_decode() {
        let message = format!("{peer} closed the connection before the response was complete");
        (Code::NO_RESPONSE, message)
    } else {
        let message = format!("{peer} closed the connection without a response");
        (Code::NO_RESPONSE, message)
    };
    Error::transport(message)
        .with_code(code)
        .with_source(error.without_url())
}

fn connect_failure(host: &str, error: &reqwest::Error) -> (Code, String) {
    let proxy = env::https_proxy_variable();
    if let Some(tunnel) = causes(error)
        .map(ToString::to_string)
        .find(|text| text.starts_with("tunnel error"))
    {
        let proxy = match proxy {
            Some(variable) => format!("the proxy in {variable}"),
            None => "the proxy of the system".to_owned(),
        };
        let reason = proxy_failure(&tunnel, error);
        let message = format!("{host} cannot be reached through {proxy}: {reason}");
        return (Code::PROXY_FAILED, message);
    }
    if let Some(error) = causes(error).find_map(tls_error) {
        return tls_failure(host, error);
    }
    match (Unreachable::from(error), proxy) {
        (Unreachable::Name, _) => (
            Code::UNKNOWN_HOST,
            format!("the name {host} cannot be resolved; check DNS and the authority host"),
        ),
        (Unreachable::ResolverSilent, _) => (
            Code::RESOLVER_SILENT,
            format!(
                "the name {host} was not resolved in time; allow egress to the DNS service, port 53 with UDP and TCP"
            ),
        ),
        (Unreachable::Refused, _) => (
            Code::CONNECTION_REFUSED,
            format!("{host} refused the connection; check egress rules and the authority host"),
        ),
        (Unreachable::NoRoute, _) => (
            Code::UNREACHABLE_HOST,
            format!("there is no route to {host}; check egress rules"),
        ),
        (Unreachable::Timeout, None) => (
            Code::UNREACHABLE_HOST,
            format!("{host} cannot be reached within 5 s; allow egress to it, or set HTTPS_PROXY"),
        ),
        (Unreachable::Timeout, Some(variable)) => (
            Code::UNREACHABLE_HOST,
            format!("{host} cannot be reached within 5 s; check egress rules and the proxy in {variable}"),
        ),
        (Unreachable::Other, _) => (
            Code::UNREACHABLE_HOST,
            format!("{host} cannot be reached; check egress rules"),
        ),
    }
}

/// * `name`: "the token proxy" and its host.
fn token_proxy_connect_failure(name: &str, error: &reqwest::Error) -> (Code, String) {
    if let Some(error) = causes(error).find_map(tls_error) {
        let rustls::Error::InvalidCertificate(reason) = error else {
            let message = format!("the TLS handshake with {name} failed; check {AZURE_KUBERNETES_SNI_NAME}");
            return (Code::TOKEN_PROXY_UNTRUSTED, message);
        };
        let message = match reason {
            // A renewed CA usually has the same name, so its old certificate seems to be the right one.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {name} is not signed by its CA; check {AZURE_KUBERNETES_CA_FILE}, and {AZURE_KUBERNETES_SNI_NAME}"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "the certificate of {name} is for another server name; check {AZURE_KUBERNETES_SNI_NAME}"
                )
            }
            _ => format!(
                "the certificate of {name} is invalid; check this machine's clock, then ask the cluster's administrator"
            ),
        };
        return (Code::TOKEN_PROXY_UNTRUSTED, message);
    }
    let message = match Unreachable::from(error) {
        Unreachable::Name => {
            format!("the name of {name} cannot be resolved; check DNS and {AZURE_KUBERNETES_TOKEN_PROXY}")
        }
        Unreachable::ResolverSilent => {
            let message = format!(
                "the name of {name} was not resolved in time; allow egress to the DNS service, port 53 with UDP and TCP"
            );
            return (Code::RESOLVER_SILENT, message);
        }
        Unreachable::Refused => {
            format!(
                "{name} refused the connection; check network policies and {AZURE_KUBERNETES_TOKEN_PROXY}"
            )
        }
        Unreachable::NoRoute => format!("there is no route to {name}; check network policies"),
        Unreachable::Timeout => format!("{name} cannot be reached in time; check network policies"),
        Unreachable::Other => format!("{name} cannot be reached; check network policies"),
    };
    (Code::TOKEN_PROXY_UNREACHABLE, message)
}

/// * `tunnel`: the text of `hyper_util`'s error, whose type is private.
fn proxy_failure(tunnel: &str, error: &reqwest::Error) -> String {
    if tunnel.contains("authorization required") {
        return "it requires a user name and password; add them to the URL in the variable".to_owned();
    }
    if tunnel.contains("unsuccessful") {
        return "it does not allow the connection; allow the host on the proxy, or add it to NO_PROXY"
            .to_owned();
    }
    let reason = if causes(error).find_map(tls_error).is_some() {
        "its certificate or TLS handshake is invalid"
    } else {
        match Unreachable::from(error) {
            Unreachable::Name => "its name cannot be resolved",
            Unreachable::ResolverSilent => "its name was not resolved in time",
            Unreachable::Refused => "it refused the connection",
            Unreachable::NoRoute => "there is no route to it",
            Unreachable::Timeout => "it did not respond in time",
            Unreachable::Other => "it closed the connection",
        }
    };
    format!("{reason}; correct the variable, or add the host to NO_PROXY")
}

fn tls_failure(host: &str, error: &rustls::Error) -> (Code, String) {
    let rustls::Error::InvalidCertificate(reason) = error else {
        let message = format!("the TLS handshake with {host} failed; check for a proxy that intercepts TLS");
        return (Code::UNTRUSTED_CERTIFICATE, message);
    };
    let code = match reason {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Code::CERTIFICATE_OF_ANOTHER_HOST
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Code::CLOCK_IS_WRONG,
        _ => Code::UNTRUSTED_CERTIFICATE,
    };
    let message = match reason {
        CertificateError::UnknownIssuer => format!(
            "the certificate of {host} is not signed by a trusted authority; if a proxy intercepts TLS, \
             trust its root certificate with SSL_CERT_FILE or HttpTransport::with_root_certificates"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the certificate of {host} is for another host; check the authority host, and for a proxy that \
             intercepts TLS"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired; check this machine's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet; check this machine's clock")
        }
        CertificateError::ApplicationVerificationFailure => {
            format!("the certificate of {host} is not the one that its host has announced")
        }
        _ => format!("the certificate of {host} is invalid; check for a proxy that intercepts TLS"),
    };
    (code, message)
}

/// Why there is no TCP connection.
#[derive(Clone, Copy)]
enum Unreachable {
    Name,
    ResolverSilent,
    Refused,
    NoRoute,
    Timeout,
    Other,
}

impl Unreachable {
    fn from(error: &reqwest::Error) -> Self {
        if causes(error).any(<dyn StdError>::is::<ResolverSilent>) {
            return Self::ResolverSilent;
        }
        // The type of `hyper_util` is private.
        if causes(error).any(|cause| cause.to_string() == "dns error") {
            return Self::Name;
        }
        match causes(error).find_map(io_error_kind) {
            Some(io::ErrorKind::ConnectionRefused) => Self::Refused,
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => Self::NoRoute,
            _ if error.is_timeout() => Self::Timeout,
            _ => Self::Other,
        }
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

fn io_error_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    error.downcast_ref().map(io::Error::kind)
}

/// `source()` of an I/O error omits the error that it wraps.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => tls_error(error.get_ref()?),
        None => error.downcast_ref(),
    }
}
