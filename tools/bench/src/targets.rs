//! Which paths are asked for: one, a range in a template, or the lines of a file.

use std::path::Path;

use anyhow::{Context, bail, ensure};

/// Paths with their queries.
#[derive(Clone, Debug)]
pub enum Targets {
    One(String),
    /// `before`, a whole number from `from` to `to`, `after`.
    Range {
        before: String,
        after: String,
        from: u64,
        to: u64,
    },
    Lines(Vec<String>),
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    Random,
    Sequential,
}

impl Targets {
    /// A path in which `{a..b}` stands for a whole number from a to b.
    ///
    /// # Errors
    /// If what stands in the braces is no range.
    pub fn template(path: &str) -> anyhow::Result<Targets> {
        let Some((before, rest)) = path.split_once('{') else { return Ok(Targets::One(path.to_owned())) };
        let (range, after) = rest.split_once('}').context("a `{` in the path has no `}`")?;
        let (from, to) = range.split_once("..").context("braces in the path must hold a range, {1..100}")?;
        let (from, to) = (from.parse()?, to.parse()?);
        ensure!(from <= to, "the range {range} is empty");
        Ok(Targets::Range { before: before.to_owned(), after: after.to_owned(), from, to })
    }

    /// A path, or a whole URL whose path counts, in each line of a file.
    ///
    /// # Errors
    /// If the file cannot be read or is empty.
    pub fn file(path: &Path) -> anyhow::Result<Targets> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<String> = lines.map(|line| path_of(line).to_owned()).collect();
        ensure!(!lines.is_empty(), "{} holds no path", path.display());
        match lines.iter().find(|line| !line.starts_with('/')) {
            Some(line) => bail!("{}: `{line}` is neither a path nor a URL", path.display()),
            None => Ok(Targets::Lines(lines)),
        }
    }

    /// The only one, if there is only one.
    #[must_use]
    pub fn sole(&self) -> Option<&str> {
        match self {
            Targets::One(path) => Some(path),
            Targets::Lines(lines) if lines.len() == 1 => Some(&lines[0]),
            _ => None,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Targets::One(_) => 1,
            Targets::Range { from, to, .. } => to - from + 1,
            Targets::Lines(lines) => lines.len() as u64,
        }
    }

    fn write(&self, index: u64, out: &mut Vec<u8>) {
        match self {
            Targets::One(path) => out.extend_from_slice(path.as_bytes()),
            Targets::Range { before, after, from, .. } => {
                out.extend_from_slice(before.as_bytes());
                write_decimal(out, from + index);
                out.extend_from_slice(after.as_bytes());
            }
            Targets::Lines(lines) => out.extend_from_slice(lines[index as usize].as_bytes()),
        }
    }
}

/// The path of a URL, or what is a path already.
#[must_use]
pub fn path_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    }
}

fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut place = digits.len();
    loop {
        place -= 1;
        digits[place] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[place..]);
}

/// One path after another.
#[derive(Debug)]
pub struct Walk {
    order: Order,
    state: u64,
}

impl Walk {
    #[must_use]
    pub fn new(order: Order, seed: u64) -> Walk {
        let state = if order == Order::Random { seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 } else { 0 };
        Walk { order, state }
    }

    /// Writes the next path.
    pub fn next(&mut self, targets: &Targets, out: &mut Vec<u8>) {
        let index = match self.order {
            Order::Sequential => {
                self.state = self.state.wrapping_add(1);
                self.state.wrapping_sub(1) % targets.len()
            }
            Order::Random => {
                // Marsaglia's xorshift64*: cheap, and even enough to spread over paths.
                self.state ^= self.state >> 12;
                self.state ^= self.state << 25;
                self.state ^= self.state >> 27;
                let mixed = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D);
                ((u128::from(mixed) * u128::from(targets.len())) >> 64) as u64
            }
        };
        targets.write(index, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_walked_in_order_and_wraps() {
        let targets = Targets::template("/a/{9..11}?x").expect("a range");
        let mut walk = Walk::new(Order::Sequential, 1);
        let mut out = Vec::new();
        for _ in 0..4 {
            walk.next(&targets, &mut out);
        }
        assert_eq!(out, b"/a/9?x/a/10?x/a/11?x/a/9?x");
    }

    #[test]
    fn random_paths_stay_within_the_range_and_reach_all_of_it() {
        let targets = Targets::template("{0..7}").expect("a range");
        let (mut walk, mut seen) = (Walk::new(Order::Random, 7), [0; 8]);
        for _ in 0..8000 {
            let mut out = Vec::new();
            walk.next(&targets, &mut out);
            seen[usize::from(out[0] - b'0')] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_template_that_is_none_is_refused() {
        for path in ["/{", "/{}", "/{a..b}", "/{5..4}"] {
            assert!(Targets::template(path).is_err(), "{path}");
        }
    }
}
