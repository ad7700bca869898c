//! Expression of a filter, and its text form.

use std::fmt;

use strum::IntoStaticStr;

use super::{
    field::{Field, Flag},
    text::{Needle, Pattern, Typed},
    value::{Number, Unit},
};

/// An expression. A group contains no group of its own kind, and has two members or more. Only the filter that accepts everything
/// is an empty [`Expression::All`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Term(Term),
}

/// A test of one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Is(Flag),
    Has(Field),
    /// The field contains one of the texts.
    Contains(Field, Vec<Needle>),
    /// The field equals one of the texts; with `false`, none of them.
    Equals(Field, bool, Vec<Needle>),
    /// The field matches; with `false`, it does not match.
    Matches(Field, bool, Pattern),
    /// The field compares with one of the numbers. Only equality has several numbers.
    Compares(Field, Comparison, Unit, Vec<Number>),
}

/// Comparison of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub(super) enum Comparison {
    #[strum(serialize = "=")]
    Equal,
    #[strum(serialize = "!=")]
    NotEqual,
    #[strum(serialize = "<")]
    Less,
    #[strum(serialize = "<=")]
    LessOrEqual,
    #[strum(serialize = ">")]
    Greater,
    #[strum(serialize = ">=")]
    GreaterOrEqual,
}

impl Expression {
    /// Joins members with `and` or `or`, and merges nested groups of the same kind.
    pub(super) fn group(all: bool, members: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(members.len());
        for member in members {
            match member {
                Self::All(inner) if all => flat.extend(inner),
                Self::Any(inner) if !all => flat.extend(inner),
                member => flat.push(member),
            }
        }
        match flat.len() {
            1 => flat.remove(0),
            _ if all => Self::All(flat),
            _ => Self::Any(flat),
        }
    }

    /// Same expression with the cheapest members first.
    pub(super) fn planned(mut self) -> Self {
        match &mut self {
            Self::All(members) | Self::Any(members) => {
                *members = std::mem::take(members).into_iter().map(Self::planned).collect();
                members.sort_by_key(Self::cost);
            }
            Self::Not(inner) => {
                let plan = std::mem::replace(&mut **inner, Self::All(Vec::new())).planned();
                **inner = plan;
            }
            Self::Term(_) => {}
        }
        self
    }

    fn cost(&self) -> u32 {
        match self {
            Self::All(members) | Self::Any(members) => members.iter().map(Self::cost).sum(),
            Self::Not(inner) => inner.cost(),
            Self::Term(term) => term.cost(),
        }
    }
}

impl Term {
    /// Estimated cost in nanoseconds.
    fn cost(&self) -> u32 {
        let text = |field: &Field| match field {
            Field::Method | Field::Process | Field::Outcome | Field::Role | Field::Quality | Field::Protocol => 10,
            Field::Path | Field::Local | Field::Remote | Field::Error => 30,
            Field::Body(_) => 10_000,
            _ => 60,
        };
        match self {
            Self::Is(_) | Self::Compares(..) => 5,
            Self::Has(Field::Header(..)) => 60,
            Self::Has(_) => 10,
            Self::Contains(field, _) | Self::Equals(field, ..) => text(field),
            Self::Matches(field, ..) => text(field) + 50,
        }
    }
}

impl Comparison {
    fn sign(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(members) => separated(f, members, " ", |f, member| match member {
                Self::Any(_) => write!(f, "({member})"),
                member => member.fmt(f),
            }),
            Self::Any(members) => separated(f, members, " or ", |f, member| member.fmt(f)),
            Self::Not(inner) => match &**inner {
                Self::All(_) | Self::Any(_) => write!(f, "not ({inner})"),
                inner => write!(f, "not {inner}"),
            },
            Self::Term(term) => term.fmt(f),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = |f: &mut fmt::Formatter<'_>, needles: &[Needle]| {
            separated(f, needles, "|", |f, needle| Typed(needle.text()).fmt(f))
        };
        match self {
            Self::Is(flag) => write!(f, "is:{}", flag.name()),
            Self::Has(field) => write!(f, "has:{}", field.name()),
            Self::Contains(Field::Line, needles) => texts(f, needles),
            Self::Contains(field, needles) => {
                write!(f, "{}:", field.name())?;
                texts(f, needles)
            }
            Self::Equals(field, wanted, needles) => {
                write!(f, "{}{}", field.name(), if *wanted { "=" } else { "!=" })?;
                texts(f, needles)
            }
            Self::Matches(field, wanted, pattern) => {
                write!(f, "{}{}{}", field.name(), if *wanted { "~" } else { "!~" }, Typed(pattern.text()))
            }
            Self::Compares(field, comparison, unit, numbers) => {
                write!(f, "{}{}", field.name(), comparison.sign())?;
                separated(f, numbers, "|", |f, number| unit.show(*number).fmt(f))
            }
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
    show: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        show(f, item)?;
    }
    Ok(())
}
