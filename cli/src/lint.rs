//! `entra-workload lint`: the mistakes of workload identity in manifests and modules, before they are deployed.
//!
//! ```text
//! source (yaml, terraform, bicep) ─► picture ─► rules ─► suppression ─► output
//! ```

mod bicep;
mod egress;
mod excerpt;
mod kustomize;
mod output;
mod picture;
mod rule;
mod rules;
mod source;
mod suppression;
mod terraform;
mod value;
pub(crate) mod yaml;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use entra_workload::diagnose::{Owner, Severity};

use self::picture::Picture;
use self::rule::{Problem, Rule};
use self::rules::RULES;
use self::source::Source;
use crate::doctor::exit_code;
use crate::{Failure, escape};

/// Finds the mistakes of workload identity in Kubernetes manifests, Terraform modules and Bicep
///
/// Exit codes: 0 no error, 1 the developer can mend all errors, 2 one needs a cluster administrator, 3 one needs a
/// tenant administrator, 64 wrong arguments or a named file that cannot be read. Warnings alone exit with 0.
///
/// A comment silences a rule on its line and the next: # entra-workload: ignore EW601 because REASON
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Files, folders, or - for standard input
    #[arg(required_unless_present_any = ["list_rules", "explain"])]
    paths: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Mend what is certain, in the files
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
        return Err("--fix writes files, and standard input is none: name the files".into());
    }
    let (mut sources, mut notes) = source::read(&arguments.paths)?;
    let mut findings = check(&sources, &mut notes);
    if arguments.fix && mend(&sources, &findings)? > 0 {
        (sources, notes) = source::read(&arguments.paths)?;
        findings = check(&sources, &mut notes);
    }
    for note in &notes {
        writeln!(io::stderr(), "note: {}", escape::line(note))?;
    }
    let text = match arguments.format {
        Format::Text => output::text(&sources, &findings),
        Format::Json => output::json(&sources, &findings)?,
        Format::Sarif => output::sarif(&sources, &findings)?,
        Format::Github => output::github(&sources, &findings),
    };
    stdout.write_all(text.as_bytes())?;
    let counts = |finding: &&Finding| finding.rule.severity == Severity::Error || arguments.deny_warnings;
    let codes = findings
        .iter()
        .filter(counts)
        .map(|finding| exit_code(finding.rule.owner));
    Ok(ExitCode::from(codes.max().unwrap_or_default()))
}

/// What the rules find in objects of a cluster.
pub(crate) struct OfObjects {
    pub(crate) text: String,
    pub(crate) findings: serde_json::Value,
    /// Who can mend the first error.
    pub(crate) owner: Option<Owner>,
}

/// Applies the rules to live objects, each with a name for the output.
pub(crate) fn of_objects(objects: &[(String, serde_json::Value)]) -> Result<OfObjects, Failure> {
    let sources = objects
        .iter()
        .map(|(name, object)| source::of_object(name, object));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let findings = check(&sources, &mut Vec::new());
    let mut errors = findings
        .iter()
        .filter(|finding| finding.rule.severity == Severity::Error);
    Ok(OfObjects {
        owner: errors.next().map(|finding| finding.rule.owner),
        text: if findings.is_empty() {
            String::new()
        } else {
            output::text(&sources, &findings)
        },
        findings: serde_json::from_str(&output::json(&sources, &findings)?)?,
    })
}

/// A rule, and where it is broken.
struct Finding {
    rule: &'static Rule,
    problem: Problem,
}

/// Applies all rules, and leaves out what a comment silences.
fn check(sources: &[Source], notes: &mut Vec<String>) -> Vec<Finding> {
    let picture = Picture::of(sources);
    let mut findings = Vec::new();
    for rule in RULES {
        let problems = (rule.check)(&picture).into_iter();
        findings.extend(problems.map(|problem| Finding { rule, problem }));
    }
    findings.retain(|finding| !suppression::is_silenced(sources, finding, notes));
    findings.sort_by_key(|finding| (finding.problem.source, finding.problem.span.start));
    findings
}

/// Writes the certain mends, the last of a file first, and returns how many there were.
fn mend(sources: &[Source], findings: &[Finding]) -> Result<usize, Failure> {
    let mut count = 0;
    for (index, source) in sources
        .iter()
        .enumerate()
        .filter(|(_, source)| source.path != "<stdin>")
    {
        let mut text = source.text.clone();
        let mut end = text.len();
        for Finding { problem, .. } in findings
            .iter()
            .rev()
            .filter(|finding| finding.problem.source == index)
        {
            let Some((span, mended)) = problem.mend.as_ref().filter(|(span, _)| span.end <= end) else {
                continue;
            };
            text.replace_range(span.clone(), mended);
            end = span.start;
            count += 1;
        }
        if text != source.text {
            fs::write(&source.path, text).map_err(|error| format!("{}: {error}", source.path))?;
        }
    }
    Ok(count)
}

const EXAMPLES: &str = "Examples:
  entra-workload lint deploy/ terraform/
  helm template chart | entra-workload lint -
  entra-workload lint --format sarif . > lint.sarif";
