use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use entra_workload::diagnose::{CATALOG, Entry, Severity};
use serde_json::{Value, json};

use super::Finding;
use super::excerpt::Excerpt;
use super::rule::{Problem, Rule};
use super::rules::RULES;
use super::source::Source;
use crate::escape;

/// Findings with the lines of the file, as rustc shows them.
pub(super) fn text(sources: &[Source], findings: &[Finding]) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for Finding { rule, problem } in findings {
        let Some(source) = sources.get(problem.source) else {
            continue;
        };
        let level = match rule.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            _ => Level::INFO,
        };
        let excerpt = Excerpt::of(source, problem);
        let snippet = Snippet::source(excerpt.line)
            .line_start(excerpt.number)
            .path(source.path.as_str())
            .annotation(
                AnnotationKind::Primary
                    .span(excerpt.span)
                    .label(problem.message.as_str()),
            );
        let help = format!("{} (who: {}; without it: {})", rule.fix, rule.owner, rule.symptom);
        let group = level
            .primary_title(rule.summary)
            .id(rule.code)
            .element(snippet)
            .element(Level::HELP.message(help))
            .element(Level::NOTE.message(link(rule)))
            .elements(command(source, problem).map(|command| Level::HELP.with_name("run").message(command)));
        let _ = writeln!(text, "{}\n", renderer.render(&[group]));
    }
    let errors = findings
        .iter()
        .filter(|finding| finding.rule.severity == Severity::Error)
        .count();
    let _ = match findings.len() {
        0 => writeln!(text, "no mistakes; files: {}", sources.len()),
        count => writeln!(
            text,
            "findings: {count}, errors: {errors}, files: {}",
            sources.len()
        ),
    };
    text
}

pub(super) fn json(sources: &[Source], findings: &[Finding]) -> Result<String, serde_json::Error> {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let Finding { rule, problem } = finding;
            let (path, line, column) = place(sources, finding);
            json!({
                "code": rule.code,
                "severity": rule.severity.to_string(),
                "owner": rule.owner.to_string(),
                "symptom": rule.symptom.to_string(),
                "title": rule.summary,
                "message": problem.message,
                "fix": rule.fix,
                "link": link(rule),
                "path": path,
                "line": line,
                "column": column,
                "fixable": problem.mend.is_some(),
                "command": sources.get(problem.source).and_then(|source| command(source, problem)),
            })
        })
        .collect();
    Ok(escape::json(&json!({ "findings": findings }))? + "\n")
}

/// A file is mended where it is; for an object of a cluster there is a command.
fn command<'a>(source: &Source, problem: &'a Problem) -> Option<&'a str> {
    problem.command.as_deref().filter(|_| source.is_live)
}

/// Source: SARIF 2.1.0, OASIS.
pub(super) fn sarif(sources: &[Source], findings: &[Finding]) -> Result<String, serde_json::Error> {
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
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let (path, line, column) = place(sources, finding);
            json!({
                "ruleId": finding.rule.code,
                "level": level(finding.rule.severity),
                "message": { "text": finding.problem.message },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": uri(path) },
                    "region": { "startLine": line, "startColumn": column },
                } }],
            })
        })
        .collect();
    let driver = json!({ "name": "entra-workload", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "results": results }],
    });
    Ok(escape::json(&log)? + "\n")
}

/// A path as a URI. Standard input has none, and stands for the folder.
fn uri(path: &str) -> String {
    if path == "<stdin>" {
        return "stdin".to_owned();
    }
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

/// Source: GitHub, "Workflow commands for GitHub Actions".
pub(super) fn github(sources: &[Source], findings: &[Finding]) -> String {
    let property = |text: &str| encoded(text).replace(':', "%3A").replace(',', "%2C");
    let mut text = String::new();
    for finding in findings {
        let (path, line, column) = place(sources, finding);
        let command = match level(finding.rule.severity) {
            "note" => "notice",
            level => level,
        };
        let _ = writeln!(
            text,
            "::{command} file={},line={line},col={column},title={}::{}",
            property(path),
            property(&format!("{} {}", finding.rule.code, finding.rule.summary)),
            encoded(&format!("{}. {}", finding.problem.message, finding.rule.fix))
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
            "{code}: {summary}\n\nCause: {cause}\n\nFix: {fix}\n\nWho: {owner}. Without lint: {symptom}.\n"
        ));
    }
    let mut entries = CATALOG.iter();
    let entry = entries.find(|entry| entry.code.to_string().eq_ignore_ascii_case(code))?;
    let Entry {
        title, cause, fix, ..
    } = entry;
    let (code, owner) = (entry.code, entry.owner);
    Some(format!(
        "{code}: {title}\n\nCause: {cause}\n\nFix: {fix}\n\nWho: {owner}.\n"
    ))
}

/// The section of a rule in "Troubleshooting".
fn link(rule: &Rule) -> String {
    format!("{PAGE}#{}", rule.code.to_ascii_lowercase())
}

fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        _ => "note",
    }
}

/// File, line and column, counted from 1.
fn place<'a>(sources: &'a [Source], finding: &Finding) -> (&'a str, usize, usize) {
    let Some(source) = sources.get(finding.problem.source) else {
        return ("", 1, 1);
    };
    let place = finding.problem.span.start;
    let line = source.line_of(place);
    let before = source.text.get(source.start_of(line)..place);
    let column = before.unwrap_or_default().chars().count();
    (&source.path, line + 1, column + 1)
}

const PAGE: &str =
    "https://docs.rs/entra-workload/latest/entra_workload/_documentation/troubleshooting/index.html";
