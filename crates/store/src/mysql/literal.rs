//! Values as text of a statement.
//!
//! A prepared statement costs one message each way and one definition for every placeholder, on the
//! server and here. For a thousand rows of twenty columns that is most of the work, and such
//! statements are never the same twice. So lists and multi-row statements carry their values. What came
//! from outside is written in hexadecimal digits: there is nothing in it that could end a literal.

use std::fmt::Write;

use chrono::NaiveDateTime;
use diesel::expression::{ValidGrouping, is_aggregate};
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Bool;
use diesel::{AppearsOnTable, Expression, SelectableExpression};

/// A value that can be written into a statement.
pub(crate) trait Literal {
    fn write(&self, out: &mut String);
}

macro_rules! numbers {
    ($($number:ty)+) => {
        $(impl Literal for $number {
            fn write(&self, out: &mut String) {
                // Writing into a String cannot fail.
                let _ = write!(out, "{self}");
            }
        })+
    };
}

numbers!(i16 i32 i64);

impl Literal for bool {
    fn write(&self, out: &mut String) {
        out.push(if *self { '1' } else { '0' });
    }
}

impl Literal for [u8] {
    fn write(&self, out: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
        out.reserve(self.len() * 2 + 3);
        out.push_str("X'");
        for byte in self {
            out.push(digit(byte >> 4));
            out.push(digit(*byte));
        }
        out.push('\'');
    }
}

impl Literal for Vec<u8> {
    fn write(&self, out: &mut String) {
        self.as_slice().write(out);
    }
}

impl Literal for str {
    fn write(&self, out: &mut String) {
        out.push_str("_utf8mb4 ");
        self.as_bytes().write(out);
    }
}

impl Literal for String {
    fn write(&self, out: &mut String) {
        self.as_str().write(out);
    }
}

impl Literal for NaiveDateTime {
    fn write(&self, out: &mut String) {
        let _ = write!(out, "TIMESTAMP'{}'", self.format("%Y-%m-%d %H:%M:%S%.6f"));
    }
}

impl<T: Literal> Literal for Option<T> {
    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("NULL"),
        }
    }
}

impl<T: Literal + ?Sized> Literal for &T {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

/// Writes values with commas between them.
pub(crate) fn list<T: Literal>(out: &mut String, values: impl IntoIterator<Item = T>) {
    for (i, value) in values.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        value.write(out);
    }
}

/// A condition whose values stand in its text. Statements with it are not kept as prepared ones.
#[derive(Debug, Clone)]
pub(crate) struct Condition(pub(crate) String);

impl Condition {
    /// The column has one of these values; with none of them it never holds.
    pub(crate) fn among<T: Literal>(column: &str, values: impl IntoIterator<Item = T>) -> Self {
        let mut text = format!("{column} IN (");
        let start = text.len();
        list(&mut text, values);
        if text.len() == start {
            text.push_str("NULL");
        }
        text.push(')');
        Self(text)
    }
}

impl Expression for Condition {
    type SqlType = Bool;
}

impl<Source> AppearsOnTable<Source> for Condition {}

impl<Source> SelectableExpression<Source> for Condition {}

impl<Group> ValidGrouping<Group> for Condition {
    type IsAggregate = is_aggregate::Never;
}

impl QueryId for Condition {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Mysql> for Condition {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql(&self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: Literal + ?Sized>(value: &T) -> String {
        let mut out = String::new();
        value.write(&mut out);
        out
    }

    #[test]
    fn what_came_from_outside_is_digits() {
        assert_eq!(text("a'; --"), "_utf8mb4 X'61273b202d2d'");
        assert_eq!(text("ü\\\0"), "_utf8mb4 X'c3bc5c00'");
        assert_eq!(text(&[0_u8, 255][..]), "X'00ff'");
        assert_eq!(text(&Vec::<u8>::new()), "X''");
    }

    #[test]
    fn numbers_times_and_nothing() {
        assert_eq!(text(&-7_i64), "-7");
        assert_eq!(text(&true), "1");
        assert_eq!(text(&None::<i32>), "NULL");
        let at = chrono::DateTime::from_timestamp_micros(1_000_001).map(|at| at.naive_utc());
        assert_eq!(text(&at), "TIMESTAMP'1970-01-01 00:00:01.000001'");
    }

    #[test]
    fn an_empty_list_holds_for_nobody() {
        assert_eq!(Condition::among("a", [1, 2]).0, "a IN (1,2)");
        assert_eq!(Condition::among("a", [0_i64; 0]).0, "a IN (NULL)");
    }
}
