//! Text of others made harmless: for a terminal, for a log, for whoever reads a line of either.

use std::fmt::Write;

/// Whether a character could do more than be read: move a cursor, forge a line, turn the direction of
/// the text around, or hide within a word.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Invisible or joining nothing: soft hyphen, zero width, word joiner, byte order mark.
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            // Marks of direction.
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Separators that some readers take for line ends.
            | '\u{2028}' | '\u{2029}'
            // Notes between lines, and tags that no font shows.
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with harmful characters written out, as `\n` or `\u{1b}`. It is one line.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The beginning of a text, [`harmless`]: at most `longest` characters of it are read.
#[must_use]
pub fn beginning(text: &str, longest: usize) -> String {
    let end = text
        .char_indices()
        .nth(longest)
        .map_or(text.len(), |(i, _)| i);
    harmless(&text[..end])
}

/// A harmful character within a JSON text, escaped so that it is still the same JSON.
#[must_use]
pub fn json_escape(c: char) -> String {
    let mut out = String::new();
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_written_out_and_what_is_read_stays() {
        for (text, shown) in [
            (
                "plain \"text\" \\ \u{e4}\u{4e2d}\u{1f600}",
                "plain \"text\" \\ \u{e4}\u{4e2d}\u{1f600}",
            ),
            ("a\r\nERROR \u{1b}[2J", "a\\r\\nERROR \\u{1b}[2J"),
            ("\u{9b}2J\u{7f}\0\t", "\\u{9b}2J\\u{7f}\\u{0}\\t"),
            (
                "\u{202e}\u{2066}\u{200f}\u{61c}",
                "\\u{202e}\\u{2066}\\u{200f}\\u{61c}",
            ),
            ("\u{2028}\u{2029}\u{85}", "\\u{2028}\\u{2029}\\u{85}"),
            (
                "pay\u{200b}load\u{feff}\u{ad}",
                "pay\\u{200b}load\\u{feff}\\u{ad}",
            ),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }

    #[test]
    fn only_the_beginning_is_taken() {
        assert_eq!(beginning("\u{e4}\nbc", 2), "\u{e4}\\n");
        assert_eq!(beginning("abc", 9), "abc");
        assert_eq!(beginning("abc", 0), "");
    }

    #[test]
    fn escaped_in_json_it_is_the_same_json() {
        for c in ['\u{1b}', '\u{202e}', '\u{e0041}'] {
            let json = format!("\"{}\"", json_escape(c));
            assert!(json.is_ascii());
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, c.to_string());
        }
    }
}
