use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use entra_workload::diagnose::{Severity, State};

use super::explained::Explained;
use super::explanation::Explanation;
use crate::escape::{line, lines};
use crate::remedy::Tool;

/// The report for a person: a checklist, then the cause with its fix, then the other errors.
///
/// * `objects_are_wrong`: whether lint has found an error in the objects of the cluster.
pub(super) fn report(explained: &Explained<'_>, objects_are_wrong: bool) -> String {
    let mut text = String::new();
    for check in &explained.checks {
        let (mark, style) = match check.state {
            State::Passed => ("ok", GREEN),
            State::Warned => ("warn", YELLOW),
            State::Failed => ("FAIL", RED),
            _ => ("skip", DIM),
        };
        let _ = writeln!(
            text,
            "{style}{mark:>4}{style:#}  {:<17} {}",
            check.step,
            line(&check.detail)
        );
    }
    let (cause, others) = explained.split();
    let Some(cause) = cause else {
        let _ = if objects_are_wrong {
            writeln!(
                text,
                "\nEntra accepts the token; fix the objects first, as shown above"
            )
        } else {
            writeln!(text, "\n{GREEN}healthy{GREEN:#}: this pod gets tokens")
        };
        for finding in &explained.findings {
            let _ = writeln!(text, "note: {}", line(&finding.cause));
        }
        return text;
    };
    if explained.report.is_healthy() && !objects_are_wrong {
        let _ = writeln!(text, "\n{GREEN}healthy{GREEN:#}: this pod gets tokens, but:");
    }
    text.push('\n');
    problem(&mut text, cause);
    remedies(&mut text, cause);
    for finding in others.iter().filter(|finding| finding.severity > Severity::Info) {
        if let Some(code) = finding.follows_from {
            let _ = writeln!(
                text,
                "\n  {} ({}) follows from {code}.",
                finding.code, finding.title
            );
            continue;
        }
        let _ = writeln!(
            text,
            "\n  {} {}: {}.",
            finding.severity,
            finding.code,
            line(&finding.cause)
        );
        // Independent errors are fixed one by one.
        if finding.severity == Severity::Error {
            remedies(&mut text, finding);
        }
    }
    text
}

/// What is said in place of a report about an identity binding.
pub(super) fn binding(objects_are_wrong: bool) -> String {
    let objects = if objects_are_wrong {
        "Fix the objects first, as shown above."
    } else {
        "No problems found in the cluster objects."
    };
    format!(
        "\n{objects} The token proxy of an identity binding is reached by pods only; to check the exchange, too, run in \
         the pod:\n\n    kubectl debug -it POD --image IMAGE --target CONTAINER --profile sysadmin -- entra-workload \
         doctor --pid 1\n"
    )
}

fn problem(text: &mut String, finding: &Explanation) {
    let style = match finding.severity {
        Severity::Error => RED,
        _ => YELLOW,
    };
    let _ = writeln!(
        text,
        "{style}{}[{}]{style:#}: {}\n\n  {}.",
        finding.severity,
        finding.code,
        finding.title,
        line(finding.cause.trim_end_matches('.'))
    );
    if finding.evidence.is_empty() {
        return;
    }
    let rows = finding.evidence.iter().map(|row| {
        [
            row.what.to_owned(),
            line(&row.presented).to_string(),
            line(&row.wanted).to_string(),
        ]
    });
    let head = ["", "presented", "wanted"].map(str::to_owned);
    let rows: Vec<[String; 3]> = [head].into_iter().chain(rows).collect();
    let width = |cell: fn(&[String; 3]) -> &String| {
        rows.iter()
            .map(|row| cell(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let what_width = width(|[what, ..]| what);
    let presented_width = width(|[_, presented, _]| presented);
    text.push('\n');
    for [what, presented, wanted] in &rows {
        let _ = writeln!(
            text,
            "  {what:what_width$}  {presented:presented_width$}  {wanted}"
        );
    }
}

fn remedies(text: &mut String, finding: &Explanation) {
    let _ = writeln!(
        text,
        "\nWho can fix {}: {BOLD}{}{BOLD:#}\n",
        finding.code, finding.owner
    );
    let mut last = None;
    for remedy in &finding.remedies {
        if last.is_some_and(|last| last != remedy.tool) {
            let _ = writeln!(text, "or, {}:\n", heading(remedy.tool));
        }
        last = Some(remedy.tool);
        for text_line in lines(&remedy.text).to_string().lines() {
            let _ = writeln!(text, "    {text_line}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{}", finding.link);
}

fn heading(tool: Tool) -> &'static str {
    match tool {
        Tool::Az => "with az",
        Tool::AzApplication => "for an application registration",
        Tool::Kubectl => "with kubectl",
        Tool::Yaml => "in the manifest",
        Tool::Terraform => "in Terraform",
        Tool::Bicep => "in Bicep",
    }
}

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
