//! Progress of downloads: bars on a terminal, one line for each download elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Mutex;

use fetch::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Digits of a digest that people are shown.
const SHOWN: usize = 12;
const BAR: &str = "{prefix} [{bar:30}] {bytes}/{total_bytes}";
const TOTAL: &str = "{prefix} {bytes}/{total_bytes} ({binary_bytes_per_sec})";
const UNKNOWN: &str = "{prefix} {bytes} ({binary_bytes_per_sec})";

/// One bar for each download, and a total of them.
pub(crate) struct Bars {
    /// None where nobody watches.
    terminal: Option<MultiProgress>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    bars: HashMap<String, Option<(ProgressBar, u64)>>,
    total: Option<ProgressBar>,
}

impl Bars {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            terminal: terminal.then(MultiProgress::new),
            known: Mutex::default(),
        }
    }

    fn begin(&self, known: &mut Known, kind: &str, name: &str, total: Option<u64>) {
        let short = name.get(..SHOWN).unwrap_or(name);
        let Some(terminal) = &self.terminal else {
            // As the original said it.
            super::err(&format!("Downloading {kind}: {name}\n"));
            known.bars.insert(name.to_owned(), None);
            return;
        };
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ")
        };
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style(BAR)),
            None => ProgressBar::no_length().with_style(style(UNKNOWN)),
        };
        let bar = bar.with_prefix(format!("Downloading {kind}: {short}"));
        let bar = terminal.insert(known.bars.len(), bar);
        known.bars.insert(name.to_owned(), Some((bar, 0)));
        let sum = known.total.get_or_insert_with(|| {
            let sum = ProgressBar::new(0).with_style(style(TOTAL));
            terminal.add(sum.with_prefix("Total"))
        });
        sum.inc_length(total.unwrap_or(0));
    }
}

impl Progress for Bars {
    fn update(&self, kind: &'static str, name: &str, bytes: u64, total: Option<u64>) {
        let Ok(mut known) = self.known.lock() else {
            return;
        };
        if !known.bars.contains_key(name) {
            self.begin(&mut known, kind, name, total);
        }
        let sum = known.total.clone();
        if let Some(Some((bar, shown))) = known.bars.get_mut(name) {
            if let Some(sum) = sum {
                sum.inc(bytes.saturating_sub(*shown));
            }
            *shown = bytes;
            bar.set_position(bytes);
            if Some(bytes) == total {
                bar.abandon();
            }
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Ok(known) = self.known.get_mut()
            && let Some(sum) = &known.total
        {
            sum.abandon();
        }
    }
}
