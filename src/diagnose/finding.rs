use std::fmt;

use serde::{Serialize, Serializer};

use super::catalog::Entry;
use super::remedy::{Federation, Tool};
use super::resource::Resource;
use crate::code::{Code, Owner};
use crate::error::Error;
use crate::escape::Escaped;

/// One problem: what it is, who can fix it, and how.
///
/// As JSON, it has the fields below under their names; severity and owner are words, as in their
/// `Display`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Its section in "Troubleshooting".
    #[serde(serialize_with = "display")]
    pub code: Code,
    /// How much it matters.
    #[serde(serialize_with = "display")]
    pub severity: Severity,
    /// Who can fix it.
    #[serde(serialize_with = "display")]
    pub owner: Owner,
    /// The problem in a few words, the same for each finding of the code.
    pub title: &'static str,
    /// The cause in one sentence.
    pub cause: String,
    /// What was presented, next to what was wanted.
    pub evidence: Vec<Evidence>,
    /// Commands and snippets that fix it, with the names of this pod in them. A word in capitals, such
    /// as `RESOURCE_GROUP`, stands for what the pod cannot know.
    pub remedies: Vec<Remedy>,
    /// The AADSTS codes that Entra answered with, or that it would answer with if it were asked.
    pub aadsts: Vec<u32>,
    /// The code of the finding that this one only follows from.
    #[serde(serialize_with = "optional_display")]
    pub follows_from: Option<Code>,
    /// The address of its section.
    pub link: String,
    /// The federated credential that the token needs.
    #[serde(skip)]
    pub(super) federation: Option<Federation>,
    /// The resource that refused.
    #[serde(skip)]
    pub(super) resource: Option<Resource>,
}

impl Finding {
    pub(super) fn new(code: Code, severity: Severity, cause: impl Into<String>) -> Self {
        let entry = Entry::of(code);
        Self {
            code,
            severity,
            owner: entry.owner,
            title: entry.title,
            cause: Escaped(cause.into()).to_string(),
            evidence: Vec::new(),
            remedies: Vec::new(),
            aadsts: Vec::new(),
            follows_from: None,
            link: code.url(),
            federation: None,
            resource: None,
        }
    }

    /// The finding of an error. Errors without a code have the given one.
    pub(super) fn of_error(error: &Error, otherwise: Code) -> Self {
        let code = error.code().unwrap_or(otherwise);
        let mut finding = Self::new(code, Severity::Error, error.message());
        finding.aadsts = error.aadsts_codes().to_vec();
        finding
    }

    pub(super) fn predicting(mut self, aadsts: u32) -> Self {
        self.aadsts.push(aadsts);
        self
    }

    pub(super) fn with_evidence(
        mut self,
        what: &'static str,
        presented: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        let shown = |text: String| Escaped(text).to_string().chars().take(MAX_EVIDENCE).collect();
        self.evidence.push(Evidence {
            what,
            presented: shown(presented.into()),
            wanted: shown(wanted.into()),
        });
        self
    }
}

/// What was presented, next to what was wanted.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// What is compared, for example `audience`.
    pub what: &'static str,
    /// The value here.
    pub presented: String,
    /// The value that would do.
    pub wanted: String,
}

/// A command or a snippet that fixes a problem.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Remedy {
    /// What it is for.
    #[serde(serialize_with = "display")]
    pub tool: Tool,
    /// The text, ready to paste.
    pub text: String,
}

/// How much a [`Finding`] matters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Severity {
    /// Information, for example which identity answers.
    Info,
    /// It works, but not as intended, or not for long.
    Warning,
    /// No token, or no access.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

pub(super) fn display<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn optional_display<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// In characters. What a stranger's issuer publishes can have hundreds of kilobytes.
const MAX_EVIDENCE: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::Pod;
    use crate::diagnose::report::{Outcome, Report, Step};

    #[test]
    fn control_characters_of_an_issuer_do_not_reach_a_finding() {
        let text = "\u{1b}]52;c;eA==\u{7}\r\n::stop-commands::x\u{202e}";
        let finding =
            Finding::new(Code::UNPUBLISHED_KEY, Severity::Warning, text).with_evidence("kid", text, text);
        let evidence = &finding.evidence[0];
        let mut report = Report::default();
        report.add(Outcome::passed(Step::Issuer, text), &Pod::default());
        let detail = &report.checks[0].detail;
        for shown in [&finding.cause, &evidence.presented, &evidence.wanted, detail] {
            assert_eq!(shown, r"\u{1b}]52;c;eA==\u{7}\r\n::stop-commands::x\u{202e}");
        }
    }

    #[test]
    fn evidence_of_a_stranger_is_limited_in_length() {
        let long = "\u{202e}".repeat(100_000);
        let finding = Finding::new(Code::UNPUBLISHED_KEY, Severity::Warning, "");
        let finding = finding.with_evidence("kid", &*long, &*long);
        let evidence = &finding.evidence[0];
        assert_eq!(
            (evidence.presented.len(), evidence.wanted.len()),
            (MAX_EVIDENCE, MAX_EVIDENCE)
        );
    }
}
