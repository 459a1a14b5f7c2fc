//! Two sides in turn, and what their numbers say.

/// One number that the work gives.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Such as `one writer, p50`.
    pub name: &'static str,
    /// Such as `us`.
    pub unit: &'static str,
    /// Whether less is better.
    pub less_is_better: bool,
}

/// One side: its name, and the work, which gives one number for each metric.
pub struct Side<'a> {
    /// As it is printed.
    pub name: &'a str,
    /// Does the work once.
    pub measure: &'a mut dyn FnMut() -> Result<Vec<f64>, String>,
}

/// Has both sides do the work `pairs` times in turn, and prints both series and their ratios (ours to theirs).
pub fn compare(pairs: usize, metrics: &[Metric], ours: Side, theirs: Side) -> Result<(), String> {
    let before = load_average();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        a.push((ours.measure)()?);
        b.push((theirs.measure)()?);
    }
    println!(
        "\n{} against {}, {pairs} pairs, load average {before} -> {}",
        ours.name,
        theirs.name,
        load_average()
    );
    for (index, metric) in metrics.iter().enumerate() {
        let series = |side: &[Vec<f64>]| side.iter().map(|sample| sample[index]).collect::<Vec<_>>();
        let (a, b) = (series(&a), series(&b));
        let ratios: Vec<f64> =
            a.iter().zip(&b).map(|(a, b)| if a.total_cmp(b).is_eq() { 1.0 } else { a / b }).collect();
        println!("  {} ({})", metric.name, metric.unit);
        println!("    {:24} {}", ours.name, row(&a));
        println!("    {:24} {}", theirs.name, row(&b));
        println!("    ratio                    {}", verdict(&ratios, metric.less_is_better));
    }
    Ok(())
}

fn row(series: &[f64]) -> String {
    let numbers: Vec<String> = series.iter().map(|value| format!("{value:>9.0}")).collect();
    format!("{}   median {:.0}", numbers.join(" "), quantile(series, 0.5))
}

fn verdict(ratios: &[f64], less_is_better: bool) -> String {
    let (least, middle, most) = (quantile(ratios, 0.0), quantile(ratios, 0.5), quantile(ratios, 1.0));
    let word = match (least <= 1.0 && most >= 1.0, (middle < 1.0) == less_is_better) {
        (true, _) => "equal (the spread spans 1)",
        (false, true) => "better",
        (false, false) => "worse",
    };
    format!("median {middle:.2}, from {least:.2} to {most:.2}: {word}")
}

/// The value below which the share `share` (0 to 1) of the values lies; 0 of no values.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// The load average of the last minute.
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}
