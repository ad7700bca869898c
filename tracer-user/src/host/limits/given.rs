//! Original values of the limits that pidtap raised.

use std::{fmt, io, str::FromStr};

use rustix::process::getrlimit;

use super::{Limit, set, soft};

/// Original soft limits. Form for the command line: `n=20,s=65536`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(Vec<(Limit, u64)>);

impl Given {
    /// Raises a soft limit to `wanted`, or as close as the hard limit permits. Returns the resulting soft limit; `None`
    /// if there is no limit.
    pub(super) fn raise(&mut self, limit: Limit, wanted: u64) -> Option<u64> {
        let current = soft(limit)?;
        let most = getrlimit(limit.resource()).maximum.map_or(wanted, |hard| hard.min(wanted));
        if most <= current || set(limit, Some(most)).is_err() {
            return Some(current);
        }
        if !self.0.iter().any(|(known, _)| *known == limit) {
            self.0.push((limit, current));
        }
        Some(most)
    }

    /// Whether no limit was raised.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Restores the original limits. Call this only right before `exec`.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn restore(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|(limit, value)| set(*limit, Some(*value)))
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (limit, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}={value}", limit.option())?;
        }
        Ok(())
    }
}

impl FromStr for Given {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = |part: &str| {
            let (option, value) = part.split_once('=')?;
            let limit = Limit::ALL.into_iter().find(|limit| option == limit.option().to_string())?;
            Some((limit, value.parse().ok()?))
        };
        let all: Option<Vec<_>> = text.split(',').map(one).collect();
        all.map(Self).ok_or("not a list of limits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_back_from_a_command_line() {
        let given = Given(vec![(Limit::Files, 20), (Limit::Stack, 65_536), (Limit::AddressSpace, 1)]);
        assert_eq!(given.to_string(), "n=20,s=65536,v=1");
        assert_eq!(given.to_string().parse(), Ok(given));
        for wrong in ["", "n", "n=", "x=1", "n=-1", "n=1,", "nn=1"] {
            assert!(wrong.parse::<Given>().is_err(), "{wrong}");
        }
    }
}
