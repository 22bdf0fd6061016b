use crate::code::Code;
use crate::env::{External, Form};
use crate::error::Error;

/// A tenant ID: a GUID or a domain name, of characters that are safe in the path of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TenantId(Box<str>);

impl TenantId {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        // Not the text itself: it can be a secret in the wrong variable.
        let wrong = match text.chars().find(|c| !is_safe(*c)) {
            Some(c) => format!("it contains {c:?}"),
            None if text.is_empty() => "it is empty".to_owned(),
            None if text.starts_with(['.', '-']) => "it begins with a dot or a hyphen".to_owned(),
            None if External::new(Form::Tenant, text).is_well_formed() => return Ok(Self(text.into())),
            None => "it is neither, and may be a secret".to_owned(),
        };
        Err(Error::configuration(format!(
            "invalid tenant ID: {wrong}; it must be a GUID or a domain name of letters, digits, dots and hyphens"
        ))
        .with_code(Code::INVALID_TENANT_ID))
    }

    /// Whether this stands for an AD FS server, which has no tenants.
    pub(crate) fn is_ad_fs(&self) -> bool {
        self.0.eq_ignore_ascii_case("adfs")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn parse_rejects_characters_that_change_the_path_of_a_url() {
        for text in [
            "", " ", "a/b", "a?b", "a#b", "..", "a b", "é", "a\n", "%2e", "common\0",
        ] {
            assert_eq!(
                TenantId::parse(text).unwrap_err().kind(),
                ErrorKind::Configuration,
                "{text:?}"
            );
        }
    }

    #[test]
    fn error_names_the_wrong_character_and_not_the_text() {
        let error = TenantId::parse("planted8Q~secret").unwrap_err().to_string();
        assert!(
            error.contains("it contains '~'") && !error.contains("planted"),
            "{error}"
        );
        let (jwt, long) = (
            "eyJhbGciOiJSUzI1NiJ9.planted.planted",
            "planted.".repeat(40) + "com",
        );
        for (text, part) in [
            ("", "it is empty"),
            ("-a", "it begins with a dot or a hyphen"),
            (jwt, "it is neither"),
            (&long, "it is neither"),
            ("planted2", "it is neither"),
        ] {
            let error = TenantId::parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("planted"), "{error}");
        }
    }
}
