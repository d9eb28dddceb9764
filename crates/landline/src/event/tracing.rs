//! Events for the `tracing` ecosystem.

use super::{Event, Subscriber};

/// Hands every event to `tracing`, under the target `landline`, as text with the event's name: trouble as
/// warnings, the rest as information, what concerns a single caller as debugging.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tracing;

impl Subscriber for Tracing {
    fn event(&self, event: &Event) {
        let name = event.name();
        match event {
            Event::ResourcesExhausted { .. }
            | Event::BacklogLowered { .. }
            | Event::CertificatesRefused { .. } => {
                tracing::warn!(target: "landline", event = name, "{event}");
            }
            _ if event.is_per_connection() => tracing::debug!(target: "landline", event = name, "{event}"),
            _ => tracing::info!(target: "landline", event = name, "{event}"),
        }
    }
}
