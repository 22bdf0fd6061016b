use url::Url;

use crate::authority::TenantId;
use crate::code::Code;
use crate::env::AZURE_CLIENT_ID;
use crate::error::Error;

/// An application and its tenant.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) client_id: String,
    pub(super) tenant_id: TenantId,
}

impl Client {
    pub(super) fn new(client_id: String, tenant_id: &str) -> Result<Self, Error> {
        let tenant_id = TenantId::parse(tenant_id)?;
        // No message shows the value: a client secret in place of the ID is a common mistake.
        if client_id.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::configuration(format!(
                "invalid client ID: {AZURE_CLIENT_ID} or .client_id(..) contains white space; \
                 check for a line break at the end of the value"
            ))
            .with_code(Code::INVALID_CLIENT_ID));
        }
        if !is_guid(&client_id) && !is_application_id_uri(&client_id) && !tenant_id.is_ad_fs() {
            return Err(Error::configuration(format!(
                "invalid client ID: {AZURE_CLIENT_ID} or .client_id(..) is not a GUID; use the application (client) ID \
                 of the application or managed identity, such as {EXAMPLE}"
            ))
            .with_code(Code::INVALID_CLIENT_ID));
        }
        Ok(Self { client_id, tenant_id })
    }
}

/// Whether `text` is a GUID, with or without hyphens.
pub(super) fn is_guid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_hex && matches!(lengths[..], [8, 4, 4, 4, 12] | [32])
}

/// Entra accepts the application ID URI, such as `api://orders`, in place of the client ID.
///
/// Source: Azure CLI, `az login --service-principal --username http://azure-cli-…`.
fn is_application_id_uri(text: &str) -> bool {
    Url::parse(text).is_ok()
}

const EXAMPLE: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn new_accepts_guids_and_application_id_uris() {
        for client_id in [
            EXAMPLE,
            "7A5FF21B-4F5B-4F5B-9E3E-2C0B5A1D9A10",
            "7a5ff21b4f5b4f5b9e3e2c0b5a1d9a10",
            "api://orders",
            "https://contoso.com/orders",
            "http://azure-cli-2016-08-05",
            "urn:contoso:orders",
        ] {
            let client = Client::new(client_id.to_owned(), "contoso.com").unwrap();
            assert_eq!(client.client_id, client_id);
        }
    }

    #[test]
    fn new_rejects_other_client_ids_without_showing_them() {
        for (client_id, reason) in [
            ("planted", "is not a GUID"),
            ("planted8Q~secret.of_an-application", "is not a GUID"),
            ("/subscriptions/planted/resourcegroups/g", "is not a GUID"),
            ("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a1", "is not a GUID"),
            ("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a1g", "is not a GUID"),
            ("7a5f-f21b4f5b-4f5b-9e3e-2c0b5a1d9a10", "is not a GUID"),
            ("{7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10}", "is not a GUID"),
            ("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10\n", "contains white space"),
            ("planted secret", "contains white space"),
        ] {
            let error = Client::new(client_id.to_owned(), "contoso.com").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{client_id}");
            let text = format!("{error} {error:?}");
            assert!(text.contains(reason), "{text}");
            assert!(!text.contains("planted"), "{text}");
        }
    }

    #[test]
    fn new_accepts_any_client_id_of_an_ad_fs_server() {
        assert!(Client::new("orders".to_owned(), "ADFS").is_ok());
        assert!(Client::new("orders\n".to_owned(), "adfs").is_err());
    }
}
