//! `benches/outage.svg`: the latency of each call over the hour with the outage, this crate above
//! `azure_identity`.

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::outage::Record;

pub struct Panel<'a> {
    pub title: &'a str,
    pub records: &'a [Record],
}

pub fn draw(path: &Path, panels: &[Panel; 2]) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, area) in panels.iter().zip(area.split_evenly((2, 1))) {
        draw_panel(&area, panel)?;
    }
    area.present()?;
    Ok(())
}

fn draw_panel(area: &DrawingArea<SVGBackend, Shift>, panel: &Panel) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, (FONT, 19))
        .margin(10)
        .margin_right(24)
        .x_label_area_size(38)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..60.0, (LATENCIES).log_scale())?;
    let outage = [(31.0, LATENCIES.start), (59.0, LATENCIES.end)];
    chart.draw_series([Rectangle::new(outage, OUTAGE.filled())])?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .x_desc("minute of the hour")
        .y_desc("time of a call")
        .x_labels(13)
        .y_labels(6)
        .x_label_formatter(&|minute| format!("{minute:.0}"))
        .y_label_formatter(&|seconds| human(*seconds))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 13))
        .draw()?;
    let centred = |size| TextStyle::from((FONT, size)).pos(Pos::new(HPos::Center, VPos::Center));
    chart.draw_series([Text::new(
        "the token endpoint is down",
        (45.0, LATENCIES.end / 3.0),
        centred(14).color(&DARK),
    )])?;
    for (column, succeeded) in columns(panel.records) {
        let colour = if succeeded { GOOD } else { BAD };
        chart.draw_series([PathElement::new(
            vec![(column.minute, column.fastest), (column.minute, column.slowest)],
            colour.stroke_width(2),
        )])?;
    }
    Ok(())
}

/// The calls of a few seconds, from the fastest to the slowest.
struct Column {
    minute: f64,
    fastest: f64,
    slowest: f64,
}

/// Returns the successful and the failed calls, not more than the picture has points.
fn columns(records: &[Record]) -> impl Iterator<Item = (Column, bool)> {
    let groups = records
        .chunk_by(|a, b| (a.minute * COLUMNS_A_MINUTE).floor() == (b.minute * COLUMNS_A_MINUTE).floor());
    groups.flat_map(|group| {
        [true, false].into_iter().filter_map(|succeeded| {
            let took = || {
                group
                    .iter()
                    .filter(|call| (call.succeeded == Some(true)) == succeeded)
                    .map(|call| call.took)
            };
            let column = Column {
                minute: group.first()?.minute,
                fastest: seconds(took().min()?),
                // Equal calls stay visible.
                slowest: seconds(took().max()?).max(seconds(took().min()?) * 1.3),
            };
            Some((column, succeeded))
        })
    })
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64().clamp(LATENCIES.start, LATENCIES.end)
}

fn human(seconds: f64) -> String {
    match seconds {
        ..1e-6 => format!("{:.0} ns", seconds * 1e9),
        ..1e-3 => format!("{:.0} µs", seconds * 1e6),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.0} s"),
    }
}

const WIDTH: u32 = 900;
const HEIGHT: u32 = 640;
const FONT: &str = "sans-serif";
const COLUMNS_A_MINUTE: f64 = 6.0;
const LATENCIES: Range<f64> = 1e-7..1e3;

const OUTAGE: RGBColor = RGBColor(253, 236, 224);
const GRID: RGBColor = RGBColor(224, 224, 224);
const DARK: RGBColor = RGBColor(90, 90, 90);
const GOOD: RGBColor = RGBColor(0, 110, 184);
const BAD: RGBColor = RGBColor(200, 30, 30);
