//! Plots, written by hand.
//!
//! A plot brings its own light ground, so that it is as readable on a dark page.

use std::fmt::Write as _;

/// Colours of the servers, in their order: of similar lightness, and told apart by the colour-blind (Okabe and Ito).
const COLOURS: [&str; 5] = ["#0072b2", "#555555", "#d55e00", "#009e73", "#cc79a7"];

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Room around the field of a plot: for labels on the left, ends of labels, the legend, and labels below.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 62.0;

/// Height of a bar, and from one to the next.
const BAR: f64 = 20.0;
const BAR_STEP: f64 = 30.0;

/// Percentiles of an axis, as the share that is slower: each nine is as wide as the one before.
const PERCENTILES: [(f64, &str); 5] =
    [(0.5, "50 %"), (0.1, "90 %"), (0.01, "99 %"), (0.001, "99.9 %"), (0.0001, "99.99 %")];

/// One line of a plot, or a bar.
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Which colour is its own.
    pub colour: usize,
    /// For a line the share of events that were slower, and the latency in nanoseconds; for a bar only a value.
    pub points: Vec<(f64, f64)>,
}

/// Latency by percentile, both axes logarithmic.
pub fn latency(title: &str, series: &[Series]) -> String {
    let values = series.iter().flat_map(|series| series.points.iter().map(|(_, value)| *value));
    let (low, high) = decades(values);
    let x = |slower: f64| LEFT + (WIDTH - LEFT - RIGHT) * ((0.5 / slower).log10() / (0.5f64 / 0.0001).log10());
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ((value / low).log10() / (high / low).log10());
    let mut out = head(title, HEIGHT);
    let mut decade = low;
    while decade <= high * 1.001 {
        line(&mut out, (LEFT, y(decade)), (WIDTH - RIGHT, y(decade)));
        text(&mut out, (LEFT - 8.0, y(decade) + 4.0), "end", &duration(decade));
        decade *= 10.0;
    }
    for (slower, label) in PERCENTILES {
        line(&mut out, (x(slower), TOP), (x(slower), HEIGHT - BOTTOM));
        text(&mut out, (x(slower), HEIGHT - BOTTOM + 18.0), "middle", label);
    }
    text(&mut out, (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 16.0), "middle", "percentile of deliveries");
    let middle = TOP + (HEIGHT - TOP - BOTTOM) / 2.0;
    let _ = writeln!(out, r#"<g transform="translate(20 {middle:.1}) rotate(-90)">"#);
    text(&mut out, (0.0, 0.0), "middle", "latency, end to end");
    out.push_str("</g>\n");
    for series in series {
        let points: Vec<String> =
            series.points.iter().map(|(slower, value)| format!("{:.1},{:.1}", x(*slower), y(*value))).collect();
        let (colour, points) = (colour(series), points.join(" "));
        let _ = writeln!(out, r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>"#);
        for (slower, value) in &series.points {
            let _ = writeln!(out, r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{colour}"/>"#, x(*slower), y(*value));
        }
    }
    legend(&mut out, series);
    out.push_str("</svg>\n");
    out
}

/// A bar from zero for each value, in groups that have an axis each: they may differ in unit and size.
pub fn bars(title: &str, groups: &[(&str, Vec<Series>)], written: fn(f64) -> String) -> String {
    let rows = groups.iter().map(|(_, series)| series.len() as f64 * BAR_STEP + 44.0).sum::<f64>();
    let mut out = head(title, 48.0 + rows);
    let mut top = 56.0;
    for (label, series) in groups {
        text(&mut out, (24.0, top + 14.0), "start", label);
        top += 28.0;
        let value_of = |series: &Series| series.points.first().map_or(0.0, |(_, value)| value.max(0.0));
        let largest = series.iter().map(value_of).fold(f64::MIN_POSITIVE, f64::max);
        for series in series {
            let value = value_of(series);
            let width = (WIDTH - LEFT - RIGHT - 110.0) * value / largest;
            text(&mut out, (LEFT - 8.0, top + 15.0), "end", &series.name);
            let colour = colour(series);
            let _ =
                writeln!(out, r#"<rect x="{LEFT}" y="{top:.1}" width="{width:.1}" height="{BAR}" fill="{colour}"/>"#);
            text(&mut out, (LEFT + width + 8.0, top + 15.0), "start", &written(value));
            top += BAR_STEP;
        }
        top += 16.0;
    }
    out.push_str("</svg>\n");
    out
}

/// Nanoseconds as a label of an axis, in one digit where it is a power of ten.
pub fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        long if long >= 1e9 => format!("{} s", short(long / 1e9)),
        long if long >= 1e6 => format!("{} ms", short(long / 1e6)),
        long if long >= 1e3 => format!("{} µs", short(long / 1e3)),
        long => format!("{} ns", short(long)),
    }
}

fn short(value: f64) -> String {
    if value >= 99.95 || (value - value.round()).abs() < 1e-6 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn head(title: &str, height: f64) -> String {
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"
  role="img" font-family="sans-serif" font-size="13" fill="#222222">
<title>{title}</title>
<rect width="{WIDTH}" height="{height}" rx="8" fill="#fdfdfb" stroke="#bbbbbb"/>
"##
    );
    let _ = writeln!(out, r#"<text x="24" y="28" font-size="16" font-weight="bold">{title}</text>"#);
    out
}

fn legend(out: &mut String, series: &[Series]) {
    let mut x = LEFT;
    for series in series {
        let _ = writeln!(out, r#"<rect x="{x:.1}" y="46" width="18" height="8" fill="{}"/>"#, colour(series));
        text(out, (x + 24.0, 55.0), "start", &series.name);
        x += 50.0 + 8.0 * series.name.len() as f64;
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(out, r##"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="#dddddd"/>"##);
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, words: &str) {
    let (x, y) = at;
    let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{words}</text>"#);
}

fn colour(series: &Series) -> &'static str {
    COLOURS[series.colour % COLOURS.len()]
}

/// The powers of ten around all values: at least one apart.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::MAX, 1.0f64);
    for value in values {
        (low, high) = (low.min(value.max(1.0)), high.max(value));
    }
    let low = if low == f64::MAX { 0.0 } else { low.log10().floor() };
    let high = high.log10().ceil().max(low + 1.0);
    (10f64.powf(low), 10f64.powf(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_reaches_from_a_power_of_ten_to_another() {
        assert_eq!(decades([25_000.0, 3e6].into_iter()), (1e4, 1e7));
        assert_eq!(decades([1e6].into_iter()), (1e6, 1e7));
        assert_eq!(decades(std::iter::empty()), (1.0, 10.0));
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([1e4, 1e5, 2.5e6, 1e9].map(duration), ["10 µs", "100 µs", "2.5 ms", "1 s"]);
    }

    #[test]
    fn lines_are_in_the_field_and_named() {
        let points = PERCENTILES.iter().map(|(slower, _)| (*slower, 1e5 / slower)).collect();
        let plot = latency("Latency", &[Series { name: "plasma".to_owned(), colour: 0, points }]);
        assert_eq!(plot.matches("<circle").count(), PERCENTILES.len());
        assert!(plot.contains(">plasma<") && plot.contains(">99.99 %<") && plot.ends_with("</svg>\n"));
        assert!(!plot.contains("NaN") && !plot.contains("\"-"), "{plot}");
    }

    #[test]
    fn the_largest_bar_is_the_widest() {
        let series = |name: &str, value| Series { name: name.to_owned(), colour: 1, points: vec![(0.0, value)] };
        let plot = bars("Memory", &[("RSS", vec![series("a", 10.0), series("b", 0.0)])], |value| format!("{value} B"));
        assert!(plot.contains(">10 B<") && plot.contains(">0 B<") && plot.contains(r#"width="0.0""#), "{plot}");
    }
}
