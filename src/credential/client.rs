use crate::authority::TenantId;
use crate::code::Code;
use crate::env::{AZURE_CLIENT_ID, External, is_client_id, is_secret};
use crate::error::Error;

/// An application and its tenant.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) client_id: String,
    pub(super) tenant_id: TenantId,
}

impl Client {
    pub(super) fn new(client_id: &External, tenant_id: &External) -> Result<Self, Error> {
        let (client_id, tenant_id) = (client_id.expose(), TenantId::parse(tenant_id.expose())?);
        // An AD FS server has names of its own.
        if !tenant_id.is_ad_fs() || has_white_space(client_id) || is_secret(client_id) {
            check_client_id(client_id)?;
        }
        Ok(Self {
            client_id: client_id.to_owned(),
            tenant_id,
        })
    }
}

/// Checks that `client_id` is a GUID or an application ID URI.
///
/// # Errors
///
/// `Configuration`, without the value: a client secret in place of the ID is a common mistake.
pub(super) fn check_client_id(client_id: &str) -> Result<(), Error> {
    let problem = if has_white_space(client_id) {
        "contains white space; check for a line break at the end of the value".to_owned()
    } else if is_client_id(client_id) {
        return Ok(());
    } else {
        format!(
            "is not a GUID; use the application (client) ID of the application or managed identity, such as {EXAMPLE}"
        )
    };
    let message = format!("invalid client ID: {AZURE_CLIENT_ID} or .client_id(..) {problem}");
    Err(Error::configuration(message).with_code(Code::INVALID_CLIENT_ID))
}

fn has_white_space(text: &str) -> bool {
    text.contains(|c: char| c.is_whitespace() || c.is_control())
}

const EXAMPLE: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Form;
    use crate::error::ErrorKind;

    fn new(client_id: &str, tenant_id: &str) -> Result<Client, Error> {
        Client::new(
            &External::new(Form::ClientId, client_id),
            &External::new(Form::Tenant, tenant_id),
        )
    }

    #[test]
    fn new_accepts_guids_and_application_id_uris() {
        for client_id in [
            EXAMPLE,
            "7A5FF21B-4F5B-4F5B-9E3E-2C0B5A1D9A10",
            "api://orders",
            "https://contoso.com/orders",
            "http://azure-cli-2016-08-05",
            "urn:contoso:orders",
        ] {
            let client = new(client_id, "contoso.com").unwrap();
            assert_eq!(client.client_id, client_id);
        }
    }

    #[test]
    fn new_rejects_other_client_ids_without_showing_them() {
        for (client_id, reason) in [
            ("planted", "is not a GUID"),
            // Keys of other services have this form.
            ("7a5ff21b4f5b4f5b9e3e2c0b5a1d9a10", "is not a GUID"),
            ("planted8Q~secret.of_an-application", "is not a GUID"),
            ("/subscriptions/planted/resourcegroups/g", "is not a GUID"),
            ("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a1", "is not a GUID"),
            ("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a1g", "is not a GUID"),
            ("7a5f-f21b4f5b-4f5b-9e3e-2c0b5a1d9a10", "is not a GUID"),
            ("{7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10}", "is not a GUID"),
            ("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10\n", "contains white space"),
            ("planted secret", "contains white space"),
            ("planted:8Q~secret", "is not a GUID"),
            ("ftp://planted/orders", "is not a GUID"),
            ("https://user:planted@contoso.com", "is not a GUID"),
            ("api://orders?planted", "is not a GUID"),
        ] {
            let error = new(client_id, "contoso.com").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{client_id}");
            let text = format!("{error} {error:?}");
            assert!(text.contains(reason), "{text}");
            assert!(!text.contains("planted"), "{text}");
        }
    }

    #[test]
    fn new_accepts_any_client_id_of_an_ad_fs_server() {
        assert!(new("orders", "ADFS").is_ok());
        assert!(new("orders\n", "adfs").is_err());
        assert!(new("planted8Q~secret", "adfs").is_err());
    }
}
