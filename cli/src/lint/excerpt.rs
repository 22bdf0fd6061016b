use std::ops::Range;

use super::rule::Problem;
use super::source::Source;

/// The line of a problem, as it may be shown: what can be a secret is covered with stars, one for each byte, so that
/// places stay as they are.
pub(super) struct Excerpt {
    pub(super) line: String,
    /// Counted from 1.
    pub(super) number: usize,
    /// The place of the problem in the line, in bytes.
    pub(super) span: Range<usize>,
}

impl Excerpt {
    pub(super) fn of(source: &Source, problem: &Problem) -> Self {
        let number = source.line_of(problem.span.start);
        let (line, start) = (source.line(number), source.start_of(number));
        let place = (problem.span.start - start).min(line.len());
        // A problem of several lines is shown in its first one.
        let shown = line
            .get(place..(problem.span.end - start).min(line.len()))
            .unwrap_or_default();
        let span = place..place + shown.trim_end().len();
        let previous = number.checked_sub(1).map(|previous| source.line(previous));
        let mut hidden = hidden(previous.unwrap_or_default(), line);
        if has_several_values(line) {
            let words = words(line).filter(|word| word.end <= span.start || span.end <= word.start);
            hidden.extend(words);
        }
        Self {
            line: masked(line, &hidden),
            number: number + 1,
            span,
        }
    }
}

/// Returns what follows the name of a secret variable, in any notation, and the user of a URL.
fn hidden(previous: &str, line: &str) -> Vec<Range<usize>> {
    let names_secret = |line: &str| {
        let line = line.to_ascii_uppercase().replace("_TOKEN_FILE", "");
        SECRETS.iter().any(|name| line.contains(name))
    };
    let value = line.find(VALUE).map(|start| start + VALUE.len());
    let is_secret = names_secret(line) || names_secret(previous) && !previous.contains(VALUE);
    let value = value.filter(|_| is_secret).map(|start| start..line.len());
    let users = line.match_indices("://").filter_map(|(scheme, mark)| {
        let start = scheme + mark.len();
        let authority = line.get(start..)?.split(['/', '"', '\'', ' ']).next()?;
        Some(start..start + authority.rfind('@')?)
    });
    value.into_iter().chain(users).collect()
}

/// Whether a line holds values of other variables, or the data of a Secret.
fn has_several_values(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.contains('{') && (line.contains(VALUE) || line.contains("data"))
}

/// The words of a line that are no keys.
fn words(line: &str) -> impl Iterator<Item = Range<usize>> {
    let words = line
        .split(|c| STRUCTURE.contains(c))
        .filter(|word| !word.is_empty());
    let starts = words.scan(0, |end, word| {
        let start = *end + line.get(*end..)?.find(word)?;
        *end = start + word.len();
        Some(start..*end)
    });
    starts.filter(|word| {
        let rest = line.get(word.end..).unwrap_or_default();
        !rest.trim_start_matches(['"', '\'']).starts_with(':')
    })
}

fn masked(line: &str, hidden: &[Range<usize>]) -> String {
    let mut masked = String::with_capacity(line.len());
    for (index, c) in line.char_indices() {
        let is_hidden = hidden.iter().any(|range| range.contains(&index));
        if is_hidden && !STRUCTURE.contains(c) {
            masked.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else {
            masked.push(c);
        }
    }
    masked
}

const VALUE: &str = "value";

/// Parts of the names of variables.
const SECRETS: [&str; 5] = ["_SECRET", "PASSWORD", "CONNECTION_STRING", "_KEY", "_TOKEN"];

const STRUCTURE: &str = ":, \"'{}[]";
