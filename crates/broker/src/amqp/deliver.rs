//! The routing key of a foreign message: lapin gives the connection up if it is not UTF-8.

/// The method `basic.deliver`.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
/// Its arguments between two of its texts: the number of the delivery, whether it is another try.
const NUMBERS_BYTES: usize = 8 + 1;
/// The longest `basic.deliver`, with the consumer's name, the exchange and the routing key.
pub(super) const LONGEST_BYTES: usize = DELIVER.len() + NUMBERS_BYTES + 3 * 256;

/// Makes the routing key readable, with `?` for what is not ASCII: none of ours looks like that. A
/// payload that is no delivery stays as it is.
pub(super) fn clean(method: &mut [u8]) {
    if let Some(key) = routing_key(method)
        && std::str::from_utf8(key).is_err()
    {
        for byte in key {
            if !byte.is_ascii() {
                *byte = b'?';
            }
        }
    }
}

fn routing_key(method: &mut [u8]) -> Option<&mut [u8]> {
    let (id, arguments) = method.split_at_mut_checked(DELIVER.len())?;
    if *id != DELIVER {
        return None;
    }
    let (_consumer, rest) = text(arguments)?;
    let (_exchange, rest) = text(rest.get_mut(NUMBERS_BYTES..)?)?;
    Some(text(rest)?.0)
}

/// A text, and what follows it.
fn text(bytes: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let (length, rest) = bytes.split_first_mut()?;
    rest.split_at_mut_checked(usize::from(*length))
}
