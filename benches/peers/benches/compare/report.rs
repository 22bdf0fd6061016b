//! The figures: the goals, the measurements, and those of the peers.

use std::fmt::{self, Write as _};

pub struct Report {
    figures: Vec<Figure>,
    comparison: String,
}

struct Figure {
    name: &'static str,
    what: &'static str,
    value: f64,
    wanted: Wanted,
    detail: String,
}

#[derive(Clone, Copy)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// A goal for a count, which is the same on every machine.
    NoMoreThan(u32),
}

impl Wanted {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::NoMoreThan(bound) => value <= f64::from(bound),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::NoMoreThan(bound) => write!(f, "≤ {bound}"),
        }
    }
}

impl Report {
    pub fn new() -> Self {
        Self {
            figures: Vec::new(),
            comparison:
                "| what | `entra-workload` | `azure_identity` | `object_store` |\n| --- | --- | --- | --- |\n"
                    .to_owned(),
        }
    }

    /// * `detail`: the measurements behind the figure, with those of the peers.
    pub fn add(
        &mut self,
        name: &'static str,
        what: &'static str,
        value: f64,
        wanted: Wanted,
        detail: String,
    ) {
        self.figures.push(Figure {
            name,
            what,
            value,
            wanted,
            detail,
        });
    }

    /// Adds a row of the table in `benches/README.md`.
    pub fn compare(&mut self, what: &str, ours: String, azure_identity: String, object_store: String) {
        self.comparison += &format!("| {what} | {ours} | {azure_identity} | {object_store} |\n");
    }

    /// Returns the table of `benches/README.md`.
    pub fn comparison(&self) -> &str {
        &self.comparison
    }

    /// Returns a Markdown table of the figures and their targets, for a terminal.
    pub fn table(&self) -> String {
        let mut table = "| figure | what | target | measured | met | details, and the peers |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
        for figure in &self.figures {
            let met = if figure.wanted.is_met(figure.value) {
                "yes"
            } else {
                "**no**"
            };
            writeln!(
                table,
                "| `{}` | {} | {} | {} | {met} | {} |",
                figure.name,
                figure.what,
                figure.wanted,
                number(figure.value),
                figure.detail
            )
            .unwrap();
        }
        table
    }

    /// Returns the counts that miss their goal, which a slow machine cannot cause.
    pub fn broken_promises(&self) -> Vec<&'static str> {
        let counted = self
            .figures
            .iter()
            .filter(|figure| matches!(figure.wanted, Wanted::NoMoreThan(_)));
        let broken = counted.filter(|figure| !figure.wanted.is_met(figure.value));
        broken.map(|figure| figure.name).collect()
    }

    /// Returns one line per figure, for scripts.
    pub fn lines(&self) -> String {
        let lines = self
            .figures
            .iter()
            .map(|figure| format!("figure {} {}\n", figure.name, number(figure.value)));
        lines.collect()
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value}")
    } else {
        format!("{value:.3}")
    }
}
