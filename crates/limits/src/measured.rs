//! What `tasker bench --json` and the peer's harness print: one JSON document, flat.

use serde_json::Value;

use crate::figures::Figures;

/// One run.
#[derive(Debug, PartialEq)]
pub struct Measured {
    /// Figures by name.
    pub numbers: Vec<(String, f64)>,
    /// Why they do not count.
    pub void: Option<String>,
}

impl Measured {
    /// Reads the document among what a program printed: the last line that begins with a brace.
    ///
    /// # Errors
    /// If there is none, or it does not say whether it counts.
    pub fn read(printed: &str) -> Result<Self, String> {
        let line = printed.lines().rfind(|line| line.starts_with('{'));
        let line = line.ok_or_else(|| {
            let last = printed.lines().rfind(|line| !line.trim().is_empty());
            format!("it printed no figures: {}", last.unwrap_or("nothing"))
        })?;
        let document: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let void = match &document["void"] {
            Value::Null if document.get("void").is_some() => None,
            Value::String(why) => Some(why.clone()),
            _ => return Err("it does not say whether its figures count".to_owned()),
        };
        let fields = document.as_object().into_iter().flatten();
        let numbers = fields.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        Ok(Self {
            numbers: numbers.collect(),
            void,
        })
    }
}

impl Figures {
    /// Adds a run under a name: `<name>.<figure>`, or that it is void.
    ///
    /// # Panics
    /// If no round has begun or it has such a run.
    pub fn take(&mut self, name: &str, run: Result<Measured, String>) {
        match run {
            Ok(Measured {
                numbers,
                void: None,
            }) => {
                for (figure, value) in numbers {
                    self.add(format!("{name}.{figure}"), value);
                }
            }
            Ok(Measured {
                void: Some(why), ..
            })
            | Err(why) => self.add_void(name, &why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPT: &str = r#"{"section":"accept","connections":64,"tasks":300,"seconds":1.5,"per_second":200.0,"fsyncs":7,"void":null}"#;

    #[test]
    fn a_run_is_read_from_between_other_lines() {
        let printed = format!("one warning\n{ACCEPT}\n");
        let run = Measured::read(&printed).expect("a run");
        assert_eq!(run.void, None);
        let mut figures = Figures::default();
        figures.begin_round();
        figures.take("accept", Ok(run));
        assert_eq!(figures.median("accept.per_second"), Some(200.0));
        assert_eq!(figures.median("accept.fsyncs"), Some(7.0));
        assert_eq!(figures.median("accept.section"), None);
    }

    #[test]
    fn a_void_run_has_no_figures() {
        let printed = ACCEPT.replace("null", r#""one task failed""#);
        let mut figures = Figures::default();
        figures.begin_round();
        figures.take("accept", Measured::read(&printed));
        assert_eq!(figures.median("accept.per_second"), None);
        assert_eq!(figures.voids(), ["accept, round 1: one task failed"]);
    }

    #[test]
    fn what_does_not_say_that_it_counts_does_not() {
        for printed in [
            "",
            "no such command\n",
            "{\"tasks\":1}",
            "{\"void\":0}",
            "{",
        ] {
            Measured::read(printed).expect_err(printed);
        }
    }
}
