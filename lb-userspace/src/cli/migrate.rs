//! `barelb migrate`: a v0.9 `ConfigMap` in, custom resources out.

use std::{
    fmt::Display,
    fs,
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use lb_core::config::{Config, LegacyDocument};

use crate::{
    k8s::migrate::{Objects, Unserved},
    source::{
        ObjectError,
        files::{
            legacy,
            manifest::{LegacyText, legacy_texts},
        },
    },
};

#[cfg(test)]
mod tests;

/// Namespace of the objects where the `ConfigMap` names none.
const NAMESPACE: &str = "metallb-system";

/// Arguments of `barelb migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// A manifest with the ConfigMap, or the text of its key `config`; - or nothing is standard input.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which ConfigMap, if the file has several with the key `config`.
    #[arg(long, value_name = "NAME", default_value = "config")]
    config_map: String,
    /// Namespace of the objects instead of the ConfigMap's.
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
}

/// What is to be said: the objects, or why there are none.
struct Answer {
    documents: Result<Vec<String>, Vec<String>>,
    remarks: Vec<String>,
}

impl Migrate {
    /// Prints the objects; what needs attention goes to standard error. Nothing is printed after an error.
    pub fn run(self) -> Result<ExitCode> {
        let file = self.file.as_ref().filter(|file| file.as_os_str() != "-");
        let (name, bytes) = if let Some(file) = file {
            let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            (file.display().to_string(), bytes)
        } else {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes).context("reading standard input")?;
            ("standard input".to_owned(), bytes)
        };
        let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8 text"))?;
        let answer = self.answer(&text, &name)?;
        let mut errors = io::stderr().lock();
        for remark in &answer.remarks {
            writeln!(errors, "note: {remark}")?;
        }
        match answer.documents {
            Ok(documents) => {
                io::stdout().lock().write_all(documents.join("---\n").as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problems) => {
                for problem in problems {
                    writeln!(errors, "error: {problem}")?;
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn answer(&self, text: &str, file: &str) -> Result<Answer> {
        let found = match legacy_texts(text, file) {
            Ok(found) => found,
            Err(problems) => return Ok(Answer { documents: Err(lines(&problems)), remarks: Vec::new() }),
        };
        let Some(chosen) = self.choose(found) else {
            let error = format!(
                "{file}: there is no ConfigMap {:?} with a key \"config\": name another one by --config-map, or give the \
                 text of the key",
                self.config_map
            );
            return Ok(Answer { documents: Err(vec![error]), remarks: Vec::new() });
        };
        convert(&chosen, self.namespace.as_deref())
    }

    /// The one document, or the one with the right name.
    fn choose(&self, mut found: Vec<LegacyText>) -> Option<LegacyText> {
        if found.len() != 1 {
            found.retain(|legacy| legacy.name.as_ref() == Some(&self.config_map));
        }
        found.into_iter().next()
    }
}

fn convert(legacy: &LegacyText, namespace: Option<&str>) -> Result<Answer> {
    let LegacyText { place, text, .. } = legacy;
    let namespace = namespace.or(legacy.namespace.as_deref()).unwrap_or(NAMESPACE);
    let failed = |problems: Vec<String>| Ok(Answer { documents: Err(problems), remarks: Vec::new() });
    let invalid = |message| ObjectError::Type { message };
    let document: LegacyDocument = match legacy::read(text, place, invalid) {
        Ok(document) => document,
        Err(problems) => return failed(lines(&problems)),
    };
    let unserved: Unserved = match legacy::read(text, place, invalid) {
        Ok(unserved) => unserved,
        Err(problems) => return failed(lines(&problems)),
    };
    let raw = match document.clone().into_raw(place) {
        Ok(raw) => raw,
        Err(problems) => return failed(lines(&problems)),
    };
    let mut remarks = lines(&raw.warnings);
    match Config::validate_strict(&raw.pools, &raw.advertisements, &[]) {
        Ok((_, warnings)) => remarks.extend(lines(&warnings)),
        Err(problems) => return failed(lines(&problems)),
    }
    match Objects::convert(&document, &unserved, namespace, place) {
        Ok(objects) => {
            remarks.extend(objects.remarks.iter().map(|(place, remark)| format!("{place}: {remark}")));
            let documents = objects.to_yaml().context("writing the objects as YAML")?;
            Ok(Answer { documents: Ok(documents), remarks })
        }
        Err(errors) => failed(errors.iter().map(|(place, error)| format!("{place}: {error}")).collect()),
    }
}

fn lines(problems: &[impl Display]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
