//! Ready is only who can take spans: not with a queue that has no room, or whose disk fails.

use super::Collector;
use crate::config::Id;

impl Collector {
    /// Looks at the queues of all exporters that serve. To be called now and then.
    pub fn watch_queues(&self) {
        for (id, serving) in &self.exporters {
            match serving.exporter.queue().trouble() {
                Some(trouble) => self.readiness.hold(&who(id), &trouble.to_string()),
                None => self.readiness.release(&who(id)),
            }
        }
    }

    /// An exporter serves no more, whatever its queue holds.
    pub(super) fn forget_queue(&self, id: &Id) {
        self.readiness.release(&who(id));
    }
}

fn who(exporter: &Id) -> String {
    format!("exporter {exporter}")
}
