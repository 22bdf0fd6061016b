use std::fmt;
use std::ops::Range;

use entra_workload::{Code, Owner, diagnose::Severity};

use super::picture::Picture;
use super::value::Value;

/// A mistake that can be seen in the files.
pub(super) struct Rule {
    pub(super) code: &'static str,
    /// In one line.
    pub(super) summary: &'static str,
    /// What happens in the cluster.
    pub(super) symptom: Symptom,
    pub(super) owner: Owner,
    pub(super) severity: Severity,
    /// Why it is a mistake.
    pub(super) cause: &'static str,
    pub(super) fix: &'static str,
    pub(super) check: fn(&Picture<'_>) -> Vec<Problem>,
}

/// What a mistake leads to, if nobody finds it before.
#[derive(Clone, Copy)]
pub(super) enum Symptom {
    /// Entra refuses for this reason.
    Aadsts(Code),
    /// Nothing is reported; another identity answers, or none.
    Silence,
    /// The API server, the webhook or Azure refuses the object.
    Refused,
    /// A token, and 403 from the service.
    Forbidden,
    /// No response.
    Timeout,
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aadsts(reason) => match reason.aadsts_codes().next() {
                Some(number) => write!(f, "AADSTS{number}"),
                None => write!(f, "{reason}"),
            },
            Self::Silence => f.write_str("fails without an error message"),
            Self::Refused => f.write_str("refused on creation"),
            Self::Forbidden => f.write_str("403 from the service"),
            Self::Timeout => f.write_str("no response"),
        }
    }
}

/// A place where a rule is broken.
pub(super) struct Problem {
    /// The index of the file.
    pub(super) source: usize,
    pub(super) span: Range<usize>,
    pub(super) message: String,
    /// The fix that is certain: a text, and the span that it replaces.
    pub(super) fix: Option<(Range<usize>, String)>,
    /// The fix in a cluster.
    pub(super) command: Option<String>,
}

impl Problem {
    pub(super) fn new(source: usize, place: &Value, message: impl Into<String>) -> Self {
        Self {
            source,
            span: place.span.clone(),
            message: message.into(),
            fix: None,
            command: None,
        }
    }

    pub(super) fn replaced_by(mut self, text: impl Into<String>) -> Self {
        self.fix = Some((self.span.clone(), text.into()));
        self
    }

    pub(super) fn mended_by(mut self, command: Option<String>) -> Self {
        self.command = command;
        self
    }

    /// Mended by a text before the closing quote.
    pub(super) fn completed_by(mut self, text: impl Into<String>) -> Self {
        let end = self.span.end.saturating_sub(1);
        self.fix = Some((end..end, text.into()));
        self
    }
}
