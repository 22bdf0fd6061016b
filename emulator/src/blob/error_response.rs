use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};

use super::header;
use super::response::respond;
use super::xml::{self, element};
use crate::public_host::PublicHost;

/// An error response of the Blob service: an XML body, and the code in `x-ms-error-code`.
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    pub(super) detail: Option<&'static str>,
    pub(super) header: Option<(HeaderName, String)>,
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            detail: None,
            header: None,
        }
    }

    /// Returns the error response for an injected status other than 401.
    pub(super) fn from_status(status: StatusCode, request: &Request<Bytes>) -> Self {
        let is_put = request.method() == Method::PUT;
        // Behind a host name, the path has no account.
        let skipped = if PublicHost::of(request).is_some() { 1 } else { 2 };
        let mut names = request.uri().path().splitn(2 + skipped, '/').skip(skipped);
        let mut is_named = || names.next().is_some_and(|name| !name.is_empty());
        let (on_container, on_blob) = (is_named(), is_named());
        match status {
            StatusCode::NOT_MODIFIED => Self::not_modified(),
            StatusCode::FORBIDDEN => Self::permission_mismatch(),
            StatusCode::NOT_FOUND if on_blob && !is_put => Self::blob_not_found(),
            StatusCode::NOT_FOUND if on_container => Self::container_not_found(),
            StatusCode::NOT_FOUND => Self::resource_not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "UnsupportedHttpVerb",
                "The resource doesn't support the specified HTTP verb.",
            ),
            StatusCode::CONFLICT if on_blob && is_put => Self::blob_already_exists(),
            StatusCode::CONFLICT if is_put => Self::container_already_exists(),
            StatusCode::CONFLICT => Self::new(
                status,
                "ContainerBeingDeleted",
                "The specified container is being deleted.",
            ),
            StatusCode::PRECONDITION_FAILED => Self::condition_not_met(),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                status,
                "RequestBodyTooLarge",
                "The size of the request body exceeds the maximum size permitted.",
            ),
            StatusCode::RANGE_NOT_SATISFIABLE => Self::invalid_range(),
            // The real service throttles with 503.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::new(
                status,
                "ServerBusy",
                "The server is currently unable to receive requests. Please retry your request.",
            ),
            _ if status.is_client_error() => {
                Self::new(status, "InvalidInput", "One of the request inputs is not valid.")
            }
            _ => Self::new(
                status,
                "InternalError",
                "The server encountered an internal error. Please retry the request.",
            ),
        }
    }

    pub(super) fn bad_request(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn bad_query(parameter: &'static str) -> Self {
        Self {
            detail: Some(parameter),
            ..Self::bad_request(
                "InvalidQueryParameterValue",
                "Value for one of the query parameters specified in the request URI is invalid.",
            )
        }
    }

    pub(super) fn resource_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            "The specified resource does not exist.",
        )
    }

    pub(super) fn container_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "ContainerNotFound",
            "The specified container does not exist.",
        )
    }

    pub(super) fn blob_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "BlobNotFound",
            "The specified blob does not exist.",
        )
    }

    pub(super) fn container_already_exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "ContainerAlreadyExists",
            "The specified container already exists.",
        )
    }

    pub(super) fn blob_already_exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "BlobAlreadyExists",
            "The specified blob already exists.",
        )
    }

    pub(super) fn condition_not_met() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "ConditionNotMet",
            "The condition specified using HTTP conditional header(s) is not met.",
        )
    }

    pub(super) fn invalid_range() -> Self {
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "InvalidRange",
            "The range specified is invalid for the current size of the resource.",
        )
    }

    pub(super) fn not_modified() -> Self {
        Self::new(StatusCode::NOT_MODIFIED, "ConditionNotMet", "")
    }

    pub(super) fn not_implemented() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "This emulator does not have this operation. Use Azurite for what goes beyond tokens and plain blobs.",
        )
    }

    pub(super) fn archived() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "BlobArchived",
            "This operation is not permitted on an archived blob.",
        )
    }

    pub(super) fn rehydration() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "This emulator has no rehydration of archived blobs; use Azurite for it.",
        )
    }

    /// Shared keys and SAS.
    pub(super) fn other_credentials() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "This emulator accepts tokens of Microsoft Entra, no shared key and no SAS. Use Azurite for these.",
        )
    }

    pub(super) fn other_account() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "This emulator copies within an account only. Use Azurite for other sources.",
        )
    }

    pub(super) fn permission_mismatch() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "AuthorizationPermissionMismatch",
            "This request is not authorized to perform this operation using this permission.",
        )
    }

    pub(super) fn into_response(self, request_id: &str, time: &str) -> Response<Bytes> {
        let Self {
            status,
            code,
            message,
            detail,
            header,
        } = self;
        let mut headers = HeaderMap::new();
        header::set(&mut headers, header::ERROR_CODE, code);
        if let Some((name, value)) = header {
            header::set(&mut headers, name, value);
        }
        if status == StatusCode::NOT_MODIFIED {
            return respond(status, headers, Bytes::new());
        }
        let detail = match (detail, code) {
            (None, _) => String::new(),
            (Some(parameter), "InvalidQueryParameterValue") => element("QueryParameterName", parameter),
            (Some(detail), _) => element("AuthenticationErrorDetail", detail),
        };
        let message = element(
            "Message",
            &format!("{message}\nRequestId:{request_id}\nTime:{time}"),
        );
        let body = format!("<Error>{}{message}{detail}</Error>", element("Code", code));
        xml::respond(status, headers, &body)
    }
}
