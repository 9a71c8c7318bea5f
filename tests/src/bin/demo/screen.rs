//! Where things are shown: on a terminal with a part that is drawn anew, elsewhere as plain lines.

use std::io::{IsTerminal as _, Write as _, stdout};

/// Stdout.
pub struct Screen {
    terminal: bool,
    live: usize,
}

impl Screen {
    /// The screen that stdout is.
    pub fn new() -> Self {
        Self { terminal: stdout().is_terminal(), live: 0 }
    }

    /// Says something that stays.
    pub fn say(&mut self, text: &str) {
        self.wipe();
        println!("{text}");
    }

    /// Says what comes now.
    pub fn title(&mut self, text: &str) {
        let text = if self.terminal { format!("\n\x1b[1m{text}\x1b[0m") } else { format!("\n== {text}") };
        self.say(&text);
    }

    /// Says how a promise fared.
    pub fn verdict(&mut self, kept: bool, text: &str) {
        let word = match (kept, self.terminal) {
            (true, true) => "\x1b[32mkept\x1b[0m  ",
            (false, true) => "\x1b[31mBROKEN\x1b[0m",
            (true, false) => "kept  ",
            (false, false) => "BROKEN",
        };
        self.say(&format!("  {word} {text}"));
    }

    /// Shows lines until the next thing is shown; on no terminal they are not shown at all.
    pub fn live(&mut self, lines: &[String]) {
        if !self.terminal {
            return;
        }
        self.wipe();
        for line in lines {
            println!("{line}");
        }
        self.live = lines.len();
        let _ = stdout().flush();
    }

    fn wipe(&mut self) {
        if self.live > 0 {
            print!("\x1b[{}A\x1b[J", self.live);
            self.live = 0;
        }
    }
}

/// How many characters fit beside each other.
pub fn width() -> usize {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes to the place given and keeps no reference.
    let known = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) == 0 };
    if known && size.ws_col > 0 { usize::from(size.ws_col) } else { 120 }
}
