use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempPath;
use uuid::Uuid;

use super::directory::{naming, write_private};
use super::entra::{Entra, IssuedToken, NoToken};
use super::identity_query::IdentityQuery;
use super::managed_identity::{CLIENT_ID, ManagedIdentities, ManagedIdentity};
use super::server::{Service, json};

/// A host that gives its managed identity to programs in its own way, besides virtual machines (IMDS) and
/// App Service.
///
/// # Examples
///
/// ```
/// use entra_workload_emulator::{Emulator, IdentityHost};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// emulator.assign_system_identity();
/// // … run the code under test with these variables …
/// assert_eq!(emulator.host_variables(IdentityHost::CloudShell).len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityHost {
    /// A server that is connected to Azure Arc: its agent demands the content of a file that only privileged
    /// processes can read. System-assigned identity only.
    AzureArc,
    /// A job of Azure Machine Learning: a secret in a header, and user-assigned identities by client ID.
    AzureMl,
    /// A Service Fabric cluster: a secret in a header, and TLS with a certificate that only its thumbprint
    /// identifies. The identity is that of the application, which is the system-assigned one here.
    ServiceFabric,
    /// Cloud Shell: a form, and the identity of the user, which is the system-assigned one here.
    CloudShell,
}

/// The endpoints of these hosts, each under a path of its own.
///
/// Source: "Authenticate against Azure resources with Azure Arc-enabled servers"; for Azure ML and Cloud
/// Shell, which are not documented, the Azure SDKs for Go, JavaScript and Python.
pub(super) struct IdentityHosts {
    url: String,
    identities: Arc<ManagedIdentities>,
    entra: Arc<Entra>,
    /// Of Azure ML and Service Fabric.
    secret: String,
    service_fabric_url: String,
    /// SHA-1 of the certificate of `service_fabric_url`, in hexadecimal.
    thumbprint: String,
    key_folder: PathBuf,
    /// The content of the file that the agent of Azure Arc wrote last.
    arc_key: Mutex<Option<ArcKey>>,
}

/// The key of the last challenge. Its file is removed with it.
struct ArcKey {
    text: String,
    _file: TempPath,
}

impl IdentityHosts {
    pub(super) fn new(
        url: String,
        service_fabric_url: String,
        thumbprint: String,
        key_folder: PathBuf,
        identities: Arc<ManagedIdentities>,
        entra: Arc<Entra>,
    ) -> io::Result<Self> {
        fs::create_dir(&key_folder).map_err(naming(&key_folder))?;
        Ok(Self {
            url,
            identities,
            entra,
            service_fabric_url,
            thumbprint,
            secret: Uuid::new_v4().to_string(),
            key_folder,
            arc_key: Mutex::default(),
        })
    }

    pub(super) fn key_folder(&self) -> &Path {
        &self.key_folder
    }

    pub(super) fn variables(&self, host: IdentityHost) -> Vec<(&'static str, String)> {
        let url = &self.url;
        match host {
            IdentityHost::AzureArc => vec![
                ("IDENTITY_ENDPOINT", format!("{url}{ARC}")),
                ("IMDS_ENDPOINT", url.clone()),
            ],
            IdentityHost::AzureMl => vec![
                ("MSI_ENDPOINT", format!("{url}{AZURE_ML}")),
                ("MSI_SECRET", self.secret.clone()),
            ],
            IdentityHost::ServiceFabric => vec![
                (
                    "IDENTITY_ENDPOINT",
                    format!("{}{SERVICE_FABRIC}", self.service_fabric_url),
                ),
                ("IDENTITY_HEADER", self.secret.clone()),
                ("IDENTITY_SERVER_THUMBPRINT", self.thumbprint.clone()),
            ],
            IdentityHost::CloudShell => vec![("MSI_ENDPOINT", format!("{url}{CLOUD_SHELL}"))],
        }
    }

    fn route(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        match request.uri().path() {
            ARC => self.azure_arc(request),
            AZURE_ML => self.azure_ml(request),
            CLOUD_SHELL => self.cloud_shell(request),
            SERVICE_FABRIC => self.service_fabric(request),
            _ => Err(Refusal(StatusCode::NOT_FOUND, "not_found", "Not found")),
        }
    }

    fn azure_arc(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        only(request, &Method::GET)?;
        has_metadata_header(request)?;
        let query = IdentityQuery::parse(request);
        if !["2019-11-01", "2020-06-01", "2021-02-01"].contains(&query.get("api-version").unwrap_or_default())
        {
            return Err(invalid("The api-version is missing or not supported"));
        }
        let resource = query
            .get("resource")
            .ok_or_else(|| invalid("The resource is missing"))?;
        if query.get("client_id").is_some() {
            return Err(invalid("User-assigned identities are not supported"));
        }
        let presented = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let key = self.arc_key.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_answered = key.is_some_and(|key| presented == Some(&format!("Basic {}", key.text)));
        if !is_answered {
            return self.challenge().map_err(|_| {
                Refusal(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "server_error",
                    "The challenge file cannot be written",
                )
            });
        }
        let identity = self.system()?;
        Ok(self.token(&identity, resource))
    }

    /// Writes a new file, which is good for one request.
    fn challenge(&self) -> io::Result<Response<Bytes>> {
        let key = format!("{}{}", Uuid::new_v4(), Uuid::new_v4());
        let file = self.key_folder.join(format!("{}.key", Uuid::new_v4()));
        write_private(&file, &key)?;
        let key = ArcKey {
            text: key,
            _file: TempPath::try_from_path(&file)?,
        };
        *self.arc_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        let body =
            json!({ "error": "unauthorized", "error_description": "Missing Basic Authorization header" });
        let mut response = json(StatusCode::UNAUTHORIZED, &body);
        let challenge =
            HeaderValue::try_from(format!("Basic realm={}", file.display())).map_err(io::Error::other)?;
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Ok(response)
    }

    fn azure_ml(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        only(request, &Method::GET)?;
        self.has_secret(request)?;
        let query = IdentityQuery::parse(request);
        if query.get("api-version") != Some("2017-09-01") {
            return Err(invalid("The api-version is missing or not supported"));
        }
        let resource = query
            .get("resource")
            .ok_or_else(|| invalid("The resource is missing"))?;
        let identity = match query.get("clientid") {
            None => self.system()?,
            Some(client_id) => self
                .identities
                .find(CLIENT_ID, client_id)
                .ok_or_else(|| invalid("Identity not found"))?,
        };
        Ok(self.token(&identity, resource))
    }

    fn cloud_shell(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        only(request, &Method::POST)?;
        has_metadata_header(request)?;
        let mut form = url::form_urlencoded::parse(request.body());
        let resource = form
            .find(|(name, value)| name == "resource" && !value.is_empty())
            .map(|(_, value)| value)
            .ok_or_else(|| invalid("The resource is missing"))?;
        let identity = self.system()?;
        Ok(self.token(&identity, &resource))
    }

    fn service_fabric(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        only(request, &Method::GET)?;
        self.has_secret(request)?;
        let query = IdentityQuery::parse(request);
        if query.get("api-version") != Some("2019-07-01-preview") {
            return Err(invalid("The api-version is missing or not supported"));
        }
        let resource = query
            .get("resource")
            .ok_or_else(|| invalid("The resource is missing"))?;
        let identity = self.system()?;
        Ok(self.token(&identity, resource))
    }

    fn has_secret(&self, request: &Request<Bytes>) -> Result<(), Refusal> {
        let secret = request.headers().get("secret");
        if secret.is_some_and(|secret| secret == self.secret.as_str()) {
            return Ok(());
        }
        Err(Refusal(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "The header secret is missing or wrong",
        ))
    }

    fn system(&self) -> Result<ManagedIdentity, Refusal> {
        self.identities
            .system()
            .ok_or_else(|| invalid("Identity not found"))
    }

    fn token(&self, identity: &ManagedIdentity, resource: &str) -> Response<Bytes> {
        let IssuedToken {
            token,
            lifetime,
            not_before,
            expires_on,
        } = match self.entra.issue_to_managed_identity(identity, resource) {
            Ok(issued) => issued,
            Err(NoToken::Outage) => return no_token(StatusCode::INTERNAL_SERVER_ERROR),
            Err(NoToken::Refused(body)) => return json(StatusCode::BAD_REQUEST, &body),
        };
        let body: Value = json!({
            "access_token": token,
            "client_id": identity.client_id,
            "expires_in": lifetime.to_string(),
            "expires_on": expires_on.to_string(),
            "not_before": not_before.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        });
        json(StatusCode::OK, &body)
    }
}

#[async_trait]
impl Service for IdentityHosts {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.route(&request).unwrap_or_else(Refusal::into_response)
    }

    fn failure(&self, status: StatusCode, _request: &Request<Bytes>) -> Response<Bytes> {
        no_token(status)
    }
}

/// Status, error and description.
struct Refusal(StatusCode, &'static str, &'static str);

impl Refusal {
    fn into_response(self) -> Response<Bytes> {
        json(self.0, &json!({ "error": self.1, "error_description": self.2 }))
    }
}

fn no_token(status: StatusCode) -> Response<Bytes> {
    Refusal(status, "unknown", "Failed to retrieve token").into_response()
}

fn only(request: &Request<Bytes>, method: &Method) -> Result<(), Refusal> {
    if request.method() == method {
        return Ok(());
    }
    Err(Refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "The method is not allowed",
    ))
}

fn has_metadata_header(request: &Request<Bytes>) -> Result<(), Refusal> {
    if request
        .headers()
        .get("metadata")
        .is_some_and(|value| value == "true")
    {
        return Ok(());
    }
    Err(invalid("Required metadata header not specified"))
}

fn invalid(description: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, "invalid_request", description)
}

const ARC: &str = "/metadata/identity/oauth2/token";
const AZURE_ML: &str = "/azureml/msi/token";
const SERVICE_FABRIC: &str = "/servicefabric/identity/oauth2/token";
const CLOUD_SHELL: &str = "/cloudshell/oauth2/token";
