//! The object of an incident.

use super::{ObjectWriter, connection, escape, number, process, raw};
use crate::analysis::detector::{Incident, Value};

impl ObjectWriter {
    pub(super) fn incident(&mut self, out: &mut Vec<u8>, incident: &Incident) {
        let report = &incident.report;
        raw(out, r#"{"type":"incident","id":"#);
        number(out, incident.id.0);
        raw(out, r#","kind":""#);
        raw(out, incident.kind().name());
        raw(out, r#"","state":""#);
        raw(out, incident.state.name());
        raw(out, r#"","title":"#);
        // In UTC, as all times in JSON.
        let clock = |time| format!("{}Z", self.clock.time_of_day(time));
        escape::string(out, &report.evidence.timed_title(self.redactor, &clock));
        raw(out, r#","exchanges":["#);
        for (index, exchange) in report.exchanges.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            number(out, exchange.0);
        }
        raw(out, r#"],"evidence":"#);
        self.value(out, &Value::Object(report.evidence.facts(self.redactor)));
        raw(out, r#","confidence":{"level":""#);
        raw(out, report.confidence.level());
        raw(out, r#"","explicit":"#);
        self.value(out, &Value::list(&report.confidence.explicit, |why| (*why).into()));
        raw(out, r#","inferred":"#);
        self.value(out, &Value::list(&report.confidence.inferred, |why| (*why).into()));
        raw(out, r#"},"advice":"#);
        escape::string(out, &report.evidence.advice());
        raw(out, r#","opened":"#);
        self.time(out, incident.opened);
        raw(out, r#","updated":"#);
        self.time(out, incident.updated);
        raw(out, r#","closed":"#);
        self.value(out, &Value::from(incident.closed));
        raw(out, r#","process":"#);
        process(out, &report.process);
        raw(out, r#","connection":"#);
        match &report.connection {
            Some(info) => connection(out, info, self.redactor),
            None => raw(out, "null"),
        }
        out.push(b'}');
    }

    fn value(&mut self, out: &mut Vec<u8>, value: &Value) {
        match value {
            Value::Null => raw(out, "null"),
            Value::Flag(flag) => raw(out, if *flag { "true" } else { "false" }),
            Value::Count(count) => number(out, *count),
            Value::Decimal(decimal) => raw(out, &format!("{:?}", (decimal * 1e3).round() / 1e3)),
            Value::Text(text) => escape::string(out, text),
            Value::Time(time) => self.time(out, *time),
            Value::List(values) => {
                out.push(b'[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.value(out, value);
                }
                out.push(b']');
            }
            Value::Object(facts) => {
                out.push(b'{');
                for (index, (name, value)) in facts.iter().enumerate() {
                    raw(out, if index == 0 { "\"" } else { ",\"" });
                    raw(out, name);
                    raw(out, "\":");
                    self.value(out, value);
                }
                out.push(b'}');
            }
        }
    }
}
