use super::Credential;
use crate::assertion::jwt;
use crate::error::{Error, ErrorKind};
use crate::guid::is_guid;
use crate::sdk::Parameters;
use crate::token::{AccessToken, TokenRequest};

/// Gets the token for a tenant that the credential refused, if it is its own: a service names it by its
/// GUID, whereas the credential may know it by a domain name, or not at all.
///
/// * `refusal`: the error for any other tenant.
pub(crate) async fn own_tenant_token(
    credential: &dyn Credential,
    request: &TokenRequest<'_>,
    parameters: &Parameters<'_>,
    refusal: Error,
) -> Result<AccessToken, Error> {
    let tenant_id = request
        .requested_tenant_id()
        .filter(|tenant_id| is_guid(tenant_id));
    let Some(tenant_id) = tenant_id.filter(|_| parameters.is_tenant_discovered) else {
        return Err(refusal);
    };
    if refusal.kind() != ErrorKind::Configuration {
        return Err(refusal);
    }
    let token = credential.token_for(&request.without_tenant_id()).await?;
    if jwt::is_of_tenant(token.secret(), tenant_id) {
        Ok(token)
    } else {
        Err(refusal)
    }
}
