use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode};

use super::header;
use super::response::respond;
use super::xml::{self, element};

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

    pub(super) fn not_found(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn not_modified() -> Self {
        Self::new(StatusCode::NOT_MODIFIED, "ConditionNotMet", "")
    }

    pub(super) fn not_implemented() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "The requested operation is not implemented by this emulator.",
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
