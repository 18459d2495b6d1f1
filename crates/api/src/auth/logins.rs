//! Wrong passwords are counted, by address and by account; who says too many has to wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tasker_core::Client;

/// How long wrong passwords are remembered.
const WINDOW: Duration = Duration::from_secs(60);
/// Wrong passwords of an account within the window.
const PER_ACCOUNT: u32 = 10;
/// Wrong passwords from an address within the window: several people may share one.
const PER_ADDRESS: u32 = 30;
/// Accounts and addresses in memory. Beyond it, the oldest are forgotten.
const MAX_SUBJECTS: usize = 20_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Account(Client),
    Address(IpAddr),
}

impl Subject {
    const fn most(&self) -> u32 {
        match self {
            Self::Account(_) => PER_ACCOUNT,
            Self::Address(_) => PER_ADDRESS,
        }
    }
}

#[derive(Debug)]
struct Count {
    since: Instant,
    wrong: u32,
}

/// Wrong passwords of late.
#[derive(Debug, Default)]
pub(crate) struct Logins(Mutex<HashMap<Subject, Count>>);

impl Logins {
    /// Whether a password may be tried.
    ///
    /// # Errors
    /// How long to wait, if there were too many wrong ones.
    pub(crate) fn check(
        &self,
        account: &Client,
        from: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wait(&counts, &subjects(account, from), now).map_or(Ok(()), Err)
    }

    /// Counts a try in advance: those under way at once must not pass before the first is found wrong. They
    /// are few (see `Passwords`), so that many right ones that come together do not count as many wrong.
    ///
    /// # Errors
    /// As [`Logins::check`].
    pub(crate) fn begin(
        &self,
        account: &Client,
        from: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let subjects = subjects(account, from);
        if let Some(wait) = wait(&counts, &subjects, now) {
            return Err(wait);
        }
        make_room(&mut counts, now);
        for subject in subjects {
            let count = counts.entry(subject).or_insert(Count {
                since: now,
                wrong: 0,
            });
            if now.saturating_duration_since(count.since) >= WINDOW {
                *count = Count {
                    since: now,
                    wrong: 0,
                };
            }
            count.wrong += 1;
        }
        Ok(())
    }

    /// The password was right: the try does not count, and the account's earlier ones neither. The
    /// address keeps its own, or one right password would pay for thirty guesses.
    pub(crate) fn right(&self, account: &Client, from: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [account, address] = subjects(account, from);
        counts.remove(&account);
        if let Some(count) = counts.get_mut(&address) {
            count.wrong = count.wrong.saturating_sub(1);
        }
    }
}

fn wait(counts: &HashMap<Subject, Count>, subjects: &[Subject], now: Instant) -> Option<Duration> {
    let waits = subjects.iter().filter_map(|subject| {
        let count = counts.get(subject)?;
        let left = WINDOW.checked_sub(now.saturating_duration_since(count.since))?;
        (count.wrong >= subject.most() && !left.is_zero()).then_some(left)
    });
    waits.max()
}

fn subjects(account: &Client, from: IpAddr) -> [Subject; 2] {
    [
        Subject::Account(account.clone()),
        Subject::Address(network(from)),
    ]
}

/// Who has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let upper = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(upper))
        }
        v4 => v4,
    }
}

fn make_room(counts: &mut HashMap<Subject, Count>, now: Instant) {
    if counts.len() + 2 <= MAX_SUBJECTS {
        return;
    }
    counts.retain(|_, count| now.saturating_duration_since(count.since) < WINDOW);
    if counts.len() + 2 > MAX_SUBJECTS {
        let mut since: Vec<Instant> = counts.values().map(|count| count.since).collect();
        let middle = since.len() / 2;
        let (_, median, _) = since.select_nth_unstable(middle);
        let median = *median;
        counts.retain(|_, count| count.since > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Client {
        Client::parse(text).unwrap()
    }

    #[test]
    fn an_account_waits_after_ten_wrong_passwords() {
        let (logins, now) = (Logins::default(), Instant::now());
        let from = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in 0..10 {
            assert_eq!(logins.begin(&name("ann"), from(n), now), Ok(()));
        }
        let later = now + Duration::from_secs(20);
        let wait = logins.begin(&name("ann"), from(99), later);
        assert_eq!(wait, Err(Duration::from_secs(40)));
        assert_eq!(logins.begin(&name("bob"), from(1), later), Ok(()));
        let after = now + WINDOW;
        assert_eq!(logins.begin(&name("ann"), from(1), after), Ok(()));
    }

    #[test]
    fn an_address_waits_after_thirty_wrong_passwords() {
        let (logins, now) = (Logins::default(), Instant::now());
        for n in 0..30_u16 {
            let from = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, n, 0, 0, n).into();
            assert_eq!(logins.begin(&name(&format!("u{n}")), from, now), Ok(()));
        }
        let same = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9).into();
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 0).into();
        assert!(logins.begin(&name("x"), same, now).is_err());
        assert!(logins.begin(&name("x"), other, now).is_ok());
    }

    #[test]
    fn right_passwords_never_make_anybody_wait() {
        let (logins, now) = (Logins::default(), Instant::now());
        let from = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..1000 {
            assert_eq!(logins.begin(&name("ann"), from, now), Ok(()));
            logins.right(&name("ann"), from);
        }
    }

    #[test]
    fn one_right_password_does_not_pay_for_the_guesses_of_an_address() {
        let (logins, now) = (Logins::default(), Instant::now());
        let from = IpAddr::from([10, 0, 0, 1]);
        for n in 0..29 {
            assert_eq!(logins.begin(&name(&format!("u{n}")), from, now), Ok(()));
        }
        assert_eq!(logins.begin(&name("mine"), from, now), Ok(()));
        logins.right(&name("mine"), from);
        assert_eq!(logins.begin(&name("u30"), from, now), Ok(()));
        assert!(logins.begin(&name("u31"), from, now).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let (logins, now) = (Logins::default(), Instant::now());
        for n in 0..(MAX_SUBJECTS as u32 * 2) {
            let from = IpAddr::from((0x0a00_0000_u32 + n).to_be_bytes());
            let at = now + Duration::from_millis(u64::from(n) / 4);
            assert_eq!(logins.begin(&name(&format!("u{n}")), from, at), Ok(()));
        }
        assert!(logins.0.lock().unwrap().len() <= MAX_SUBJECTS);
    }
}
