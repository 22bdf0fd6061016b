//! `entra-workload lint`: the mistakes of workload identity in manifests and modules, before they are deployed.
//!
//! ```text
//! source (yaml, terraform, bicep) ─► picture ─► rules ─► suppression ─► output
//! ```

mod account_index;
mod bicep;
mod binding;
mod egress;
mod excerpt;
mod fix;
mod kustomize;
mod output;
mod picture;
mod rule;
mod rules;
mod source;
mod suppression;
mod terraform;
mod uri;
mod value;
pub(crate) mod yaml;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use entra_workload::Owner;
use entra_workload::diagnose::Severity;

use self::picture::Picture;
use self::rule::{Problem, Rule};
use self::rules::RULES;
use self::source::{Note, Source};
use crate::doctor::exit_code;
use crate::{Failure, escape};

/// Finds the mistakes of workload identity in Kubernetes manifests, Terraform modules and Bicep
///
/// Exit codes: 0 no error, 1 the developer can fix all errors, 2 one needs a cluster administrator, 3 one needs a
/// tenant administrator, 64 wrong arguments or a named file that cannot be read. Warnings alone exit with 0.
///
/// A comment suppresses a rule on its line and the next, within its object:
/// # entra-workload: ignore EW601 because REASON
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Files, folders, or - for standard input
    #[arg(required_unless_present_any = ["list_rules", "explain"])]
    paths: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Apply safe fixes to the files, to all or, if one cannot be written, to none
    #[arg(long)]
    fix: bool,
    /// Treat warnings as errors
    #[arg(long)]
    deny_warnings: bool,
    /// Print all rules
    #[arg(long)]
    list_rules: bool,
    /// Explain a rule, or a code of the doctor
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
    Github,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut stdout = anstream::stdout().lock();
    if arguments.list_rules {
        stdout.write_all(output::rules(matches!(arguments.format, Format::Json)).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(code) = &arguments.explain {
        let explanation = output::explanation(code);
        let text = explanation.ok_or_else(|| format!("there is no code {code}; see --list-rules"))?;
        stdout.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.fix && arguments.paths.iter().any(|path| path.as_os_str() == "-") {
        return Err("--fix writes files, not standard input; name the files".into());
    }
    let report = checked(arguments).inspect_err(|note| {
        if matches!(arguments.format, Format::Sarif) {
            // The log is the only place that a later step of a pipeline reads.
            let log = output::sarif(&Report::default(), Some(note)).unwrap_or_default();
            let _ = stdout.write_all(log.as_bytes());
        }
    });
    let report = report.map_err(|note| note.to_string())?;
    for note in &report.notes {
        writeln!(io::stderr(), "note: {}", escape::line(&note.to_string()))?;
    }
    let text = match arguments.format {
        Format::Text => output::text(&report),
        Format::Json => output::json(&report)?,
        Format::Sarif => output::sarif(&report, None)?,
        Format::Github => output::github(&report),
    };
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    let counts = |finding: &&Finding| finding.rule.severity == Severity::Error || arguments.deny_warnings;
    let findings = report.findings.iter().filter(counts);
    let codes = findings.map(|finding| exit_code(finding.rule.owner));
    Ok(ExitCode::from(codes.max().unwrap_or_default()))
}

/// Reads and checks the files, and fixes them if asked.
fn checked(arguments: &Arguments) -> Result<Report, Note> {
    if arguments.fix {
        fix::refuse_links(&arguments.paths)?;
    }
    let report = check(source::read(&arguments.paths)?);
    if arguments.fix && fix::apply(&report.sources, &report.findings)? > 0 {
        return Ok(check(source::read(&arguments.paths)?));
    }
    Ok(report)
}

/// What the rules find in objects of a cluster.
pub(crate) struct OfObjects {
    pub(crate) text: String,
    pub(crate) findings: serde_json::Value,
    /// Who can fix the first error.
    pub(crate) owner: Option<Owner>,
}

/// Applies the rules to live objects, each with a name for the output.
pub(crate) fn of_objects(objects: &[(String, serde_json::Value)]) -> Result<OfObjects, Failure> {
    let sources = objects
        .iter()
        .map(|(name, object)| source::of_object(name, object));
    let report = check((sources.collect::<Result<_, _>>()?, Vec::new()));
    let findings = &report.findings;
    let mut errors = findings
        .iter()
        .filter(|finding| finding.rule.severity == Severity::Error);
    Ok(OfObjects {
        owner: errors.next().map(|finding| finding.rule.owner),
        text: if findings.is_empty() {
            String::new()
        } else {
            output::text(&report)
        },
        findings: serde_json::from_str(&output::json(&report)?)?,
    })
}

/// What the rules found in the sources.
#[derive(Default)]
struct Report {
    sources: Vec<Source>,
    findings: Vec<Finding>,
    /// Those that a comment suppresses, each with its reason.
    suppressed: Vec<(Finding, String)>,
    notes: Vec<Note>,
}

/// A rule, and where it is broken.
struct Finding {
    rule: &'static Rule,
    problem: Problem,
}

/// Applies all rules, and sets apart what a comment suppresses.
fn check((sources, notes): (Vec<Source>, Vec<Note>)) -> Report {
    let picture = Picture::of(&sources);
    let mut found = Vec::new();
    for rule in RULES {
        let problems = (rule.check)(&picture).into_iter();
        found.extend(problems.map(|problem| Finding { rule, problem }));
    }
    found.sort_by_key(|finding| (finding.problem.source, finding.problem.span.start));
    let mut report = Report {
        notes,
        ..Report::default()
    };
    report.notes.extend(picture.notes());
    for finding in found {
        match suppression::reason(&sources, &finding, &mut report.notes) {
            Some(reason) => report.suppressed.push((finding, reason)),
            None => report.findings.push(finding),
        }
    }
    report.sources = sources;
    report
}

const EXAMPLES: &str = "Examples:
  entra-workload lint deploy/ terraform/
  helm template chart | entra-workload lint -
  entra-workload lint --format sarif . > lint.sarif";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_beyond_the_bound_are_noted() {
        let account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: orders-api, namespace: shop, annotations: \
                       {azure.workload.identity/client-id: 0}}\n";
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {azure.workload.identity/use: 'true'}}\n\
                   spec: {serviceAccountName: order-api, containers: [{name: a, image: a}]}\n";
        let credential = "module a {\n  source = \"./a\"\n}\nresource azurerm_federated_identity_credential a {\n  \
                          subject = \"system:serviceaccount:shop:order-api\"\n}\n";
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("a.yaml", &format!("{pod}{account}"));
        write("a.tf", credential);
        let (sources, _) = source::read(&[folder.path().to_owned()]).unwrap();
        for code in ["EW604", "EW702"] {
            let picture = Picture::of(&sources);
            let rule = RULES.iter().find(|rule| rule.code == code).unwrap();
            assert_eq!((rule.check)(&picture).len(), 1, "{code}");
            assert_eq!(picture.notes().count(), 0, "{code}");
            assert!(!picture.may_compare(0, usize::MAX));
            assert_eq!((rule.check)(&picture).len(), 0, "{code}");
            assert_eq!(picture.notes().count(), 1, "{code}");
        }
    }
}
