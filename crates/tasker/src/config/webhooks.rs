//! `webhooks`: where completions may be told.

use std::path::PathBuf;

use tasker_core::callback::AllowList;

use super::file::File;
use super::reader::Reader;
use super::secret::Secret;
use super::types::WebhookConfig;
use super::written::Written;

/// The shortest secret. Shorter ones are guessed.
const MIN_SECRET: usize = 16;

impl Reader<'_> {
    /// The group, if it allows any host; the rest of it is of no use without one.
    pub(super) fn webhooks(&mut self, file: &File) -> Option<WebhookConfig> {
        let keys = file.webhooks.clone().unwrap_or_default();
        let entries = keys.allow.unwrap_or_default();
        let entries: Vec<String> = entries
            .into_iter()
            .enumerate()
            .map(|(i, entry)| self.text(&format!("webhooks.allow[{i}]"), &Some(entry)))
            .collect();
        let allow = AllowList::parse(entries.iter().map(String::as_str));
        let allow = allow.unwrap_or_else(|(place, error)| {
            self.fault(format!("webhooks.allow[{place}]"), error.to_string());
            AllowList::default()
        });
        if entries.is_empty() {
            return None;
        }
        let key = "webhooks.secret";
        if matches!(keys.secret, Some(Written::Value(_))) && !self.inline_secrets {
            let message = "is a secret: write ${NAME} or ${file:/path} instead of it";
            self.fault(key, message);
        }
        let secret = self.text(key, &keys.secret);
        if secret.chars().count() < MIN_SECRET && !self.has_problem(key) {
            self.fault(key, format!("must have at least {MIN_SECRET} characters"));
        }
        let ca = keys.ca.is_some();
        Some(WebhookConfig {
            allow,
            secret: Secret::new(secret),
            ca: ca.then(|| PathBuf::from(self.text("webhooks.ca", &keys.ca))),
        })
    }
}
