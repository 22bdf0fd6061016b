use uuid::fmt::Hyphenated;

/// Whether `text` is a GUID with hyphens, in any case.
pub(super) fn is_guid(text: &str) -> bool {
    text.parse::<Hyphenated>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guid_has_hyphens_and_digits() {
        assert!(is_guid("7A5FF21B-4f5b-4f5b-9e3e-2c0b5a1d9a10"));
        for text in [
            "7a5ff21b4f5b4f5b9e3e2c0b5a1d9a10",
            "{7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10}",
            "------------------------------------",
        ] {
            assert!(!is_guid(text), "{text}");
        }
    }
}
