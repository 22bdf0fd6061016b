//! The challenge of Azure Arc's agent: it names a file that only privileged processes can read, and wants
//! its content. Source: "Authenticate against Azure resources with Azure Arc-enabled servers".

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};

use crate::blocking::{self, NO_THREAD};
use crate::bounded_file;
use crate::env::Environment;
use crate::error::Error;
use crate::token::Secret;

/// Returns the folder that the agent writes its files to.
pub(super) fn key_folder(environment: &Environment) -> PathBuf {
    if cfg!(windows) {
        let program_data = environment
            .program_data()
            .map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from);
        return program_data.join(r"AzureConnectedMachineAgent\Tokens");
    }
    PathBuf::from("/var/opt/azcmagent/tokens")
}

/// Returns the content of the file that the challenge names.
///
/// # Errors
///
/// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if the file is not one of the agent's: whoever
/// answers on its port must not be able to read any file.
pub(super) async fn answer(challenge: Option<&HeaderValue>, folder: &Path) -> Result<Secret, Error> {
    let file = named_file(challenge, folder)?;
    let bytes = blocking::run(move || bounded_file::read(&file, MAX_FILE)).await;
    let bytes = bytes.unwrap_or_else(Err).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "cannot be read by this user; add it to the group himds, and start the process again"
            }
            io::ErrorKind::NotFound => "does not exist; restart the agent",
            NO_THREAD => {
                "cannot be read because no thread can be started; raise the limit of processes of the user"
            }
            _ => "cannot be read",
        };
        Error::assertion(format!("the challenge file of the agent of Azure Arc {reason}")).with_source(error)
    })?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::protocol("the challenge file of the agent of Azure Arc is not UTF-8"))?;
    Ok(Secret::from(text.trim()))
}

/// Adds the answer to a request.
pub(super) fn authenticate(request: &mut http::Request<Bytes>, answer: &Secret) -> Result<(), Error> {
    let mut value = HeaderValue::from_str(&format!("Basic {}", answer.expose()))
        .map_err(|_| Error::protocol("the challenge file of the agent of Azure Arc is not header text"))?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

fn named_file(challenge: Option<&HeaderValue>, folder: &Path) -> Result<PathBuf, Error> {
    let unusable =
        |reason: &str| Error::protocol(format!("the challenge of the agent of Azure Arc {reason}"));
    let text = challenge
        .and_then(|challenge| challenge.to_str().ok())
        .unwrap_or_default();
    let (scheme, parameters) = text.split_once(' ').unwrap_or_default();
    let named = parameters
        .split(',')
        .find_map(|parameter| parameter.trim().strip_prefix("realm="))
        .filter(|_| scheme.eq_ignore_ascii_case("basic"))
        .map(|file| Path::new(file.trim().trim_matches('"')))
        .ok_or_else(|| unusable("names no file; check what answers in place of the agent"))?;
    // Not by canonicalizing: a link in the folder may be another user's.
    if named.parent() != Some(folder) || named.extension().is_none_or(|extension| extension != "key") {
        return Err(unusable(
            "names a file that is not one of the agent's; check what answers in place of the agent",
        ));
    }
    Ok(named.to_owned())
}

/// Source: the Azure SDK for Go, `azureArcKey`.
const MAX_FILE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn only_a_key_file_in_the_folder_of_the_agent_is_read() {
        let folder = Path::new("/var/opt/azcmagent/tokens");
        for (challenge, is_accepted) in [
            ("Basic realm=/var/opt/azcmagent/tokens/0a1b.key", true),
            (r#"Basic realm="/var/opt/azcmagent/tokens/0a1b.key""#, true),
            ("Basic realm=/var/opt/azcmagent/tokens/0a1b.pem", false),
            (
                r#"basic realm="/var/opt/azcmagent/tokens/0a1b.key", charset="UTF-8""#,
                true,
            ),
            ("Bearer realm=/var/opt/azcmagent/tokens/0a1b.key", false),
            ("Basic realm=/etc/shadow.key", false),
            (
                "Basic realm=/var/opt/azcmagent/tokens/../../../../etc/ssl/a.key",
                false,
            ),
            ("Basic realm=/var/opt/azcmagent/tokens/deeper/a.key", false),
            ("Basic realm=", false),
            ("Basic", false),
        ] {
            let value = HeaderValue::from_static(challenge);
            let named = named_file(Some(&value), folder);
            assert_eq!(named.is_ok(), is_accepted, "{challenge}");
            if let Err(error) = named {
                assert_eq!(error.kind(), ErrorKind::Protocol);
            }
        }
        assert!(named_file(None, folder).is_err());
    }
}
