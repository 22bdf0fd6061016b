use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode, Uri};
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

use super::ManagedIdentityId;
use super::arc;
use super::check_client_id;
use super::reason::Reason;
use crate::clock::Clock;
use crate::env::{Environment, External, ManagedIdentityVariables};
use crate::error::{Error, ErrorKind};
use crate::exchange::Grant;
use crate::token::Secret;
use crate::transport::{HttpTransport, Transport, retry_after};

/// A host with a managed identity endpoint of its own that `azure_identity` does not support.
///
/// Source: the Azure SDKs for Go, Python and JavaScript, and the pages on managed identities of each host.
#[derive(Debug)]
pub(super) enum Host {
    AzureArc {
        endpoint: Uri,
        /// Where the agent writes the secret that it asks for.
        key_folder: PathBuf,
    },
    CloudShell {
        endpoint: Uri,
    },
    AzureMl {
        endpoint: Uri,
        secret: Secret,
        default_client_id: Option<External>,
    },
    ServiceFabric {
        endpoint: Uri,
        secret: Secret,
        /// Of the certificate of the endpoint.
        thumbprint: String,
    },
}

impl Host {
    /// Returns the host of this process; `None` if `azure_identity` supports it.
    ///
    /// * `key_folder`: replaces the folder of Azure Arc's agent.
    pub(super) fn detect(
        environment: &Environment,
        key_folder: Option<PathBuf>,
    ) -> Result<Option<Self>, Error> {
        let ManagedIdentityVariables {
            identity_endpoint,
            identity_header,
            server_thumbprint,
            imds_endpoint,
            msi_endpoint,
            msi_secret,
            default_client_id,
        } = environment.managed_identity()?;
        Ok(match (identity_endpoint, msi_endpoint, msi_secret) {
            (Some(endpoint), ..) if identity_header.is_some() => {
                let endpoint = uri("IDENTITY_ENDPOINT", &endpoint)?;
                // Without the thumbprint it is App Service, Functions or Container Apps.
                identity_header
                    .zip(server_thumbprint)
                    .map(|(secret, thumbprint)| {
                        check_thumbprint(&thumbprint)?;
                        Ok::<_, Error>(Self::ServiceFabric {
                            endpoint: https(endpoint)?,
                            secret,
                            thumbprint: thumbprint.expose().to_owned(),
                        })
                    })
                    .transpose()?
            }
            (Some(endpoint), ..) if imds_endpoint => Some(Self::AzureArc {
                endpoint: uri("IDENTITY_ENDPOINT", &endpoint)?,
                key_folder: key_folder.unwrap_or_else(|| arc::key_folder(environment)),
            }),
            (None, Some(endpoint), Some(secret)) => Some(Self::AzureMl {
                endpoint: uri("MSI_ENDPOINT", &endpoint)?,
                secret,
                default_client_id,
            }),
            (None, Some(endpoint), None) => Some(Self::CloudShell {
                endpoint: uri("MSI_ENDPOINT", &endpoint)?,
            }),
            _ => None,
        })
    }

    /// Returns a transport that reaches the endpoint, which is on the same machine, without a proxy.
    pub(super) fn transport(host: Option<&Self>) -> HttpTransport {
        match host {
            Some(Self::ServiceFabric { thumbprint, .. }) => {
                HttpTransport::with_pinned_certificate(thumbprint)
            }
            _ => HttpTransport::new().without_proxy(),
        }
    }

    /// Requests a token.
    pub(super) async fn token(
        &self,
        scope: &str,
        id: Option<&ManagedIdentityId>,
        transport: &dyn Transport,
        clock: &dyn Clock,
    ) -> Result<Grant, Error> {
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        let requested_at = clock.now();
        let mut request = self.request(resource, id)?;
        let mut secret = match self {
            Self::AzureMl { secret, .. } | Self::ServiceFabric { secret, .. } => secret.clone(),
            _ => Secret::from(""),
        };
        let mut response = self.send(request.clone(), transport).await?;
        if let Self::AzureArc { key_folder, .. } = self
            && response.status() == StatusCode::UNAUTHORIZED
        {
            let challenge = response.headers().get(WWW_AUTHENTICATE);
            secret = arc::answer(challenge, key_folder).await?;
            arc::authenticate(&mut request, &secret)?;
            response = self.send(request, transport).await?;
        }
        if response.status() == StatusCode::BAD_REQUEST {
            return Err(Reason::read(response.body(), &secret).rejected());
        }
        if response.status() != StatusCode::OK {
            let status = response.status();
            let message = format!(
                "{} rejected the request (status {})",
                self.name(),
                status.as_u16()
            );
            let retry_after = retry_after::parse(response.headers(), clock.now().system_time);
            return Err(Error::new(ErrorKind::Rejected, message)
                .with_status(status)
                .with_retry_after(retry_after));
        }
        let unusable = || Error::protocol(format!("the response of {} has no usable token", self.name()));
        let (token, lifetime) = read_token(response.body(), requested_at.system_time).ok_or_else(unusable)?;
        Ok(Grant::new(token, requested_at, lifetime))
    }

    async fn send(
        &self,
        request: Request<Bytes>,
        transport: &dyn Transport,
    ) -> Result<Response<Bytes>, Error> {
        tokio::time::timeout(REQUEST_TIMEOUT, transport.send(request))
            .await
            .unwrap_or_else(|_| {
                Err(Error::transport(format!(
                    "{} did not respond in time",
                    self.name()
                )))
            })
    }

    fn request(&self, resource: &str, id: Option<&ManagedIdentityId>) -> Result<Request<Bytes>, Error> {
        let only_system_assigned = || {
            Error::configuration(format!(
                "{} has a system-assigned identity only; remove AZURE_CLIENT_ID, or the ID of the managed identity",
                self.name()
            ))
        };
        let metadata = (
            HeaderName::from_static("metadata"),
            HeaderValue::from_static("true"),
        );
        match self {
            Self::AzureArc { endpoint, .. } => match id {
                None => self.get(
                    endpoint,
                    &[("api-version", "2020-06-01"), ("resource", resource)],
                    metadata,
                ),
                Some(_) => Err(only_system_assigned()),
            },
            Self::CloudShell { endpoint } => {
                if id.is_some() {
                    return Err(only_system_assigned());
                }
                let form = Serializer::new(String::new())
                    .append_pair("resource", resource)
                    .finish();
                Request::builder()
                    .method(Method::POST)
                    .uri(endpoint.clone())
                    .header(metadata.0, metadata.1)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Bytes::from(form))
                    .map_err(|error| self.invalid(error))
            }
            Self::AzureMl {
                endpoint,
                secret,
                default_client_id,
            } => {
                let client_id = match id {
                    Some(ManagedIdentityId::ClientId(client_id)) => Some(client_id.as_str()),
                    Some(_) => {
                        return Err(Error::configuration(
                            "Azure ML finds an identity by its client ID only; use ManagedIdentityId::ClientId",
                        ));
                    }
                    None => default_client_id.as_ref().map(External::expose),
                };
                client_id.map_or(Ok(()), check_client_id)?;
                let mut query = vec![("api-version", "2017-09-01"), ("resource", resource)];
                query.extend(client_id.map(|client_id| ("clientid", client_id)));
                self.get(endpoint, &query, self.secret_header(secret)?)
            }
            Self::ServiceFabric { endpoint, secret, .. } => {
                if id.is_some() {
                    return Err(Error::configuration(
                        "Service Fabric chooses the identity by the application's manifest; remove AZURE_CLIENT_ID, or \
                         the ID of the managed identity",
                    ));
                }
                let query = [("api-version", "2019-07-01-preview"), ("resource", resource)];
                self.get(endpoint, &query, self.secret_header(secret)?)
            }
        }
    }

    fn secret_header(&self, secret: &Secret) -> Result<(HeaderName, HeaderValue), Error> {
        let mut value = HeaderValue::from_str(secret.expose()).map_err(|error| self.invalid(error.into()))?;
        value.set_sensitive(true);
        Ok((HeaderName::from_static("secret"), value))
    }

    fn get(
        &self,
        endpoint: &Uri,
        query: &[(&str, &str)],
        header: (HeaderName, HeaderValue),
    ) -> Result<Request<Bytes>, Error> {
        let query = Serializer::new(String::new()).extend_pairs(query).finish();
        Request::builder()
            .uri(format!("{endpoint}?{query}"))
            .header(header.0, header.1)
            .body(Bytes::new())
            .map_err(|error| self.invalid(error))
    }

    fn invalid(&self, error: http::Error) -> Error {
        Error::configuration(format!("the variables of {} are invalid", self.name())).with_source(error)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::AzureArc { .. } => "the agent of Azure Arc",
            Self::CloudShell { .. } => "Cloud Shell",
            Self::AzureMl { .. } => "Azure ML",
            Self::ServiceFabric { .. } => "Service Fabric",
        }
    }
}

fn uri(name: &str, value: &External) -> Result<Uri, Error> {
    let endpoint: Option<Uri> = value.expose().parse().ok();
    endpoint.filter(|_| value.is_well_formed()).ok_or_else(|| {
        Error::configuration(format!(
            "{name} is not a URL without user name and query; the host sets it, so do not change it"
        ))
    })
}

/// The thumbprint is shown by `Debug` of the transport.
fn check_thumbprint(thumbprint: &External) -> Result<(), Error> {
    let thumbprint = thumbprint.expose();
    if thumbprint.len() <= SHA1_DIGITS && thumbprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Error::configuration(
        "IDENTITY_SERVER_THUMBPRINT is not a SHA-1 in hexadecimal; the host sets it, so do not change it",
    ))
}

/// The certificate that Service Fabric announces proves nothing without TLS.
fn https(endpoint: Uri) -> Result<Uri, Error> {
    if endpoint.scheme() == Some(&http::uri::Scheme::HTTPS) {
        return Ok(endpoint);
    }
    Err(Error::configuration(
        "IDENTITY_ENDPOINT of Service Fabric must start with https://; the host sets it, so do not change it",
    ))
}

/// Reads the token and its lifetime: `expires_in` in seconds, or `expires_on` in seconds since 1970, as
/// numbers or as text.
fn read_token(body: &[u8], now: std::time::SystemTime) -> Option<(String, Duration)> {
    let mut members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let number = |name: &str| match members.get(name)? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    let lifetime = match (number("expires_in"), number("expires_on")) {
        (Some(seconds), _) => Duration::from_secs(seconds),
        (None, expires_on) => std::time::SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(expires_on?))?
            .duration_since(now)
            .ok()?,
    };
    let Some(Value::String(token)) = members.remove("access_token") else {
        return None;
    };
    let is_header_text = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (is_header_text && !lifetime.is_zero()).then_some((token, lifetime))
}

/// Of a SHA-1 in hexadecimal.
const SHA1_DIGITS: usize = 40;

/// The endpoints are on the same machine.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Result<Option<Host>, Error> {
        Host::detect(&variables.iter().copied().collect(), None)
    }

    const IDENTITY: (&str, &str) = (
        "IDENTITY_ENDPOINT",
        "http://127.0.0.1:40342/metadata/identity/oauth2/token",
    );
    const HEADER: (&str, &str) = ("IDENTITY_HEADER", "planted");
    const IMDS: (&str, &str) = ("IMDS_ENDPOINT", "http://127.0.0.1:40342");
    const MSI: (&str, &str) = ("MSI_ENDPOINT", "http://127.0.0.1:50342/oauth2/token");
    const SECRET: (&str, &str) = ("MSI_SECRET", "planted");

    #[test]
    fn host_is_detected_by_its_variables() {
        for (variables, name) in [
            (&[][..], None),
            (&[IDENTITY, HEADER], None),
            (&[IDENTITY, HEADER, IMDS, MSI], None),
            (&[IDENTITY, IMDS, MSI], Some("the agent of Azure Arc")),
            (&[IDENTITY], None),
            (&[MSI], Some("Cloud Shell")),
            (&[MSI, SECRET], Some("Azure ML")),
        ] {
            let host = detect(variables).unwrap();
            assert_eq!(host.as_ref().map(Host::name), name, "{variables:?}");
            assert!(!format!("{host:?}").contains("planted"));
        }
        for endpoint in [
            "planted?x",
            "http://127.0.0.1/?planted",
            "http://user:planted@127.0.0.1/",
        ] {
            let error = detect(&[("MSI_ENDPOINT", endpoint)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(!format!("{error:?}").contains("planted"), "{error:?}");
        }
    }

    #[test]
    fn thumbprint_makes_it_service_fabric() {
        let thumbprint = ("IDENTITY_SERVER_THUMBPRINT", "00");
        let endpoint = (
            "IDENTITY_ENDPOINT",
            "https://127.0.0.1:2377/metadata/identity/oauth2/token",
        );
        let host = detect(&[endpoint, HEADER, thumbprint]).unwrap();
        assert_eq!(host.as_ref().map(Host::name), Some("Service Fabric"));
        assert!(!format!("{host:?}").contains("planted"));
        let error = detect(&[IDENTITY, HEADER, thumbprint]).unwrap_err();
        assert!(error.to_string().contains("must start with https://"), "{error}");
    }

    #[test]
    fn id_that_a_host_cannot_use_is_rejected() {
        let client_id = ManagedIdentityId::ClientId("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10".into());
        let object_id = ManagedIdentityId::ObjectId("7a5ff21b".into());
        for (variables, id, is_accepted) in [
            (&[IDENTITY, IMDS][..], None, true),
            (&[IDENTITY, IMDS], Some(&client_id), false),
            (&[MSI], Some(&client_id), false),
            (&[MSI, SECRET], Some(&client_id), true),
            (&[MSI, SECRET], Some(&object_id), false),
        ] {
            let host = detect(variables).unwrap().unwrap();
            let request = host.request("https://vault.azure.net", id);
            assert_eq!(request.is_ok(), is_accepted, "{variables:?} {id:?}");
        }
    }

    #[test]
    fn token_is_read_with_either_form_of_its_expiry() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let read = |body: &str| read_token(body.as_bytes(), now).map(|(_, lifetime)| lifetime.as_secs());
        for (body, lifetime) in [
            (
                r#"{"access_token":"a","expires_in":"60","expires_on":"9"}"#,
                Some(60),
            ),
            (r#"{"access_token":"a","expires_on":"1060"}"#, Some(60)),
            (r#"{"access_token":"a","expires_on":1060}"#, Some(60)),
            (
                r#"{"access_token":"a","expires_in":9999999999}"#,
                Some(9_999_999_999),
            ),
            (r#"{"access_token":"a","expires_on":"999"}"#, None),
            (r#"{"access_token":"a","expires_in":0}"#, None),
            (r#"{"access_token":"a b","expires_in":60}"#, None),
            (r#"{"access_token":"a"}"#, None),
            (r#"{"expires_in":60}"#, None),
            (r#"{"access_token":"a","expires_on":18446744073709551615}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(read(body), lifetime, "{body}");
        }
    }
}
