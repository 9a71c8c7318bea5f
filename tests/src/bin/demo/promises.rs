//! What the demonstration promises, and whether it held.

use crate::screen::Screen;

/// Promises and how they fared.
#[derive(Default)]
pub struct Promises {
    kept: Vec<(bool, String)>,
}

impl Promises {
    /// Notes a promise.
    pub fn note(&mut self, kept: bool, text: impl Into<String>) {
        self.kept.push((kept, text.into()));
    }

    /// Shows them all and says whether every one was kept.
    pub fn verdict(&self, screen: &mut Screen) -> bool {
        screen.title("Promises");
        for (kept, text) in &self.kept {
            screen.verdict(*kept, text);
        }
        let all = !self.kept.is_empty() && self.kept.iter().all(|(kept, _)| *kept);
        screen.say(if all { "demo: ok" } else { "demo: failed" });
        all
    }
}
