//! Parser of filters. The module above has the grammar.

use super::{
    FilterError,
    expression::{Comparison, Expression, Term},
    field::{Field, FieldHelp, Name, Takes, fields},
    text::{Needle, Pattern},
    value::{Number, Unit},
};

/// Maximum length of a filter in bytes.
pub const MAX_LENGTH: usize = 2_000;
/// Maximum nesting of parentheses and negations, which parsing and evaluation follow by recursion.
const MAX_DEPTH: usize = 32;
/// Maximum number of regular expressions; each has its own memory.
const MAX_PATTERNS: usize = 16;

/// Operators, longer ones first: `>=` is not `>`.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::Compare(Comparison::NotEqual)),
    ("!~", Operator::NotMatches),
    (">=", Operator::Compare(Comparison::GreaterOrEqual)),
    ("<=", Operator::Compare(Comparison::LessOrEqual)),
    // `==` is common in other languages.
    ("==", Operator::Compare(Comparison::Equal)),
    ("=~", Operator::Matches),
    ("=", Operator::Compare(Comparison::Equal)),
    (":", Operator::Has),
    ("~", Operator::Matches),
    (">", Operator::Compare(Comparison::Greater)),
    ("<", Operator::Compare(Comparison::Less)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Has,
    Matches,
    NotMatches,
    Compare(Comparison),
}

/// A value and its place.
struct Value {
    start: usize,
    text: String,
    quoted: bool,
}

pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    let mut parser = Parser { text, at: 0, depth: 0, patterns: 0 };
    if text.len() > MAX_LENGTH {
        let end = text.char_indices().map(|(place, _)| place).take_while(|place| *place <= MAX_LENGTH).last();
        return Err(parser.error(
            end.unwrap_or(0),
            format!("the filter is longer than {MAX_LENGTH} bytes"),
            "shorten it",
        ));
    }
    parser.blanks();
    if parser.rest().is_empty() {
        return Ok(Expression::All(Vec::new()));
    }
    let expression = parser.any()?;
    if parser.rest().is_empty() {
        Ok(expression)
    } else {
        // Everything else is a term.
        Err(parser.error(parser.at, "this `)` has no matching `(`", "remove it, or quote it"))
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    patterns: usize,
}

type Parsed<T> = Result<T, FilterError>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn error(&self, place: usize, problem: impl Into<String>, remedy: impl Into<String>) -> FilterError {
        let column = self.text[..place].chars().count() + 1;
        FilterError { column, problem: problem.into(), remedy: remedy.into() }
    }

    /// Whether this keyword is next, as a word of its own.
    fn is_keyword(&self, word: &str) -> bool {
        let rest = self.rest();
        rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && rest[word.len()..].chars().next().is_none_or(|next| next.is_whitespace() || "()".contains(next))
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = self.is_keyword(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn any(&mut self) -> Parsed<Expression> {
        let mut members = vec![self.all()?];
        while self.sign("||") || self.sign("|") || self.keyword("or") {
            members.push(self.all()?);
        }
        Ok(Expression::group(false, members))
    }

    fn all(&mut self) -> Parsed<Expression> {
        let mut members = vec![self.one()?];
        loop {
            self.blanks();
            let and = self.sign("&&") || self.keyword("and");
            let over = self.rest().is_empty() || self.rest().starts_with(['|', ')']) || self.is_keyword("or");
            if over && !and {
                return Ok(Expression::group(true, members));
            }
            members.push(self.one()?);
        }
    }

    fn one(&mut self) -> Parsed<Expression> {
        self.blanks();
        let start = self.at;
        let Some(first) = self.peek() else {
            return Err(self.error(
                start,
                "an expression is missing here",
                "add a word or a comparison, for example status>=500",
            ));
        };
        let rest = self.rest();
        let negated = match first {
            '!' if rest.starts_with("!=") || rest.starts_with("!~") => return Err(self.no_field(2)),
            '=' | '~' => return Err(self.no_field(1)),
            '!' | '-' => {
                self.at += 1;
                true
            }
            _ => self.keyword("not"),
        };
        if negated {
            self.deeper(start)?;
            let inner = self.one()?;
            self.depth -= 1;
            return Ok(Expression::Not(inner.into()));
        }
        match first {
            '(' => {
                self.deeper(start)?;
                self.at += 1;
                let inner = self.any()?;
                if !self.sign(")") {
                    return Err(self.error(start, "this `(` has no matching `)`", "add the `)`, or quote the `(`"));
                }
                self.depth -= 1;
                Ok(inner)
            }
            '|' | ')' => Err(self.error(
                start,
                format!("an expression is missing before this `{first}`"),
                "add a word or a comparison before it, or quote it",
            )),
            _ if self.is_keyword("or") || self.is_keyword("and") => Err(self.error(
                start,
                "an expression is missing before this word",
                "add a word or a comparison before it, or quote it to search for the text",
            )),
            '>' | '<' => self.quantity(),
            '"' | '\'' => self.word(),
            _ => match self.field()? {
                Some((name, help, operator)) => self.comparison(&name, help, operator),
                None => self.word(),
            },
        }
    }

    fn deeper(&mut self, place: usize) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let problem = format!("more than {MAX_DEPTH} nested parentheses and negations");
            return Err(self.error(place, problem, "simplify the filter"));
        }
        Ok(())
    }

    fn no_field(&self, length: usize) -> FilterError {
        let sign = &self.rest()[..length];
        self.error(
            self.at,
            format!("a field is missing before this `{sign}`"),
            format!("add a field, for example path{sign}/v1, or quote the text to search for it"),
        )
    }

    /// Parses `>1s` or `<=10kB`.
    fn quantity(&mut self) -> Parsed<Expression> {
        let start = self.at;
        let Some(Operator::Compare(comparison)) = self.operator() else { return self.word() };
        self.blanks();
        let value = self.value(false, "duration")?;
        match Unit::of_bare(&value.text) {
            Some((unit, number)) => {
                let field = if unit == Unit::Time { Field::Duration } else { Field::Size };
                Ok(Expression::Term(Term::Compares(field, comparison, unit, vec![number])))
            }
            None => Err(self.error(
                value.start,
                format!("`{}` is neither a time nor a size with a unit", value.text),
                format!(
                    "write {0}500ms for a duration, {0}10kB for a body size, or add a field, for example status{0}{1}",
                    &self.text[start..value.start].trim_end(),
                    Unit::Status.parse(&value.text).map_or("500", |_| &value.text)
                ),
            )),
        }
    }

    fn operator(&mut self) -> Option<Operator> {
        let (_, operator) = OPERATORS.iter().find(|(sign, _)| self.sign(sign))?;
        Some(*operator)
    }

    /// Parses a field with its operator. For a word, consumes nothing and returns `None`.
    fn field(&mut self) -> Parsed<Option<(Name, &'static FieldHelp, Operator)>> {
        let start = self.at;
        let rest = self.rest();
        let name = name_at(rest);
        if name.is_empty() {
            return Ok(None);
        }
        let known = Name::find(name);
        self.at += name.len();
        if known.is_some() {
            // `status >= 500`: a word before an operator is a field.
            let end = self.at;
            self.blanks();
            if self.at > end && !self.rest().starts_with(['=', '~', '<', '>']) && !self.rest().starts_with("!=") {
                self.at = end;
            }
        }
        let Some(operator) = self.operator() else {
            self.at = start;
            return Ok(None);
        };
        if let Some((name, help)) = known {
            return Ok(Some((name, help, operator)));
        }
        if operator == Operator::Has && self.rest().starts_with(|c: char| c.is_ascii_digit() || c == '/') {
            // `localhost:8080`, `http://h/p`.
            self.at = start;
            return Ok(None);
        }
        let hint = match Name::closest(name) {
            Some(closest) => format!("did you mean `{closest}`?"),
            None => format!("the fields are {}.", fields().iter().map(|help| help.name).collect::<Vec<_>>().join(", ")),
        };
        Err(self.error(start, format!("unknown field `{name}`"), format!("{hint} To search for this text, quote it")))
    }

    fn word(&mut self) -> Parsed<Expression> {
        let needles = self.values("")?.iter().map(|value| Needle::new(&value.text)).collect();
        Ok(Expression::Term(Term::Contains(Field::Line, needles)))
    }

    fn comparison(&mut self, name: &Name, help: &'static FieldHelp, operator: Operator) -> Parsed<Expression> {
        let place = self.at;
        self.blanks();
        let typed = help.name;
        let equal = matches!(operator, Operator::Has | Operator::Compare(Comparison::Equal));
        let field = match name {
            Name::Is | Name::Has if !equal => {
                let problem = format!("`{typed}` must be followed by a colon");
                return Err(self.error(place, problem, format!("write {}", help.example)));
            }
            Name::Is => return self.each(typed, Self::flag),
            Name::Has => return self.each(typed, Self::presence),
            Name::Field(field) => field.clone(),
        };
        let unit = match help.takes {
            Takes::Number => Some(Unit::None),
            Takes::Status => Some(Unit::Status),
            Takes::Duration => Some(Unit::Time),
            Takes::Size => Some(Unit::Bytes),
            Takes::Body if matches!(operator, Operator::Compare(_)) => Some(Unit::Bytes),
            _ => None,
        };
        let term = match (operator, unit) {
            (Operator::Matches | Operator::NotMatches, None) => {
                let value = self.value(true, typed)?;
                Term::Matches(field, operator == Operator::Matches, self.pattern(&value)?)
            }
            (Operator::Matches | Operator::NotMatches, Some(_)) => {
                let problem = format!("`{typed}` is a number and cannot be matched with a regular expression");
                return Err(self.error(place, problem, "compare it with =, !=, >, >=, < or <="));
            }
            (Operator::Has, None) => {
                let values = self.values(typed)?;
                self.check(help, &values, |known, text| known.contains(text))?;
                Term::Contains(field, needles(&values))
            }
            (Operator::Compare(comparison @ (Comparison::Equal | Comparison::NotEqual)), None) => {
                let values = self.values(typed)?;
                self.check(help, &values, |known, text| known == text)?;
                Term::Equals(field, comparison == Comparison::Equal, needles(&values))
            }
            (Operator::Compare(_), None) => {
                let problem = format!("`{typed}` is text and has no order");
                return Err(self.error(place, problem, format!("use :, =, != or ~, for example {}", help.example)));
            }
            (operator, Some(unit)) => {
                let comparison = match operator {
                    Operator::Compare(comparison) => comparison,
                    _ => Comparison::Equal,
                };
                Term::Compares(field, comparison, unit, self.numbers(typed, comparison, unit)?)
            }
        };
        Ok(Expression::Term(term))
    }

    /// Joins alternatives.
    fn each(&mut self, typed: &str, meaning: impl Fn(&Self, &Value) -> Parsed<Term>) -> Parsed<Expression> {
        let place = self.at;
        let values = self.values(typed)?;
        let members: Parsed<Vec<Expression>> =
            values.iter().map(|value| meaning(self, value).map(Expression::Term)).collect();
        if values.len() > 1 {
            // The group is written in parentheses.
            self.deeper(place)?;
            self.depth -= 1;
        }
        Ok(Expression::group(false, members?))
    }

    fn flag(&self, value: &Value) -> Parsed<Term> {
        value.text.parse().map(Term::Is).map_err(|_| {
            let known = Name::find("is").map_or_else(String::new, |(_, help)| help.values.join(", "));
            self.error(value.start, format!("unknown value `{}`", value.text), format!("use one of: {known}"))
        })
    }

    fn presence(&self, value: &Value) -> Parsed<Term> {
        if let Some((Name::Field(field), _)) = Name::find(&value.text) {
            return Ok(Term::Has(field));
        }
        let closest = Name::closest(&value.text).unwrap_or("incident");
        let problem = format!("unknown field `{}`", value.text);
        Err(self.error(value.start, problem, format!("use the name of a field, for example has:{closest}")))
    }

    fn pattern(&mut self, value: &Value) -> Parsed<Pattern> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            let problem = format!("more than {MAX_PATTERNS} regular expressions");
            return Err(self.error(value.start, problem, "combine some with `|`, or use `:`"));
        }
        Pattern::new(&value.text).map_err(|(problem, place)| {
            let start = value.start + usize::from(value.quoted);
            // In a quoted value with escapes, the place is approximate.
            let place = self.text[start..].char_indices().nth(place).map_or(start, |(place, _)| start + place);
            self.error(place, problem, "correct it, or use `:` to search for the literal text")
        })
    }

    fn check(&self, help: &FieldHelp, values: &[Value], fits: impl Fn(&str, &str) -> bool) -> Parsed<()> {
        let wrong = |value: &&Value| {
            let text = value.text.to_ascii_lowercase();
            !help.values.is_empty() && !help.values.iter().any(|known| fits(known, &text))
        };
        match values.iter().find(wrong) {
            None => Ok(()),
            Some(value) => Err(self.error(
                value.start,
                format!("`{}` is not a valid {}", value.text, help.name),
                format!("use one of: {}", help.values.join(", ")),
            )),
        }
    }

    fn numbers(&mut self, typed: &str, comparison: Comparison, unit: Unit) -> Parsed<Vec<Number>> {
        let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let values = self.values(typed)?;
        if let (true, Some(second)) = (ordered, values.get(1)) {
            return Err(self.error(
                second.start,
                "an order comparison with several numbers",
                "use one number, or = or \
                !=",
            ));
        }
        let number = |value: &Value| match unit.parse(&value.text) {
            Some(Number::Class(class)) if ordered => Err(self.error(
                value.start,
                format!("`{}` is a class of statuses and has no order", value.text),
                format!("write {class}00 or {class}99, or use = or !="),
            )),
            Some(number) => Ok(number),
            None => Err(self.error(
                value.start,
                format!("`{}` is not a valid value for `{typed}`", value.text),
                unit.wanted(),
            )),
        };
        values.iter().map(number).collect()
    }

    /// Parses values separated by `|`.
    fn values(&mut self, field: &str) -> Parsed<Vec<Value>> {
        let mut values = vec![self.value(false, field)?];
        loop {
            // Next to a blank or a parenthesis it separates terms.
            let mut following = self.rest().chars();
            let joined = following.next() == Some('|')
                && following.next().is_some_and(|next| !next.is_whitespace() && !"|()".contains(next));
            if !joined {
                return Ok(values);
            }
            self.at += 1;
            let name = name_at(self.rest());
            let after = &self.rest()[name.len()..];
            if Name::find(name).is_some() && OPERATORS.iter().any(|(sign, _)| after.starts_with(sign)) {
                return Err(self.error(
                    self.at - 1,
                    "`|` without blanks separates the values of one field",
                    "put blanks around it, or write `or`",
                ));
            }
            values.push(self.value(false, field)?);
        }
    }

    /// Parses a quoted text, or text up to the next blank.
    fn value(&mut self, pattern: bool, field: &str) -> Parsed<Value> {
        let start = self.at;
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            self.at += 1;
            let text = self.quoted(quote, start)?;
            let joined = |next: char| next.is_whitespace() || "|)".contains(next);
            if self.peek().is_some_and(|next| !joined(next)) {
                return Err(self.error(self.at, "text directly after the closing quote", "add a blank between them"));
            }
            return Ok(Value { start, text, quoted: true });
        }
        let text = &self.rest()[..bare_length(self.rest(), pattern)];
        if text.is_empty() {
            let example = Name::find(field).map_or("status>=500", |(_, help)| help.example);
            return Err(self.error(start, "a value is missing here", format!("add a value, for example {example}")));
        }
        self.at += text.len();
        Ok(Value { start, text: text.to_owned(), quoted: false })
    }

    fn quoted(&mut self, quote: char, start: usize) -> Parsed<String> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((place, next)) = chars.next() {
            match next {
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\'' | '\\'))) => text.push(escaped),
                    // Regular expressions contain many backslashes.
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                _ if next == quote => {
                    self.at += place + quote.len_utf8();
                    return Ok(text);
                }
                _ => text.push(next),
            }
        }
        Err(self.error(start, "this quote is not closed", format!("add a {quote} at the end of the text")))
    }
}

fn needles(values: &[Value]) -> Vec<Needle> {
    values.iter().map(|value| Needle::new(&value.text)).collect()
}

/// The prefix of `text` that may be the name of a field.
fn name_at(text: &str) -> &str {
    if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return "";
    }
    &text[..text.find(|c: char| !c.is_ascii_alphanumeric() && !".-_".contains(c)).unwrap_or(text.len())]
}

/// Length up to a blank, an unbalanced `)`, or, outside regular expressions, a `|`.
fn bare_length(text: &str, pattern: bool) -> usize {
    let mut open = 0_usize;
    let mut in_class = false;
    let mut escaped = false;
    for (place, next) in text.char_indices() {
        if next.is_whitespace() {
            return place;
        }
        if pattern && (escaped || next == '\\') {
            escaped = !escaped;
            continue;
        }
        match next {
            '[' | ']' if pattern => in_class = next == '[',
            _ if in_class => {}
            '|' if !pattern => return place,
            '(' => open += 1,
            ')' if open == 0 => return place,
            ')' => open -= 1,
            _ => {}
        }
    }
    text.len()
}
