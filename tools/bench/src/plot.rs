//! Lines over a number that grows tenfold from mark to mark, as an SVG that a README can show.

use std::fmt::Write as _;

/// The picture, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 44.0;
const RIGHT: f64 = 48.0;
/// Room for a line's name beside the title, and for half of a figure beside the axis.
const NAME_WIDTH: f64 = 110.0;
const FIGURE_WIDTH: f64 = 24.0;
/// Marks on the upright axis.
const MARKS: u32 = 4;
const COLOURS: [&str; 4] = ["#0066cc", "#cc5500", "#2a8a2a", "#8844aa"];

/// One picture.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    /// What grows.
    pub along: String,
    pub lines: Vec<Line>,
    /// A height that is not to be passed, and its name.
    pub target: Option<(f64, String)>,
}

/// One line of it.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// The picture, to be opened in a browser or shown by a page.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut out = String::new();
        let (width, height) = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM);
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/><text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>",
            escaped(&self.title)
        );
        let area = self.area();
        self.axes(&mut out, &area);
        if let Some((value, name)) = &self.target {
            let y = area.y(*value);
            let _ = write!(
                out,
                "<path d=\"M{LEFT} {y:.1}H{:.1}\" stroke=\"#c00\" stroke-dasharray=\"5 4\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#c00\">{}</text>",
                LEFT + WIDTH,
                LEFT + WIDTH,
                y - 5.0,
                escaped(name)
            );
        }
        for (at, (line, colour)) in self.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let right = LEFT + WIDTH - at as f64 * NAME_WIDTH;
            let _ = write!(
                out,
                "<text x=\"{right:.1}\" y=\"20\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
                escaped(&line.name)
            );
            points(&mut out, &area, line, colour);
        }
        out.push_str("</svg>\n");
        out
    }

    fn area(&self) -> Area {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let least = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min).max(1.0);
        let most = points().map(|(x, _)| x).fold(1.0, f64::max);
        let target = self.target.as_ref().map_or(0.0, |target| target.0);
        let top = points().map(|(_, y)| y).fold(target, f64::max);
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        Area { from, to: to.max(from + 1.0), top: round_up(top.max(f64::MIN_POSITIVE) * 1.1) }
    }

    fn axes(&self, out: &mut String, area: &Area) {
        let bottom = TOP + HEIGHT;
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {TOP}V{bottom}H{}\" fill=\"none\" stroke=\"#999\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            LEFT + WIDTH,
            LEFT + WIDTH / 2.0,
            bottom + 36.0,
            escaped(&self.along)
        );
        for mark in 0..=MARKS {
            let value = area.top * f64::from(mark) / f64::from(MARKS);
            let y = area.y(value);
            let _ = write!(
                out,
                "<path d=\"M{LEFT} {y:.1}H{:.1}\" stroke=\"#eee\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
                LEFT + WIDTH,
                LEFT - 6.0,
                y + 4.0,
                number(value)
            );
        }
        let mut power = area.from;
        while power <= area.to {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
                area.x(10f64.powf(power)),
                bottom + 18.0,
                number(10f64.powf(power))
            );
            power += 1.0;
        }
    }
}

/// A line with its figures.
fn points(out: &mut String, area: &Area, line: &Line, colour: &str) {
    let places: Vec<(f64, f64)> = line.points.iter().map(|(x, y)| (area.x(*x), area.y(*y))).collect();
    let text: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = write!(
        out,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
        text.join(" ")
    );
    for ((x, y), (_, value)) in places.iter().zip(&line.points) {
        let (anchor, aside) = if *x < LEFT + FIGURE_WIDTH { ("start", 4.0) } else { ("middle", 0.0) };
        let _ = write!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{}</text>",
            x + aside,
            y - 8.0,
            number(*value)
        );
    }
}

/// Where values lie in the picture.
struct Area {
    /// Powers of ten.
    from: f64,
    to: f64,
    top: f64,
}

impl Area {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value.max(1.0).log10() - self.from) / (self.to - self.from) * WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT - value / self.top * HEIGHT
    }
}

/// The next value that is 1, 2, 4, 5 or 8 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0]
        .iter()
        .map(|step| step * power)
        .find(|step| *step >= value)
        .unwrap_or(10.0 * power)
}

/// As people write it: 1,000,000; 2.35; 0.4.
fn number(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.2}").trim_end_matches('0').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (value, text) in
            [(0.0, "0"), (1.0, "1"), (2.345, "2.35"), (0.4, "0.4"), (999.6, "1,000"), (1e6, "1,000,000")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_line_stays_within_its_picture() {
        let line = Line { name: "a <b>".to_owned(), points: vec![(1.0, 3.0), (1e6, 47.0)] };
        let chart = Chart {
            title: "t".to_owned(),
            along: "n".to_owned(),
            lines: vec![line],
            target: Some((50.0, "target".to_owned())),
        };
        let area = chart.area();
        assert_eq!((area.from, area.to, area.top), (0.0, 6.0, 80.0));
        assert_eq!((area.x(1.0), area.x(1e6)), (LEFT, LEFT + WIDTH));
        let svg = chart.svg();
        assert!(svg.contains("a &lt;b>") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
