//! One step of a longer operation, shown while it runs and summed up when it is done.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

use super::{Output, took};

/// A step that runs. Dropped without [`Step::done`] it leaves no trace: the failure is told elsewhere.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    output: &'a Output,
    name: &'static str,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl<'a> Step<'a> {
    pub(super) fn begin(output: &'a Output, name: &'static str) -> Self {
        let bar = output.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:12} {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar.set_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { output, name, begun: Instant::now(), bar }
    }

    /// Ends the step with one line about what it did; tells how long it took.
    pub(crate) fn done(self, what: &str) -> Duration {
        let spent = self.begun.elapsed();
        self.clear();
        self.output.note(&format!("{} {:12} {what}  ({})", self.output.paint("32", "✓"), self.name, took(spent)));
        spent
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Bytes on their way.
#[derive(Debug, Clone)]
pub(crate) struct Bytes(Option<ProgressBar>);

impl Bytes {
    pub(super) fn begin(output: &Output, name: &'static str, total: u64) -> Self {
        Self(output.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let template = "{prefix:8} [{bar:24}]  {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("#>-"));
            }
            bar.set_prefix(name);
            bar
        }))
    }

    /// So many more.
    pub(crate) fn more(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
