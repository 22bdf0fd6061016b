use std::env;
use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use entra_workload::Code;
use entra_workload::diagnose::Severity;
use serde_json::{Value, json};

use super::excerpt::Excerpt;
use super::rule::{Problem, Rule};
use super::rules::RULES;
use super::source::{Note, Origin, Source};
use super::{Finding, Report, uri};
use crate::catalog::Entry;
use crate::escape;

/// Findings with the lines of the file, as rustc shows them.
pub(super) fn text(report: &Report) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for finding in &report.findings {
        let Finding { rule, problem } = finding;
        let Some(source) = report.sources.get(problem.source) else {
            continue;
        };
        let level = match rule.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            _ => Level::INFO,
        };
        let path = escape::line(&escape::path(&source.path)).to_string();
        let excerpt = Excerpt::of(source, problem);
        let own_column = excerpt.column();
        let snippet = Snippet::source(excerpt.line)
            .line_start(excerpt.number)
            .path(path.as_str())
            .annotation(AnnotationKind::Primary.span(excerpt.span).label(message(problem)));
        let help = format!(
            "{} Owner: {}. If deployed: {}.",
            rule.fix, rule.owner, rule.symptom
        );
        let group = level
            .primary_title(rule.summary)
            .id(rule.code)
            .element(snippet)
            .element(Level::HELP.message(help))
            .element(Level::NOTE.message(link(rule)))
            .elements(command(source, problem).map(|command| Level::HELP.with_name("run").message(command)));
        // The renderer counts columns in the excerpt.
        let (line, column) = place(report, finding);
        let shown = format!("{path}:{line}:{own_column}");
        let finding = renderer.render(&[group]);
        let finding = finding.replacen(&shown, &format!("{path}:{line}:{column}"), 1);
        let _ = writeln!(text, "{finding}\n");
    }
    let (count, files) = (report.findings.len(), report.sources.len());
    let errors = report
        .findings
        .iter()
        .filter(|finding| finding.rule.severity == Severity::Error)
        .count();
    let _ = match count {
        0 => write!(text, "no mistakes; files: {files}"),
        count => write!(text, "findings: {count}, errors: {errors}, files: {files}"),
    };
    let _ = match report.suppressed.len() {
        0 => writeln!(text),
        count => writeln!(text, ", suppressed by comments: {count}"),
    };
    text
}

pub(super) fn json(report: &Report) -> Result<String, serde_json::Error> {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let Finding { rule, problem } = finding;
            let source = report.sources.get(problem.source);
            let (line, column) = place(report, finding);
            json!({
                "code": rule.code,
                "severity": rule.severity.to_string(),
                "owner": rule.owner.to_string(),
                "symptom": rule.symptom.to_string(),
                "title": rule.summary,
                "message": message(problem),
                "fix": rule.fix,
                "link": link(rule),
                "path": source.map(|source| escape::path(&source.path)),
                "line": line,
                "column": column,
                "fixable": problem.fix.is_some(),
                "command": source.and_then(|source| command(source, problem)),
            })
        })
        .collect();
    Ok(escape::json(&json!({ "findings": findings, "suppressed": report.suppressed.len() }))? + "\n")
}

/// What is wrong, in one line of bounded length: values of the files are in it.
fn message(problem: &Problem) -> String {
    shortened(&problem.message)
}

/// A file is fixed in place; an object of a cluster is fixed by a command.
fn command(source: &Source, problem: &Problem) -> Option<String> {
    let command = problem.command.as_deref();
    let command = command.filter(|_| source.origin == Origin::Cluster);
    command.map(|command| escape::line(command).to_string())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", escape::line(text.get(..end).unwrap_or_default())),
        None => escape::line(text).to_string(),
    }
}

/// Source: SARIF 2.1.0, OASIS.
///
/// * `failure`: why nothing was checked.
pub(super) fn sarif(report: &Report, failure: Option<&Note>) -> Result<String, serde_json::Error> {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.code,
                "shortDescription": { "text": rule.summary },
                "fullDescription": { "text": rule.cause },
                "help": { "text": rule.fix },
                "helpUri": link(rule),
            })
        })
        .collect();
    let folder = env::current_dir().unwrap_or_default();
    let result = |finding: &Finding, suppressions: Value| {
        let source = report.sources.get(finding.problem.source);
        let (line, column) = place(report, finding);
        json!({
            "ruleId": finding.rule.code,
            "level": level(finding.rule.severity),
            "message": { "text": message(&finding.problem) },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": source.map(|source| uri::of(&source.path, &folder)) },
                "region": { "startLine": line, "startColumn": column },
            } }],
            "suppressions": suppressions,
        })
    };
    // An empty list says that nothing suppresses a result.
    let shown = report.findings.iter().map(|finding| result(finding, json!([])));
    let suppressed = report.suppressed.iter().map(|(finding, reason)| {
        let suppression = json!({ "kind": "inSource", "justification": shortened(reason) });
        result(finding, json!([suppression]))
    });
    let notes = report.notes.iter().map(|note| ("warning", note));
    let notes = notes.chain(failure.map(|failure| ("error", failure)));
    let notifications = notes.map(|(level, note)| {
        let text = format!("{}: {}", escape::path(&note.path), note.text);
        json!({
            "level": level,
            "message": { "text": shortened(&text) },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": uri::of(&note.path, &folder) },
                "region": note.line.map(|line| json!({ "startLine": line })),
            } }],
        })
    });
    let driver = json!({ "name": "entra-workload", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": failure.is_none(),
                "toolExecutionNotifications": notifications.collect::<Vec<_>>(),
            }],
            "results": shown.chain(suppressed).collect::<Vec<_>>(),
        }],
    });
    Ok(escape::json(&log)? + "\n")
}

/// Source: GitHub, "Workflow commands for GitHub Actions".
pub(super) fn github(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let Some(source) = report.sources.get(finding.problem.source) else {
            continue;
        };
        let (line, column) = place(report, finding);
        let command = match level(finding.rule.severity) {
            "note" => "notice",
            level => level,
        };
        let _ = writeln!(
            text,
            "::{command} file={},line={line},col={column},title={}::{}",
            property(&escape::line(&escape::path(&source.path)).to_string()),
            property(&format!("{} {}", finding.rule.code, finding.rule.summary)),
            data(&format!("{}. {}", message(&finding.problem), finding.rule.fix))
        );
    }
    if !report.suppressed.is_empty() {
        let _ = writeln!(
            text,
            "::notice::findings suppressed by comments: {}",
            report.suppressed.len()
        );
    }
    text
}

pub(super) fn rules(as_json: bool) -> String {
    let mut text = String::new();
    for rule in RULES {
        let _ = if as_json {
            let Rule {
                code,
                summary,
                cause,
                fix,
                ..
            } = rule;
            let (symptom, owner) = (rule.symptom.to_string(), rule.owner.to_string());
            let line = json!({ "code": code, "title": summary, "symptom": symptom, "owner": owner, "cause": cause, "fix": fix });
            writeln!(text, "{line}")
        } else {
            writeln!(
                text,
                "{}  {:7}  {}",
                rule.code,
                rule.severity.to_string(),
                rule.summary
            )
        };
    }
    text
}

/// Explains a rule, or a code of the doctor. `None` for an unknown code.
pub(super) fn explanation(code: &str) -> Option<String> {
    if let Some(rule) = RULES.iter().find(|rule| rule.code.eq_ignore_ascii_case(code)) {
        let Rule {
            code,
            summary,
            cause,
            fix,
            ..
        } = rule;
        let (owner, symptom) = (rule.owner, rule.symptom);
        return Some(format!(
            "{code}: {summary}\n\nCause: {cause}\n\nFix: {fix}\n\nOwner: {owner}. If deployed: {symptom}.\n"
        ));
    }
    let code: Code = code.to_ascii_uppercase().parse().ok()?;
    let entry = Entry::of(code)?;
    let Entry { cause, fix, .. } = entry;
    let (title, owner) = (code.title(), code.owner());
    let cause = match *cause {
        "" => String::new(),
        cause => format!("Cause: {cause}\n\n"),
    };
    let aadsts: Vec<String> = entry.aadsts().iter().map(u32::to_string).collect();
    let aadsts = match &aadsts[..] {
        [] => String::new(),
        numbers => format!(" AADSTS: {}.", numbers.join(", ")),
    };
    Some(format!(
        "{code}: {title}\n\n{cause}Fix: {fix}\n\nOwner: {owner}.{aadsts}\n"
    ))
}

/// The section of a rule in "Lint rules".
fn link(rule: &Rule) -> String {
    format!("{PAGE}#{}", rule.code.to_ascii_lowercase())
}

/// The message of a command of GitHub.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        _ => "note",
    }
}

/// Line and column, counted from 1.
fn place(report: &Report, finding: &Finding) -> (usize, usize) {
    let place = finding.problem.span.start;
    let source = report.sources.get(finding.problem.source);
    source.map_or((1, 1), |source| {
        (source.line_of(place) + 1, source.column_of(place) + 1)
    })
}

/// In characters. A value in a file can have megabytes.
const LONGEST: usize = 500;

/// docs.rs redirects a folder to its `index.html`.
const PAGE: &str = "https://docs.rs/entra-workload/latest/entra_workload/guide/lint_rules/";
