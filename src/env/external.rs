use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use url::Url;

use crate::guid::is_guid;

/// A value from outside this program: a variable, or an option that often carries one.
///
/// `Display` and `Debug` show it only in the form that it should have, because a secret is easily set in the wrong
/// place: the token instead of the path of its file, a client secret instead of a client ID.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct External {
    value: OsString,
    form: Form,
}

/// What a value should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// The absolute path of a file, or the relative one of a file that exists.
    Path,
    /// A GUID or an application ID URI.
    ClientId,
    /// A GUID, a domain name, or the name of an audience such as `organizations`.
    Tenant,
    /// A URL of `http` or `https` without user info, query and fragment.
    Url,
    /// `unix:///path` or `tcp://address:port`.
    #[cfg(feature = "spiffe")]
    Socket,
    /// A domain name or an IP address.
    Host,
    /// The name of a credential, as in `AZURE_TOKEN_CREDENTIALS`.
    #[cfg(feature = "default-credential")]
    CredentialName,
    /// A program, by its path or its name.
    #[cfg(feature = "command")]
    Program,
    /// Anything, which is never shown.
    Hidden,
}

impl External {
    pub(crate) fn new(form: Form, value: impl Into<OsString>) -> Self {
        Self {
            value: value.into(),
            form,
        }
    }

    pub(crate) fn path(value: impl Into<OsString>) -> Self {
        Self::new(Form::Path, value)
    }

    pub(crate) fn as_path(&self) -> &Path {
        Path::new(&self.value)
    }

    /// Returns the value to use it; empty if it is not UTF-8. It must not be shown.
    pub(crate) fn expose(&self) -> &str {
        self.value.to_str().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    /// Whether the value has its form, so that it can be shown.
    pub(crate) fn is_well_formed(&self) -> bool {
        let text = self.value.to_string_lossy();
        if text.len() > MAX_LENGTH || text.contains(char::is_control) || content(&text).is_some() {
            return false;
        }
        match self.form {
            Form::Path => is_path(&text),
            Form::ClientId => is_client_id(&text),
            Form::Tenant => is_tenant(&text),
            Form::Url => is_url(&text),
            #[cfg(feature = "spiffe")]
            Form::Socket => is_socket(&text),
            Form::Host => is_host(&text),
            #[cfg(feature = "default-credential")]
            Form::CredentialName => is_credential_name(&text),
            #[cfg(feature = "command")]
            Form::Program => is_program(&text),
            Form::Hidden => false,
        }
    }

    /// Says what the value is and the way out, if it is the content of a file in place of its path.
    pub(crate) fn misplaced_content(&self) -> Option<String> {
        let content = content(&self.value.to_string_lossy())?;
        Some(format!("holds {content}; set the path of its file"))
    }
}

impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_well_formed() {
            return f.write_str(&self.value.to_string_lossy());
        }
        let text = self.value.to_string_lossy();
        match content(&text) {
            Some(content) => write!(f, "(not shown: it is {content})"),
            None if text.contains(char::is_control) => {
                f.write_str("(not shown: it contains a control character)")
            }
            None if self.form == Form::Path => f.write_str("(not shown: it is not an absolute path)"),
            None => f.write_str("(not shown)"),
        }
    }
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_well_formed() {
            return fmt::Debug::fmt(&self.value, f);
        }
        write!(f, "{self}")
    }
}

/// Whether `text` is a GUID, or an application ID URI such as `api://orders`, which Entra accepts in place of the
/// client ID.
///
/// Source: Azure CLI, `az login --service-principal --username http://azure-cli-…`, and "Restrictions on identifier
/// URIs of Microsoft Entra applications".
pub(crate) fn is_client_id(text: &str) -> bool {
    let is_uri = |url: &Url| {
        let has_secret_part = url.password().is_some() || !url.username().is_empty() || url.query().is_some();
        URI_SCHEMES.contains(&url.scheme()) && !has_secret_part
    };
    is_guid(text) || !is_secret(text) && Url::parse(text).is_ok_and(|url| is_uri(&url))
}

/// Whether `text` is more likely a secret than a name: a JWT, PEM, or random characters.
pub(crate) fn is_secret(text: &str) -> bool {
    content(text).is_some() || text.contains('~') || is_random(text)
}

/// Returns what a text is, if it is the content of a file.
fn content(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN") {
        let is_key = text.contains("PRIVATE KEY");
        return Some(if is_key { "a private key" } else { "a certificate" });
    }
    // A part of a JWT starts with the base64 of `{"`.
    let mut parts = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
    let is_token = parts.any(|part| part.starts_with("eyJ")) || text.contains("Bearer ");
    is_token.then_some("a token")
}

/// Whether the characters seem to be random: the case changes, and digits and letters alternate, more often than in
/// words. Names of hosts and hashes, which have one case, do not count.
fn is_random(text: &str) -> bool {
    if !text.contains(|c: char| c.is_ascii_lowercase()) || !text.contains(|c: char| c.is_ascii_uppercase()) {
        return false;
    }
    let (mut pairs, mut changes) = (0_usize, 0_usize);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    for word in words.filter(|word| !word.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        for (one, next) in word.bytes().zip(word.bytes().skip(1)) {
            let is_change = one.is_ascii_digit() != next.is_ascii_digit()
                || one.is_ascii_lowercase() && next.is_ascii_uppercase();
            pairs += 1;
            changes += usize::from(is_change);
        }
    }
    pairs >= MIN_RANDOM && changes * 3 >= pairs
}

fn is_path(text: &str) -> bool {
    let mut start = text.bytes().take(3);
    let has_drive = matches!(
        (start.next(), start.next(), start.next()),
        (Some(drive), Some(b':'), Some(b'/' | b'\\')) if drive.is_ascii_alphabetic()
    );
    let is_absolute = text.starts_with('/') || text.starts_with(r"\\") || has_drive;
    !is_random(text) && (is_absolute || Path::new(text).exists())
}

/// Whether `text` consists of labels of a domain name, and seems not to be random.
fn is_domain(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.chars().all(is_inner);
    text.len() <= MAX_DOMAIN && text.split('.').all(is_label) && !is_secret(text)
}

/// Whether `text` is a GUID, a domain name, or a word such as `organizations`.
fn is_tenant(text: &str) -> bool {
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_guid(text) || is_domain(text) && (text.contains('.') || is_word(text))
}

/// Whether `text` is a domain name or an IP address, and seems not to be random.
pub(crate) fn is_host(text: &str) -> bool {
    let address = text.trim_start_matches('[').trim_end_matches(']');
    is_domain(text) || address.parse::<IpAddr>().is_ok()
}

fn is_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let has_secret_part = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    ["http", "https"].contains(&url.scheme())
        && url.host_str().is_some_and(is_host)
        && !has_secret_part
        && !is_secret(text)
}

#[cfg(feature = "spiffe")]
fn is_socket(text: &str) -> bool {
    match text.split_once(':') {
        Some(("unix", path)) => path.starts_with('/') && is_path(path),
        Some(("tcp", address)) => address
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || b"/.:[]".contains(&byte)),
        _ => false,
    }
}

/// So that a name which another SDK knows is shown, and nothing else.
#[cfg(feature = "default-credential")]
fn is_credential_name(text: &str) -> bool {
    let is_known = ["dev", "prod"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(text));
    let name = text.to_ascii_lowercase();
    is_known || name.ends_with("credential") && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Whether `text` is a program without arguments.
#[cfg(feature = "command")]
fn is_program(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        (1..=MAX_LABEL).contains(&name.len()) && name.chars().all(is_inner) && !is_secret(name)
    };
    is_name(text) || is_path(text) && text.rsplit(['/', '\\']).next().is_some_and(is_name)
}

/// Source: Linux, `PATH_MAX`.
const MAX_LENGTH: usize = 4096;

/// Source: RFC 1035, section 2.3.4.
const MAX_DOMAIN: usize = 253;
const MAX_LABEL: usize = 63;

/// Entra also verifies domains in `https` and `http` URIs.
const URI_SCHEMES: [&str; 4] = ["api", "http", "https", "urn"];

/// Of neighboring characters. Fewer are too few to tell words from random characters, such as those in the name of a
/// temporary folder.
const MIN_RANDOM: usize = 20;

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    const FORMS: [Form; 6] = [
        Form::Path,
        Form::ClientId,
        Form::Tenant,
        Form::Url,
        Form::Host,
        Form::Hidden,
    ];

    #[test]
    fn value_of_the_expected_form_is_shown() {
        for (form, value) in [
            (Form::Path, "/var/run/secrets/azure/tokens/azure-identity-token"),
            (Form::Path, "/tmp/.tmpAbC1d2/azure-identity-token"),
            (Form::Path, "/tmp/.tmpa1B2c3/token"),
            (Form::Path, "/Users/JohnDoe/MyProject/AppV2/TokenFile.jwt"),
            (
                Form::Path,
                "/var/lib/kubelet/pods/7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10/volumes/token",
            ),
            (Form::Path, r"C:\Users\a b\token"),
            (Form::Path, "Cargo.toml"),
            (Form::ClientId, "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
            (Form::ClientId, "api://orders"),
            (Form::Tenant, "contoso.onmicrosoft.com"),
            (Form::Tenant, "72f988bf-86f1-41af-91ab-2d7cd011db47"),
            (Form::Url, "https://login.microsoftonline.us/"),
            (Form::Url, "http://127.0.0.1:8080/prefix"),
            (Form::Host, "kubernetes.default.svc"),
            (Form::Host, "a0b1c2d3e4f5g6h7i8j9k0l1m2n3o4p5.ests.aks"),
            (Form::Host, "fd00::1"),
        ] {
            assert_shown(form, value);
        }
    }

    #[test]
    fn value_of_another_form_is_not_shown() {
        for (form, value) in [
            (Form::Path, "hunter2"),
            (Form::Path, "/var/run/token\n"),
            (Form::Path, "https://user:planted@host/"),
            (Form::Path, "/run/eyJhbGciOiJSUzI1NiJ9.planted.planted"),
            (Form::Path, "/p8Jk2LmN9qR4sT7vW1xY3zA5bC6dE8f/G2hJ4kL6mN8pQ0rS=="),
            (Form::ClientId, "planted:8Q~secret"),
            (Form::ClientId, "https://user:planted@contoso.com"),
            (Form::ClientId, "https://contoso.com/?planted"),
            (Form::ClientId, "ftp://contoso.com/orders"),
            (Form::ClientId, "orders"),
            (Form::Tenant, "planted8Q~secret"),
            (Form::Tenant, "hunter2"),
            (Form::Tenant, "Xy8Qabc1D2eF3gH4iJ5kL6mN7oP8qR9sT0uV"),
            (Form::Url, "https://user:planted@host/"),
            (Form::Url, "https://host/?sig=planted"),
            (Form::Url, "planted"),
            (Form::Host, "planted@host"),
            (Form::Hidden, "planted"),
        ] {
            assert_hidden(form, value);
        }
    }

    #[cfg(feature = "spiffe")]
    #[test]
    fn socket_is_shown_with_a_path_or_an_address() {
        assert_shown(Form::Socket, "unix:///run/spire/sockets/agent.sock");
        assert_shown(Form::Socket, "tcp://127.0.0.1:8081");
        assert_hidden(Form::Socket, "unix:planted");
        assert_hidden(Form::Socket, "tcp://planted");
    }

    #[cfg(feature = "default-credential")]
    #[test]
    fn only_names_of_credentials_are_shown() {
        assert_shown(Form::CredentialName, "AzurePowerShellCredential");
        assert_hidden(Form::CredentialName, "hunter2");
        assert_hidden(Form::CredentialName, "production");
    }

    #[cfg(feature = "command")]
    #[test]
    fn program_is_shown_without_arguments() {
        assert_shown(Form::Program, "gcloud");
        assert_shown(Form::Program, "/usr/local/bin/get-token.sh");
        assert_hidden(
            Form::Program,
            "curl -H 'Authorization: planted' https://host/token",
        );
        assert_hidden(Form::Program, "/usr/bin/curl --header planted");
    }

    #[track_caller]
    fn assert_shown(form: Form, value: &str) {
        let external = External::new(form, value);
        assert_eq!(external.to_string(), value, "{form:?}");
        assert_eq!(format!("{external:?}"), format!("{value:?}"), "{form:?}");
    }

    #[track_caller]
    fn assert_hidden(form: Form, value: &str) {
        let shown = format!("{0} {0:?}", External::new(form, value));
        let is_hidden = shown.starts_with("(not shown") && !shown.contains(value);
        assert!(is_hidden, "{form:?}: {shown}");
    }

    #[test]
    fn content_in_place_of_a_path_is_named_with_the_way_out() {
        for (value, text) in [
            (
                "eyJhbGciOiJSUzI1NiJ9.e30.planted",
                "holds a token; set the path of its file",
            ),
            (
                " \u{feff}eyJhbGciOiJSUzI1NiJ9",
                "holds a token; set the path of its file",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nplanted",
                "holds a private key; set the path of its file",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nplanted",
                "holds a certificate; set the path of its file",
            ),
        ] {
            assert_eq!(External::path(value).misplaced_content().as_deref(), Some(text));
        }
        assert_eq!(External::path("/var/run/token").misplaced_content(), None);
    }

    proptest! {
        #[test]
        fn random_secret_is_shown_in_no_form(bytes: [u8; 32], header: [u8; 12]) {
            let secret = STANDARD.encode(bytes);
            // Rarely, random characters look like words.
            prop_assume!(is_random(&secret));
            let jwt = format!("eyJ{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(bytes));
            for form in FORMS {
                for value in [&secret, &jwt, &format!("/{secret}"), &format!("{secret}\n")] {
                    let shown = format!("{0} {0:?}", External::new(form, value));
                    prop_assert!(!shown.contains(value.trim()), "{form:?}: {shown}");
                }
            }
        }
    }
}
