//! Messages of panics. They may quote foreign text: a slice at an invalid index quotes the whole string.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, Write as _},
    panic::{self, PanicHookInfo},
    thread,
};

use crate::text::escape::Visible;

/// Makes panics print their message through [`Visible`].
pub fn show_harmless() {
    panic::set_hook(Box::new(|information| {
        // The reader may be gone.
        let _ = io::stderr().lock().write_all(text(information).as_bytes());
    }));
}

fn text(information: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = information.location().map_or_else(String::new, |place| format!(" at {place}"));
    let message = information.payload_as_str().unwrap_or("no message");
    let backtrace = Backtrace::capture();
    let trace = match backtrace.status() {
        BacktraceStatus::Captured => backtrace.to_string(),
        _ => "set RUST_BACKTRACE=1 to see a backtrace\n".to_owned(),
    };
    format!(
        "pidtap: thread {} panicked{place}: {}; this is a bug in pidtap, please report it\n{trace}",
        Visible(name),
        Visible(message)
    )
}
