use std::env;
use std::path::Path;

use entra_workload_emulator::{Admin, Emulator, Pod};
use serde_json::{Map, Value};
use tokio::process::Command;

use super::{ca_bundle, java_truststore};
use crate::Failure;

/// The variables with which a program finds the emulator instead of Azure.
pub(super) struct Variables(Vec<(&'static str, String)>);

impl Variables {
    /// Proxy, certificates and services; no identity yet.
    pub(super) fn common(emulator: &Emulator, admin: &Admin) -> Result<Self, Failure> {
        let ca = emulator.ca_certificate_file();
        let bundle = ca_bundle::write(ca, emulator.ca_certificate_pem())?;
        let node = ca_bundle::write_for_node(ca, emulator.ca_certificate_pem())?;
        let java = java_options(emulator.proxy_url(), &java_truststore::write(&bundle)?);
        let (proxy, bundle) = (emulator.proxy_url().to_owned(), bundle.display().to_string());
        let own = "127.0.0.1,localhost".to_owned();
        Ok(Self(vec![
            ("HTTPS_PROXY", proxy.clone()),
            ("https_proxy", proxy),
            ("NO_PROXY", own.clone()),
            ("no_proxy", own),
            ("SSL_CERT_FILE", bundle.clone()),
            ("REQUESTS_CA_BUNDLE", bundle.clone()),
            ("CURL_CA_BUNDLE", bundle),
            ("JAVA_TOOL_OPTIONS", java),
            ("NODE_EXTRA_CA_CERTS", node.display().to_string()),
            (
                "AZURE_STORAGE_ACCOUNT_URL",
                "https://devaccount.blob.core.windows.net/".to_owned(),
            ),
            (
                "AZURE_KEYVAULT_URL",
                "https://emulator.vault.azure.net/".to_owned(),
            ),
            ("ENTRA_WORKLOAD_ADMIN_URL", admin.url().to_owned()),
        ]))
    }

    /// What the webhook sets, with the name of the real login host.
    pub(super) fn add_workload_identity(&mut self, pod: &Pod) {
        let variables = pod.variables().into_iter();
        self.0.extend(variables.map(|(name, value)| match name {
            "AZURE_AUTHORITY_HOST" => (name, "https://login.microsoftonline.com/".to_owned()),
            _ => (name, value),
        }));
    }

    pub(super) fn add_imds(&mut self, emulator: &Emulator) {
        self.0.push((
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            emulator.imds_url().to_owned(),
        ));
    }

    pub(super) fn add_app_service(&mut self, emulator: &Emulator) {
        self.0.extend([
            ("IDENTITY_ENDPOINT", emulator.app_service_url().to_owned()),
            ("IDENTITY_HEADER", emulator.app_service_header().to_owned()),
        ]);
    }

    /// Sets them, and removes what would lead to another identity or past the proxy.
    pub(super) fn apply(&self, command: &mut Command) {
        for name in REMOVED {
            command.env_remove(name);
        }
        command.envs(self.iter());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    pub(super) fn to_json(&self) -> Value {
        let fields = self.iter().map(|(name, value)| (name.to_owned(), value.into()));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// Java takes neither certificates nor a proxy from the variables of other programs, and has no option for the password of a
/// proxy. Of two options with the same name, the last one counts, so those that this process was given come first.
fn java_options(proxy: &str, truststore: &Path) -> String {
    let (host, port) = proxy
        .rsplit(['/', '@'])
        .next()
        .and_then(|address| address.split_once(':'))
        .unwrap_or_default();
    let quote = if truststore.to_string_lossy().contains(' ') {
        "\""
    } else {
        ""
    };
    let password = java_truststore::PASSWORD;
    let inherited = env::var("JAVA_TOOL_OPTIONS").unwrap_or_default();
    let own = format!(
        "{quote}-Djavax.net.ssl.trustStore={}{quote} -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword={password} \
         -Dhttps.proxyHost={host} -Dhttps.proxyPort={port}",
        truststore.display()
    );
    format!("{inherited} {own}").trim_start().to_owned()
}

/// Returns `host:port` of the proxy that this process was given.
pub(super) fn inherited_proxy() -> Option<String> {
    let proxy = ["HTTPS_PROXY", "https_proxy"]
        .iter()
        .find_map(|name| env::var(name).ok())?;
    let proxy = proxy.strip_prefix("http://").unwrap_or(&proxy);
    let address = proxy.split('/').next().unwrap_or_default();
    let is_plain = address.contains(':') && !address.contains('@');
    is_plain.then(|| address.to_owned())
}

/// The identities of Azure's SDKs that come before workload identity or a managed identity, and proxies.
const REMOVED: [&str; 26] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_KUBERNETES_CA_DATA",
    "AZURE_KUBERNETES_CA_FILE",
    "AZURE_KUBERNETES_SNI_NAME",
    "AZURE_KUBERNETES_TOKEN_PROXY",
    "AZURE_PASSWORD",
    "AZURE_REGIONAL_AUTHORITY_NAME",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
    "AZURE_TOKEN_CREDENTIALS",
    "AZURE_USERNAME",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
];
