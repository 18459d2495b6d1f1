//! How large one statement may be.

/// MySQL allows 65,535 placeholders, SQLite 32,766; a list of names or numbers stays well below.
pub(crate) const MAX_LIST: usize = 5_000;

/// The longest list of a statement that a connection keeps; longer ones are rare, and the server would
/// hold on to them.
pub(crate) const MAX_KEPT: usize = 1024;

/// How many rows an operation takes that was asked to take at most `limit`.
pub(crate) fn at_most(limit: u32) -> usize {
    MAX_LIST.min(limit as usize)
}

/// How many bytes of values one statement may have. `max_allowed_packet` is 16 MiB by default on
/// MariaDB; one task alone may be about 7 MiB.
const MAX_BYTES: usize = 8 << 20;

/// Cuts rows into parts that one INSERT each can hold. A row that is too heavy by itself gets a
/// part of its own.
pub(crate) fn parts<T>(
    rows: &[T],
    most: usize,
    weight: impl Fn(&T) -> usize,
) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fits = rest
            .iter()
            .take(most)
            .take_while(|row| {
                bytes += weight(row);
                bytes <= MAX_BYTES
            })
            .count();
        let (part, after) = rest.split_at(fits.max(1));
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_and_complete() {
        let rows: Vec<usize> = (0..10_000).collect();
        let sizes: Vec<_> = parts(&rows, 3000, |_| 1).map(<[_]>::len).collect();
        assert_eq!(sizes, [3000, 3000, 3000, 1000]);
        assert!(parts(&rows, 3000, |_| 1).flatten().eq(rows.iter()));
    }

    #[test]
    fn heavy_rows_travel_alone() {
        let rows = [5 << 20, 4 << 20, 3 << 20, 9 << 20, 1];
        let got: Vec<_> = parts(&rows, 9, |weight| *weight).map(<[_]>::len).collect();
        assert_eq!(got, [1, 2, 1, 1]);
    }
}
