//! Bodies that are longer than anybody here reads, cut: whoever is sent one can see that it is too long
//! without having all of it in memory.

use std::collections::HashMap;

/// Where the size of the body stands in the payload of a content header, and its length.
const SIZE_AT: std::ops::Range<usize> = 4..12;

/// The bodies that are being cut, by channel; a channel has one at a time.
#[derive(Debug)]
pub(super) struct Clip {
    longest: u64,
    cut: HashMap<u16, Rest>,
}

#[derive(Debug)]
struct Rest {
    /// Bytes that still pass, and all that still come.
    passing: u64,
    coming: u64,
}

impl Clip {
    /// Lets bodies of at most so many bytes pass whole.
    pub(super) fn new(longest: u64) -> Self {
        Self {
            longest,
            cut: HashMap::new(),
        }
    }

    /// A content header, which announces a body.
    pub(super) fn announced(&mut self, channel: u16, payload: &mut [u8]) {
        // A body whose end never came is over all the same.
        self.cut.remove(&channel);
        let Some(size) = payload.get_mut(SIZE_AT) else {
            return;
        };
        let coming = size
            .iter()
            .fold(0, |size, byte| size << 8 | u64::from(*byte));
        if coming > self.longest {
            size.copy_from_slice(&self.longest.to_be_bytes());
            let passing = self.longest;
            self.cut.insert(channel, Rest { passing, coming });
        }
    }

    /// How many bytes of a body frame's payload pass; `None` if nothing of the frame does.
    pub(super) fn passing(&mut self, channel: u16, size: usize) -> Option<usize> {
        let Some(rest) = self.cut.get_mut(&channel) else {
            return Some(size);
        };
        let passing = rest.passing.min(size as u64);
        rest.passing -= passing;
        rest.coming = rest.coming.saturating_sub(size as u64);
        if rest.coming == 0 {
            self.cut.remove(&channel);
        }
        // At most `size`, so it fits.
        (passing > 0).then_some(passing as usize)
    }
}
