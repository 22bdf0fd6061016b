use std::collections::HashSet;
use std::ops::Range;

use super::Finding;
use super::rules::RULES;
use super::source::{Note, Source};

/// A comment that suppresses rules on its line and the next, within its object.
pub(super) struct Comment {
    /// Where it begins.
    place: usize,
    /// Those of rules only: many findings can be in one line with a comment of megabytes.
    codes: Vec<&'static str>,
    reason: Option<String>,
    /// Whether nothing is before it in its line.
    is_alone: bool,
}

impl Comment {
    pub(super) const MARK: &str = "entra-workload: ignore ";

    /// Finds the comments of a file.
    ///
    /// * `starts`: what begins a comment.
    /// * `literals`: the places of strings, in their order and without overlap.
    pub(super) fn find(text: &str, starts: &[&str], literals: &[Range<usize>]) -> Vec<Self> {
        let is_literal = |place: usize| {
            let before = literals.partition_point(|literal| literal.start <= place);
            let last = before.checked_sub(1).and_then(|last| literals.get(last));
            last.is_some_and(|literal| place < literal.end)
        };
        let mut comments = Vec::new();
        let mut line_start = 0;
        for line in text.split_inclusive('\n') {
            let begins = |index: usize| {
                let (before, rest) = line.split_at_checked(index).unwrap_or((line, ""));
                let is_start = starts.iter().any(|start| rest.starts_with(start));
                // In YAML, `a#b` is a text.
                let is_apart = before.is_empty() || before.ends_with([' ', '\t']) || !rest.starts_with('#');
                is_start && is_apart && !is_literal(line_start + index)
            };
            let mut marks = line.match_indices(Self::MARK).map(|(mark, _)| mark);
            let mark = marks.find(|mark| !is_literal(line_start + mark));
            let before = mark.and_then(|mark| line.get(..mark)).unwrap_or_default();
            let closed = before.rfind("*/");
            let is_block = |index: usize| line.get(index..).is_some_and(|rest| rest.starts_with("/*"));
            let is_open = |index: usize| !is_block(index) || closed.is_none_or(|end| end < index + 2);
            let start = mark.and_then(|mark| {
                let places = line.char_indices().map(|(index, _)| index);
                places
                    .take_while(|index| *index < mark)
                    .find(|index| begins(*index) && is_open(*index))
            });
            let rest = mark.and_then(|mark| line.get(mark + Self::MARK.len()..));
            if let (Some(start), Some(rest)) = (start, rest) {
                let end = rest.find("*/").filter(|_| is_block(start));
                let rest = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
                let (codes, reason) = rest.split_once(" because ").unwrap_or((rest, ""));
                let codes: HashSet<&str> = codes.split([' ', ',']).map(str::trim).collect();
                let known = RULES.iter().map(|rule| rule.code);
                let reason: String = reason.trim().chars().take(LONGEST).collect();
                comments.push(Self {
                    place: line_start + start,
                    codes: known.filter(|code| codes.contains(code)).collect(),
                    reason: Some(reason).filter(|reason| !reason.is_empty()),
                    is_alone: line.get(..start).unwrap_or_default().trim().is_empty(),
                });
            }
            line_start += line.len();
        }
        comments
    }

    /// The object that the comment is in or beside: of one alone, that of the next line.
    fn object<'a>(&self, source: &'a Source) -> Option<&'a Range<usize>> {
        let line = source.line_of(self.place);
        if self.is_alone {
            let next = source.start_of(line + 1)..source.start_of(line + 2);
            let after = source.objects.partition_point(|object| object.start < next.start);
            let first = source.objects.get(after).filter(|object| object.start < next.end);
            return first.or_else(|| object_at(source, next.start));
        }
        let before = source.objects.partition_point(|object| object.start < self.place);
        source.objects.get(before.checked_sub(1)?)
    }
}

/// Returns the reason for which a comment suppresses a finding.
///
/// A comment without a reason suppresses nothing, and is noted.
pub(super) fn reason(sources: &[Source], finding: &Finding, notes: &mut Vec<Note>) -> Option<String> {
    let source = sources.get(finding.problem.source)?;
    let place = finding.problem.span.start;
    let line = source.line_of(place);
    let first = source.start_of(line.saturating_sub(1));
    let before = source.comments.partition_point(|comment| comment.place < first);
    let comments = source.comments.get(before..).unwrap_or_default().iter();
    for comment in comments.take_while(|comment| comment.place < source.start_of(line + 1)) {
        if !comment.codes.contains(&finding.rule.code) || comment.object(source) != object_at(source, place) {
            continue;
        }
        if let Some(reason) = &comment.reason {
            return Some(reason.clone());
        }
        notes.push(Note {
            line: Some(line + 1),
            ..Note::new(
                &source.path,
                format!(
                    "the comment does not suppress {}: it needs `because` and a reason",
                    finding.rule.code
                ),
            )
        });
    }
    None
}

fn object_at(source: &Source, place: usize) -> Option<&Range<usize>> {
    let before = source.objects.partition_point(|object| object.start <= place);
    let last = source.objects.get(before.checked_sub(1)?);
    last.filter(|object| place < object.end)
}

/// Of a reason, in characters; the output shows fewer.
const LONGEST: usize = 1000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Many findings can be in one line with a comment of megabytes.
    #[test]
    fn comment_keeps_the_known_codes_and_the_start_of_the_reason() {
        let (codes, reason) = ("EW999,".repeat(10_000), "x".repeat(100_000));
        let text = format!("# entra-workload: ignore {codes}EW601,EW601 EW604 because {reason}\n");
        let comments = Comment::find(&text, &["#"], &[]);
        let comment = comments.first().unwrap();
        assert_eq!(comment.codes, ["EW601", "EW604"]);
        assert_eq!(comment.reason.as_ref().unwrap().len(), LONGEST);
        let without = Comment::find("# entra-workload: ignore EW601 because  \n", &["#"], &[]);
        assert_eq!(without.first().unwrap().reason, None);
    }
}
