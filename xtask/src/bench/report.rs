//! The targets and what was measured.

/// One line each: what, measured, target.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Line>);

#[derive(Debug)]
struct Line {
    what: String,
    measured: f64,
    limit: f64,
    unit: &'static str,
}

impl Table {
    /// Adds a figure that must not be above its limit.
    pub(crate) fn at_most(&mut self, what: &str, measured: f64, limit: f64, unit: &'static str) {
        self.0.push(Line {
            what: what.to_owned(),
            measured,
            limit,
            unit,
        });
    }

    /// Adds a figure that must not be below its limit.
    pub(crate) fn at_least(&mut self, what: &str, measured: f64, limit: f64) {
        // As a ratio that may not be above 1.
        self.at_most(
            &format!("{what} ({measured:.2}, at least {limit})"),
            limit / measured,
            1.0,
            "x",
        );
    }

    /// Prints all lines.
    pub(crate) fn print(&self) {
        println!("\n{:<58} {:>10} {:>10}", "target", "measured", "at most");
        for line in &self.0 {
            let verdict = if line.measured <= line.limit {
                "reached"
            } else {
                "NOT reached"
            };
            println!(
                "{:<58} {:>8.2} {:<3} {:>6.2}  {verdict}",
                line.what, line.measured, line.unit, line.limit
            );
        }
    }
}
