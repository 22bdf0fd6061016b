//! Medians and percentiles.

use std::time::Duration;

pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the 99.9th percentile.
pub fn p999(latencies: &[Duration]) -> Duration {
    let mut latencies = latencies.to_vec();
    latencies.sort_unstable();
    let rank = (latencies.len() * 999).div_ceil(1000);
    latencies[rank.max(1) - 1]
}
