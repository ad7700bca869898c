//! `pidtap detectors`: lists the detectors and their thresholds.

use std::io::{self, Write};

use super::Exit;
use crate::{
    analysis::detector::{DetectorOptions, Kind},
    cli::{self, Format},
};

/// Prints the list.
pub(super) fn list(args: &cli::Detectors) -> anyhow::Result<Exit> {
    let options = args.detect.options();
    let mut out = io::stdout().lock();
    match args.output {
        Some(Format::Json) => as_json(&mut out, &options)?,
        Some(Format::Line | Format::Tui) | None => as_text(&mut out, &options)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn as_text(out: &mut impl Write, options: &DetectorOptions) -> io::Result<()> {
    for (index, kind) in Kind::ALL.iter().enumerate() {
        let about = kind.about();
        let off = if options.is_on(*kind) { "" } else { " (off)" };
        let gap = if index == 0 { "" } else { "\n" };
        writeln!(out, "{gap}{}{off}: {}", kind.name(), about.looks_for)?;
        writeln!(out, "  example: {}", about.example)?;
        let thresholds = options.thresholds(*kind).list();
        let width = thresholds.iter().map(|threshold| threshold.name.len() + threshold.value.len() + 1).max();
        for threshold in &thresholds {
            let setting = format!("{}={}", threshold.name, threshold.value);
            writeln!(out, "  {setting:<width$}  {}", threshold.what, width = width.unwrap_or(0))?;
        }
    }
    writeln!(out, "\nTo change these settings, use --detector NAME=off or --detector NAME.THRESHOLD=VALUE.")
}

fn as_json(out: &mut impl Write, options: &DetectorOptions) -> io::Result<()> {
    for kind in Kind::ALL {
        let about = kind.about();
        let thresholds: Vec<_> = options
            .thresholds(*kind)
            .list()
            .into_iter()
            .map(|threshold| {
                serde_json::json!({ "name": threshold.name, "value": threshold.value, "what": threshold.what })
            })
            .collect();
        let detector = serde_json::json!({
            "type": "detector",
            "kind": kind.name(),
            "on": options.is_on(*kind),
            "looks_for": about.looks_for,
            "example": about.example,
            "thresholds": thresholds,
        });
        writeln!(out, "{detector}")?;
    }
    Ok(())
}
