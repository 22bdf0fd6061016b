use uuid::fmt::Hyphenated;

/// Whether `text` is a GUID with hyphens, in any case.
pub(super) fn is_guid(text: &str) -> bool {
    text.parse::<Hyphenated>().is_ok()
}
