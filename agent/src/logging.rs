//! The log: structured lines to the journal when systemd gives one, else to standard error.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use systemd_journal_logger::{JournalLog, connected_to_journal};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Sets the log up, once. `RUST_LOG` chooses what is logged, such as `debug` or `info,h2=debug`; `info` by default.
pub(crate) fn set_up() {
    let registry = tracing_subscriber::registry().with(filter(std::env::var("RUST_LOG").ok().as_deref()));
    let journal = connected_to_journal().then(JournalLog::new).and_then(Result::ok);
    let set = match journal {
        Some(journal) => registry.with(JournalLayer(journal.with_syslog_identifier("roadstead-agent".to_owned()))).try_init(),
        None => {
            let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_target(false)).try_init()
        }
    };
    if set.is_err() {
        tracing::debug!("the log was set up before");
    }
}

/// What is logged. A choice that makes no sense is none: the daemon must come up all the same.
fn filter(chosen: Option<&str>) -> Targets {
    chosen.and_then(|text| text.parse().ok()).unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

/// Hands events to the journal with their fields, and those of the spans around them, as journal fields.
struct JournalLayer(JournalLog);

#[derive(Default)]
struct Fields {
    message: String,
    pairs: Vec<(String, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.pairs.push((name.to_owned(), value.to_owned())),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JournalLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields.pairs);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = context.event_scope(event).into_iter().flatten();
        let inherited: Vec<_> =
            spans.flat_map(|span| span.extensions().get::<Vec<(String, String)>>().cloned().unwrap_or_default()).collect();
        fields.pairs.extend(inherited);
        // Shown after the message too, for readers of plain `journalctl`.
        let mut message = std::mem::take(&mut fields.message);
        for (name, value) in &fields.pairs {
            let _ = write!(message, " {name}={value}");
        }
        let pairs: Vec<(&str, &str)> = fields.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut record = log::Record::builder();
        record.level(level(*event.metadata().level())).target(event.metadata().target()).key_values(&pairs);
        // A journal that cannot be written leaves nowhere to say so.
        drop(self.0.journal_send(&record.args(format_args!("{message}")).build()));
    }
}

fn level(level: Level) -> log::Level {
    match level {
        Level::ERROR => log::Level::Error,
        Level::WARN => log::Level::Warn,
        Level::INFO => log::Level::Info,
        Level::DEBUG => log::Level::Debug,
        Level::TRACE => log::Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_can_be_chosen_and_nonsense_changes_nothing() {
        let shown = |chosen, level| filter(chosen).would_enable("roadstead", &level);
        assert!(shown(None, Level::INFO) && !shown(None, Level::DEBUG));
        assert!(shown(Some("debug"), Level::DEBUG));
        assert!(shown(Some("warn,roadstead=trace"), Level::TRACE) && !shown(Some("warn,h2=trace"), Level::INFO));
        assert!(shown(Some("a=b=c"), Level::INFO) && !shown(Some("a=b=c"), Level::DEBUG));
    }
}
