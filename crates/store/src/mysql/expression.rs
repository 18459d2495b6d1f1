//! Expressions of kept statements.
//!
//! A statement that is not kept costs two messages more, and for every placeholder a definition that
//! nobody reads. So a list is lengthened to the next power of two by repeating its last value: a
//! connection keeps one statement for each of eleven lengths, or of the pairs of them, and never more.

use diesel::expression::{ValidGrouping, is_aggregate};
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, Bool, HasSqlType, Integer, SmallInt, Text, Timestamp};
use diesel::{AppearsOnTable, Expression, SelectableExpression};
use tasker_core::id::TaskId;

use crate::batch::MAX_KEPT;

/// A statement that a connection shall keep. Diesel keeps no UPDATE, because its columns may differ from
/// call to call, and nothing that is written as text. Only for statements that take few forms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<Q>(pub(crate) Q);

impl<Q> QueryId for Kept<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Kept<Q> {
    type SqlType = Q::SqlType;
}

impl<Q: QueryFragment<Mysql>> QueryFragment<Mysql> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Mysql) -> QueryResult<bool> {
        Ok(true)
    }
}

/// A value of a list, and what it is for the database.
pub(crate) trait Listed: ToSql<Self::SqlType, Mysql> {
    type SqlType;
}

impl Listed for i16 {
    type SqlType = SmallInt;
}

impl Listed for i32 {
    type SqlType = Integer;
}

impl Listed for i64 {
    type SqlType = BigInt;
}

impl Listed for [u8] {
    type SqlType = Binary;
}

impl Listed for str {
    type SqlType = Text;
}

impl<T: Listed + ?Sized> Listed for &T {
    type SqlType = T::SqlType;
}

/// Whether a column has one of these values; with none of them it never has.
#[derive(Debug, Clone)]
pub(crate) struct Among<T> {
    column: &'static str,
    values: Vec<T>,
}

impl<T> Among<T> {
    pub(crate) fn new(column: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        Self {
            column,
            values: values.into_iter().collect(),
        }
    }
}

/// The values, the last one as often as the length of a kept statement demands.
fn lengthened<T>(values: &[T]) -> impl Iterator<Item = &T> {
    let missing = values.len().next_power_of_two() - values.len();
    let last = values.last().into_iter().cycle();
    values.iter().chain(last.take(missing))
}

impl<T> QueryFragment<Mysql> for Among<T>
where
    T: Listed,
    Mysql: HasSqlType<T::SqlType>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        if self.values.len() > MAX_KEPT {
            out.unsafe_to_cache_prepared();
        }
        out.push_sql(self.column);
        out.push_sql(" IN (");
        if self.values.is_empty() {
            out.push_sql("NULL");
        }
        for (i, value) in lengthened(&self.values).enumerate() {
            if i > 0 {
                out.push_sql(",");
            }
            out.push_bind_param::<T::SqlType, T>(value)?;
        }
        out.push_sql(")");
        Ok(())
    }
}

/// Whether a row of `responses` has one of these tasks and endpoints. One pair is one look-up in the
/// unique index; a product of two lists would be as many look-ups as their lengths multiplied.
#[derive(Debug)]
pub(crate) struct Pairs<'a>(pub(crate) &'a [(TaskId, &'a str)]);

impl QueryFragment<Mysql> for Pairs<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.push_sql("(");
        if self.0.is_empty() {
            out.push_sql("NULL");
        }
        for (i, (task, endpoint)) in lengthened(self.0).enumerate() {
            out.push_sql(if i > 0 { " OR " } else { "" });
            out.push_sql("(responses.task_id = ");
            out.push_bind_param::<BigInt, _>(task)?;
            out.push_sql(" AND responses.endpoint = ");
            out.push_bind_param::<Text, _>(endpoint)?;
            out.push_sql(")");
        }
        out.push_sql(")");
        Ok(())
    }
}

/// The server's clock in UTC, with microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UtcNow;

impl QueryFragment<Mysql> for UtcNow {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.push_sql("UTC_TIMESTAMP(6)");
        Ok(())
    }
}

/// An expression by itself, of which no part is known to the compiler.
macro_rules! expression {
    ($expression:ty: $sql_type:ty $(, $parameter:tt)?) => {
        impl$(<$parameter>)? Expression for $expression {
            type SqlType = $sql_type;
        }

        impl<$($parameter,)? Source> AppearsOnTable<Source> for $expression {}

        impl<$($parameter,)? Source> SelectableExpression<Source> for $expression {}

        impl<$($parameter,)? Group> ValidGrouping<Group> for $expression {
            type IsAggregate = is_aggregate::Never;
        }

        impl$(<$parameter>)? QueryId for $expression {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }
    };
}

expression!(Among<T>: Bool, T);
expression!(Pairs<'_>: Bool);
expression!(UtcNow: Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_lengthened_to_a_power_of_two() {
        let lengths = |count: usize| {
            let values: Vec<usize> = (0..count).collect();
            let got: Vec<usize> = lengthened(&values).copied().collect();
            assert_eq!(got[..count], values);
            assert!(got[count..].iter().all(|value| value + 1 == count));
            got.len()
        };
        let got: Vec<usize> = [0, 1, 2, 3, 5, 64, 65].into_iter().map(lengths).collect();
        assert_eq!(got, [0, 1, 2, 4, 8, 64, 128]);
    }

    #[test]
    fn what_is_in_a_list_is_bound() {
        fn shown(condition: &impl QueryFragment<Mysql>) -> String {
            diesel::debug_query::<Mysql, _>(condition).to_string()
        }
        let among = Among::new("tasks.id", [1_i64, 2, 3]);
        assert_eq!(
            shown(&among),
            "tasks.id IN (?,?,?,?) -- binds: [1, 2, 3, 3]"
        );
        let none = Among::new("tasks.id", [0_i64; 0]);
        assert_eq!(shown(&none), "tasks.id IN (NULL) -- binds: []");
        let pairs = Pairs(&[(7, "a'"), (8, "b")]);
        let row = "(responses.task_id = ? AND responses.endpoint = ?)";
        let binds = "[7, \"a'\", 8, \"b\"]";
        assert_eq!(shown(&pairs), format!("({row} OR {row}) -- binds: {binds}"));
    }
}
