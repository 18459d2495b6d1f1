//! The properties of a foreign message, without those that lapin cannot bear.
//!
//! Two of them are removed: the table of headers, because lapin parses tables by recursion and
//! 1,000 levels overflow the stack of its thread; and texts that are not UTF-8, because lapin gives
//! the connection up at the first one. RabbitMQ passes both on as the publisher wrote them, and a
//! message that ends its consumer's connection comes back on the next one, for ever.

use super::guard::Malformed;

/// Class, weight, size of the body and the flags, which tell the properties that follow.
const FIXED_BYTES: usize = 14;
const FLAGS_AT: usize = FIXED_BYTES - 2;
/// The flag of the first property; the others follow downwards.
const FIRST_FLAG: u16 = 1 << 15;

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A byte of length, then bytes that ought to be UTF-8.
    Text,
    /// Four bytes of length, then anything.
    Table,
    /// So many bytes.
    Number(usize),
}

/// The properties of the class `basic`, the only one with content: content type and encoding,
/// headers, delivery mode, priority, correlation id, reply to, expiration, message id, timestamp,
/// type, user id, application id, and a reserved one.
const KINDS: [Kind; 14] = [
    Kind::Text,
    Kind::Text,
    Kind::Table,
    Kind::Number(1),
    Kind::Number(1),
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Number(8),
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
];

/// What the next `missing` bytes are.
#[derive(Debug, Clone, Copy)]
enum Field {
    Fixed,
    TextLength,
    Text,
    TableLength,
    Table,
    Number,
    /// There is nothing more.
    End,
}

/// The payload of one content-header frame, as far as it has come. It keeps 4 KiB at most, however
/// long the table is.
#[derive(Debug)]
pub(super) struct Header {
    kept: Vec<u8>,
    /// Where in `kept` the present property starts.
    start: usize,
    /// The properties that are still kept.
    flags: u16,
    /// How many properties were looked at, and the last of them.
    seen: usize,
    flag: u16,
    field: Field,
    /// Bytes until the present field is complete.
    missing: usize,
    /// Bytes until the frame's payload is.
    left: usize,
}

impl Header {
    /// Before the first byte of a payload of `size` bytes.
    pub(super) fn new(size: u32) -> Result<Self, Malformed> {
        let left = size as usize;
        if left < FIXED_BYTES {
            return Err(Malformed::Short);
        }
        Ok(Self {
            kept: Vec::with_capacity(64),
            start: 0,
            flags: 0,
            seen: 0,
            flag: 0,
            field: Field::Fixed,
            missing: FIXED_BYTES,
            left,
        })
    }

    /// Takes what belongs to the payload, and says how many bytes that was.
    pub(super) fn feed(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        while self.left > 0 && used < input.len() {
            let length = self.missing.min(input.len() - used);
            let bytes = &input[used..used + length];
            if !matches!(self.field, Field::Table) {
                self.kept.extend_from_slice(bytes);
            }
            used += length;
            self.missing -= length;
            self.left -= length;
            while self.missing == 0 && !matches!(self.field, Field::End) {
                self.advance();
            }
            match self.field {
                Field::End if self.left > 0 => return Err(Malformed::Long),
                _ if self.missing > self.left => return Err(Malformed::Short),
                _ => {}
            }
        }
        Ok(used)
    }

    /// The payload without what was removed, once it is complete.
    pub(super) fn finished(&mut self) -> Option<&mut [u8]> {
        if self.left > 0 {
            return None;
        }
        self.kept[FLAGS_AT..FIXED_BYTES].copy_from_slice(&self.flags.to_be_bytes());
        Some(&mut self.kept)
    }

    /// From a field that is complete to the next one, which may be empty.
    fn advance(&mut self) {
        let property = &self.kept[self.start..];
        match self.field {
            // The two lowest flags stand for no property. RabbitMQ and lapin ignore them, so they
            // must not be refused here.
            Field::Fixed => self.flags = number(&property[FLAGS_AT..]) as u16 & !3,
            Field::TextLength => {
                (self.field, self.missing) = (Field::Text, number(property));
                return;
            }
            Field::Text if std::str::from_utf8(&property[1..]).is_err() => self.remove(),
            Field::TableLength => {
                (self.field, self.missing) = (Field::Table, number(property));
                self.remove();
                return;
            }
            Field::Text | Field::Table | Field::Number | Field::End => {}
        }
        self.next_property();
    }

    fn next_property(&mut self) {
        self.start = self.kept.len();
        (self.field, self.missing) = (Field::End, 0);
        while let Some(kind) = KINDS.get(self.seen) {
            self.flag = FIRST_FLAG >> self.seen;
            self.seen += 1;
            if self.flags & self.flag != 0 {
                (self.field, self.missing) = match kind {
                    Kind::Text => (Field::TextLength, 1),
                    Kind::Table => (Field::TableLength, 4),
                    Kind::Number(bytes) => (Field::Number, *bytes),
                };
                return;
            }
        }
    }

    fn remove(&mut self) {
        self.kept.truncate(self.start);
        self.flags &= !self.flag;
    }
}

/// Up to four bytes, the highest first.
fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}
