use std::sync::Arc;

use http::Request;
use http::header::HOST;

use super::server::ServerName;

/// A host name of the public cloud that the emulator answers for, behind its [`ConnectProxy`].
///
/// [`ConnectProxy`]: super::connect_proxy::ConnectProxy
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicHost {
    /// The login host.
    Login,
    /// A vault and its name.
    Vault(String),
    /// A storage account and its name.
    BlobAccount(String),
}

impl PublicHost {
    /// Returns `None` for every host that is not emulated.
    pub(super) fn parse(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let label = |suffix: &str| {
            let name = host.strip_suffix(suffix)?;
            (!name.is_empty() && !name.contains('.')).then(|| name.to_owned())
        };
        if LOGIN_HOSTS.contains(&host.as_str()) {
            return Some(Self::Login);
        }
        label(VAULT)
            .map(Self::Vault)
            .or_else(|| label(BLOB).map(Self::BlobAccount))
    }

    /// The host that a request was sent to, if it is one of these.
    pub(super) fn of<T>(request: &Request<T>) -> Option<Self> {
        let host = request.headers().get(HOST)?.to_str().ok()?;
        Self::parse(host.rsplit_once(':').map_or(host, |(host, _)| host))
    }
}

/// Returns the URL of the login host as the client of a request sees it, with a slash at its end.
///
/// * `own`: the URL of the server.
pub(super) fn login_url<T>(request: &Request<T>, own: &str) -> String {
    match PublicHost::of(request) {
        None => own.to_owned(),
        Some(PublicHost::Login) => {
            let name = request.extensions().get::<ServerName>();
            let name = name
                .and_then(|name| name.0.clone())
                .unwrap_or_else(|| Arc::from(LOGIN));
            format!("https://{name}/")
        }
        Some(_) => format!("https://{LOGIN}/"),
    }
}

/// The names in the certificate of the servers.
pub(super) fn certificate_names() -> Vec<String> {
    let services = [VAULT, BLOB].map(|suffix| format!("*{suffix}"));
    let login = LOGIN_HOSTS.map(str::to_owned);
    login.into_iter().chain(services).collect()
}

const LOGIN: &str = "login.microsoftonline.com";

/// The names of the public cloud's login host. Source: its instance discovery document.
const LOGIN_HOSTS: [&str; 4] = [
    LOGIN,
    "login.windows.net",
    "login.microsoft.com",
    "sts.windows.net",
];

const VAULT: &str = ".vault.azure.net";
const BLOB: &str = ".blob.core.windows.net";
