//! Screens that are not shown yet.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context as _, bail};
use tokio::sync::mpsc::unbounded_channel;

use super::{draw::Drawing, recorded::Recorded, running::Running, shared::Shared, terminal::Screen};
use crate::{
    app::{tty, user::UserThread},
    cli::{OutputArgs, ThemeChoice},
    host::confine::{self, Duty},
    store::{Store, StoreOptions},
    text::redact::MarkKey,
    tui::{Palette, Ui, UiOptions},
};

/// See the module.
pub(in crate::app) struct Planned {
    pub(in crate::app) shared: Arc<Shared>,
    options: UiOptions,
}

/// Prepares screens.
///
/// # Errors
///
/// Without a terminal that can show screens.
pub(in crate::app) fn plan(args: &OutputArgs, utc_offset_s: i32, mark_key: MarkKey) -> anyhow::Result<Planned> {
    if !tty::has_screens() {
        bail!("cannot show screens: standard output is not a suitable terminal; use `-o line` or `-o json`");
    }
    let options = UiOptions {
        palette: palette(args.theme),
        utc_offset_s,
        show_secrets: args.show_secrets,
        mark_key: Some(mark_key),
        filter: args.filter.as_ref().map_or_else(String::new, |filter| filter.text().to_owned()),
    };
    let shared = Shared { store: Mutex::new(Store::new(StoreOptions::default())), ..Shared::default() };
    Ok(Planned { shared: Arc::new(shared), options })
}

fn palette(choice: ThemeChoice) -> Palette {
    if tty::is_without_colours() {
        return Palette::None;
    }
    match choice {
        ThemeChoice::Dark => Palette::Dark,
        ThemeChoice::Light => Palette::Light,
        ThemeChoice::None => Palette::None,
        ThemeChoice::Auto => {
            // `foreground;background`, as rxvt, Konsole and others set it; 7 and 15 are the white ones.
            let colours = std::env::var("COLORFGBG").unwrap_or_default();
            match colours.rsplit(';').next() {
                Some("7" | "15") => Palette::Light,
                _ => Palette::Dark,
            }
        }
    }
}

impl Planned {
    /// Takes the terminal, and begins to draw. `recording` is the name of the recording that is replayed.
    ///
    /// # Errors
    ///
    /// Those of the terminal.
    pub(in crate::app) fn start(self, recording: Option<String>, recorded: Recorded) -> anyhow::Result<Running> {
        let user = UserThread::start()
            .context("cannot start the thread for the pager; check the limit on processes (`ulimit -u`)")?;
        let screen = Screen::enter().context("cannot show screens on this terminal; use `-o line`")?;
        self.shared.messages.show();
        let (sender, over) = unbounded_channel();
        // From here on, an error gives the terminal back.
        let mut running = Running::new(Arc::clone(&self.shared), over);
        let drawing = Drawing {
            ui: Ui::new(&self.options),
            shared: self.shared,
            screen,
            recording,
            recorded,
            user,
            shown_lines: 0,
            over: sender,
        };
        let thread = thread::Builder::new()
            .name("pidtap-screen".to_owned())
            .spawn(move || {
                confine::enter(Duty::Screens)?;
                drawing.run()
            })
            .context("cannot start the drawing thread; check the limit on processes (`ulimit -u`)")?;
        running.set_thread(thread);
        Ok(running)
    }
}
