use serde_json::{Value, json};

use super::access_token::token_issuer;
use crate::jwt::RS256;

/// Returns the OIDC discovery document of the version 2.0 endpoints.
///
/// * `login_url`: the login host as the client knows it, with a slash at its end.
/// * `tenant`: the tenant ID, or `common` or `organizations`, whose issuer is a template.
pub(super) fn version_2(login_url: &str, tenant: &str) -> Value {
    let issuer = format!("{login_url}{}/v2.0", issuer_tenant(tenant));
    document(login_url, tenant, &issuer, "oauth2/v2.0", "discovery/v2.0/keys")
}

/// Returns the OIDC discovery document of the version 1.0 endpoints, whose issuer the access tokens have.
pub(super) fn version_1(login_url: &str, tenant: &str) -> Value {
    let issuer = token_issuer(issuer_tenant(tenant));
    document(login_url, tenant, &issuer, "oauth2", "discovery/keys")
}

/// Returns the names of the cloud of a login host, which MSAL asks for before its first token request.
///
/// * `authority`: the query parameter `authorization_endpoint`.
pub(super) fn instance(login_url: &str, own_host: &str, authority: &str) -> Option<Value> {
    let url = url::Url::parse(authority).ok()?;
    let host = match (url.host_str()?, url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let aliases = if host == own_host {
        vec![own_host]
    } else if ALIASES.contains(&host.as_str()) {
        ALIASES.to_vec()
    } else {
        return None;
    };
    let tenant = url.path_segments()?.next()?.to_owned();
    Some(json!({
        "tenant_discovery_endpoint": format!("{login_url}{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": aliases.first(),
            "preferred_cache": aliases.get(1).or(aliases.first()),
            "aliases": aliases,
        }],
    }))
}

fn document(login_url: &str, tenant: &str, issuer: &str, oauth: &str, keys: &str) -> Value {
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{login_url}{tenant}/{oauth}/token"),
        "authorization_endpoint": format!("{login_url}{tenant}/{oauth}/authorize"),
        "jwks_uri": format!("{login_url}{tenant}/{keys}"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": [RS256],
        "tenant_region_scope": "WW",
        "cloud_instance_name": "microsoftonline.com",
    })
}

fn issuer_tenant(tenant: &str) -> &str {
    if is_several(tenant) { "{tenantid}" } else { tenant }
}

/// Whether a tenant stands for those of all users.
pub(super) fn is_several(tenant: &str) -> bool {
    ["common", "organizations"].contains(&tenant)
}

/// Source: the instance discovery document of the public cloud.
const ALIASES: [&str; 4] = [
    "login.microsoftonline.com",
    "login.windows.net",
    "login.microsoft.com",
    "sts.windows.net",
];
