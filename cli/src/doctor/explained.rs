use entra_workload::diagnose::{Finding, Report};

use super::checklist::{self, Line};
use super::explanation::{self, Explanation};

/// A report in words.
pub(super) struct Explained<'a> {
    pub(super) report: &'a Report,
    pub(super) checks: Vec<Line>,
    /// In the order of the findings of the report.
    pub(super) findings: Vec<Explanation>,
}

impl<'a> Explained<'a> {
    /// * `deployment`: the Deployment that is diagnosed, for the commands.
    pub(super) fn new(report: &'a Report, deployment: Option<&str>) -> Self {
        let findings = explanation::explain(report, deployment);
        Self {
            report,
            checks: checklist::lines(report, &findings),
            findings,
        }
    }

    /// Returns the first cause, and the other findings.
    pub(super) fn split(&self) -> (Option<&Explanation>, Vec<&Explanation>) {
        let cause = self.report.cause();
        let is_cause = |finding: &Finding| cause.is_some_and(|cause| std::ptr::eq(cause, finding));
        let pairs = self.report.findings.iter().zip(&self.findings);
        let (causes, others): (Vec<_>, Vec<_>) = pairs.partition(|(finding, _)| is_cause(finding));
        let others = others.into_iter().map(|(_, explanation)| explanation);
        (
            causes.first().map(|(_, explanation)| *explanation),
            others.collect(),
        )
    }
}
