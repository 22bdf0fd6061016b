//! What is wrong with the identity of this pod, who can fix it, and how.
//!
//! [`diagnose()`] looks at everything that a token needs, from inside the pod, in the order in which a
//! credential meets it:
//!
//! ```text
//! variables ─► clock ─► token file ─► login host ─► issuer ─► token request ─► resource
//!                                                                    └─► other identities
//! ```
//!
//! Each problem is a [`Finding`]. What depends on a failed check is skipped, so the first error is the
//! cause, and what only follows from it says so. No token is in a report.

mod checks;
mod finding;
mod options;
mod report;

use std::sync::Arc;

use crate::code::Code;
use crate::env::Environment;
use crate::transport::HttpTransport;
use checks::{Diagnosis, issuer, login_host, other_identity, resource, token_file, token_request, variables};
use report::Outcome;

pub use finding::{
    ClockSkew, Comparison, Defect, FederatedCredential, Finding, OtherIdentity, Property, Resource, Service,
    Severity,
};
pub use options::DiagnoseOptions;
pub use report::{Check, Observation, Pod, Report, SkipReason, State, Step};

/// Checks the workload identity of the pod with these variables.
///
/// It makes one token request to each service and retries nothing, so that the report shows the state of
/// now. It reads the token file and the environment, and changes nothing.
///
/// # Cancel safety
///
/// Safe to drop: no request and no program outlives the future.
///
/// # Examples
///
/// ```no_run
/// use entra_workload::Environment;
/// use entra_workload::diagnose::{DiagnoseOptions, diagnose};
///
/// # async fn f() {
/// let options = DiagnoseOptions::new().vault("https://myvault.vault.azure.net");
/// let report = diagnose(&Environment::from_process(), &options).await;
/// match report.cause() {
///     Some(finding) => println!("{}: {} ({})", finding.code, finding.code.title(), finding.owner),
///     None => println!("healthy"),
/// }
/// # }
/// ```
pub async fn diagnose(environment: &Environment, options: &DiagnoseOptions) -> Report {
    let environment = &environment.clone().with_file_reader(options.file_reader.clone());
    let transport = options.transport.clone();
    let diagnosis = Diagnosis {
        environment,
        options,
        transport: transport.unwrap_or_else(|| Arc::new(HttpTransport::new())),
    };

    diagnosis.start(Step::Variables);
    let variables = variables::check(&diagnosis);
    let settings = variables.settings;
    let mut report = Report {
        pod: token_file::pod(&diagnosis, &settings).await,
        ..Report::default()
    };
    report.add(variables.check);

    diagnosis.start(Step::LoginHost);
    let login_host = match &settings.login_host {
        Some(login_host) => login_host::check(&diagnosis, login_host).await,
        None if settings.has_token_proxy && !report.has_failed([Step::Variables]) => {
            login_host::Outcome::replaced_by_token_proxy()
        }
        None => login_host::Outcome::skipped(),
    };
    report.add(login_host.clock.check);

    diagnosis.start(Step::TokenFile);
    let token_file = match &settings.token_file {
        Some(path) => token_file::check(&diagnosis, &settings, path, login_host.clock.is_wrong).await,
        None => token_file::Outcome::skipped(),
    };
    report.add(token_file.check);
    report.add(login_host.check);

    if let Some(token) = &token_file.token {
        diagnosis.start(Step::Issuer);
        report.add(issuer::check(&diagnosis, &settings, token).await);
    } else {
        report.skip(Step::Issuer);
    }

    let scope = match options.requested_scope(&settings.cloud) {
        Ok(scope) => scope,
        Err(error) => {
            let finding = Finding::of_error(&error, Code::INVALID_SCOPE);
            report.add(Outcome::failed(Step::TokenRequest, finding));
            return report;
        }
    };
    let has_token = token_file.token.is_some();
    if report.has_failed([Step::Variables, Step::LoginHost]) || !has_token {
        report.skip(Step::TokenRequest);
        // A credential of the environment would use the same login host.
        let is_refused = report.has_error(Code::UNKNOWN_LOGIN_HOST);
        let looks_for_others = !options.skips_other_identities && !is_refused;
        if looks_for_others && (report.has_failed([Step::Variables]) || !has_token) {
            diagnosis.start(Step::OtherIdentity);
            report.add(other_identity::check(&diagnosis, &scope).await);
        }
        return report;
    }

    diagnosis.start(Step::TokenRequest);
    let request = token_request::check(&diagnosis, token_file.token.as_ref(), &scope).await;
    report.add(request.check);
    let Some(token) = request.token else {
        return report;
    };
    report.drop_refuted();
    for resource in &options.resources {
        diagnosis.start(Step::Resource);
        report.add(resource::check(&diagnosis, &settings, resource, &scope, &token).await);
    }
    report
}
