//! Switches of detectors and values of thresholds, as text: `retry=off`, `retry.window=30s`.

use thiserror::Error;

use super::{DetectorOptions, Kind};

/// Switch and thresholds of a detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned<T> {
    /// Whether the detector is on.
    pub on: bool,
    /// Thresholds of the detector.
    pub thresholds: T,
}

impl<T: Default> Default for Tuned<T> {
    fn default() -> Self {
        Self { on: true, thresholds: T::default() }
    }
}

/// Error of [`DetectorOptions::tune`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TuneError {
    /// The text is neither `NAME=on|off` nor `NAME.THRESHOLD=VALUE`.
    #[error(
        "expected NAME=on, NAME=off or NAME.THRESHOLD=VALUE, for example retry=off; `pidtap detectors` lists all \
         detectors and thresholds"
    )]
    Form,
    /// The detector does not exist.
    #[error("unknown detector {0:?}; `pidtap detectors` lists all detectors")]
    Detector(String),
    /// The detector has no such threshold.
    #[error("detector {0} has no threshold {1:?}; `pidtap detectors` lists all thresholds")]
    Threshold(&'static str, String),
    /// The value is invalid: value, threshold, expected form.
    #[error("invalid value {0:?} for {1}: {2}")]
    Value(String, String, String),
}

/// Name that refers to all detectors.
const ALL: &str = "all";

impl DetectorOptions {
    /// Applies a setting in text form.
    ///
    /// # Errors
    ///
    /// [`TuneError`] if the text is not a valid setting.
    pub fn tune(&mut self, text: &str) -> Result<(), TuneError> {
        let (name, value) = text.split_once('=').ok_or(TuneError::Form)?;
        let find = |name: &str| Kind::ALL.iter().copied().find(|kind| kind.name() == name);
        if let Some((name, threshold)) = name.split_once('.') {
            let kind = find(name).ok_or_else(|| TuneError::Detector(name.to_owned()))?;
            return match self.thresholds_mut(kind).set(threshold, value) {
                Ok(true) => Ok(()),
                Ok(false) => Err(TuneError::Threshold(kind.name(), threshold.to_owned())),
                Err(needed) => Err(TuneError::Value(value.to_owned(), format!("{name}.{threshold}"), needed)),
            };
        }
        let on = match value {
            "on" => true,
            "off" => false,
            _ => return Err(TuneError::Form),
        };
        if name == ALL {
            for kind in Kind::ALL {
                self.switch(*kind, on);
            }
            return Ok(());
        }
        self.switch(find(name).ok_or_else(|| TuneError::Detector(name.to_owned()))?, on);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detectors_are_switched_and_tuned_by_name() {
        let mut options = DetectorOptions::default();
        assert_eq!(options.tune("retry=off"), Ok(()));
        assert!(!options.is_on(Kind::Retry));
        assert_eq!(options.tune("all=on"), Ok(()));
        assert!(options.is_on(Kind::Retry));
        assert_eq!(options.tune("retry.window=90s"), Ok(()));
        assert_eq!(options.retry.thresholds.window, std::time::Duration::from_secs(90));
        let refused = |text: &str| options.clone().tune(text).expect_err("no such thing").to_string();
        assert!(refused("retry").contains("retry=off"));
        assert!(refused("retry=maybe").contains("NAME=on"));
        assert!(refused("retries=off").contains("unknown detector \"retries\""));
        assert!(refused("retry.windows=1s").contains("no threshold \"windows\""));
        assert!(refused("retry.window=soon").contains("expected a time"));
    }

    #[test]
    fn every_threshold_can_be_set_to_what_it_is() {
        let mut options = DetectorOptions::default();
        for kind in Kind::ALL {
            for threshold in options.thresholds(*kind).list() {
                assert!(!threshold.what.is_empty());
                let text = format!("{}.{}={}", kind.name(), threshold.name, threshold.value);
                assert_eq!(options.tune(&text), Ok(()), "{text}");
            }
            let about = kind.about();
            assert!(!about.looks_for.is_empty() && !about.example.is_empty());
        }
        assert_eq!(options, DetectorOptions::default());
    }
}
