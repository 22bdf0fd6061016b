//! What is wrong with the identity of this pod, who can mend it, and how.

use std::fmt;

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

/// Who can mend the cause of a [`Finding`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Owner {
    /// Whoever writes the program, its manifests, and the modules that create its identity.
    Developer,
    /// Whoever runs the cluster and its network.
    ClusterAdmin,
    /// Whoever runs the Entra tenant and its subscriptions.
    TenantAdmin,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Developer => "developer",
            Self::ClusterAdmin => "cluster administrator",
            Self::TenantAdmin => "tenant administrator",
        })
    }
}
