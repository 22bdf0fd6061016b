use http::HeaderMap;

use super::error_response::ErrorResponse;
use super::header::METADATA_PREFIX;

/// Checks the metadata of a request: names are identifiers of C#, none is there twice, and the total size has a limit.
///
/// Source: "Setting and retrieving properties and metadata for Blob Storage".
pub(super) fn check(headers: &HeaderMap) -> Result<(), ErrorResponse> {
    let mut size = 0;
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(METADATA_PREFIX) else {
            continue;
        };
        if name.is_empty() {
            return Err(ErrorResponse::bad_request(
                "EmptyMetadataKey",
                "The key for one of the metadata key-value pairs is empty.",
            ));
        }
        if !is_identifier(name) || headers.get_all(header).iter().count() > 1 {
            return Err(ErrorResponse::bad_request(
                "InvalidMetadata",
                "The metadata specified is invalid. It has characters that are not permitted.",
            ));
        }
        size += name.len() + value.len();
    }
    if size > LARGEST_SIZE {
        return Err(ErrorResponse::bad_request(
            "MetadataTooLarge",
            "The size of the specified metadata exceeds the maximum size permitted.",
        ));
    }
    Ok(())
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Of all names and values, in bytes. Source: as above.
const LARGEST_SIZE: usize = 8 * 1024;
