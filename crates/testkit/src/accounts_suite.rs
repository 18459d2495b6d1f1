//! The conformance suite of the Accounts port: what every backend promises, one function a promise.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{TimeDelta, Utc};
use tasker_core::account::{EndpointGlob, Grants, Role};
use tasker_core::accounts::{
    Accounts, AuditEvent, AuditFilter, AuditKind, NewToken, NewUser, PasswordHash,
};
use tasker_core::name::{Client, TaskType};
use tasker_core::token::{Token, TokenKey};

use crate::store_suite::Ledger;

/// Makes one `#[tokio::test]` of every promise, see [`store_suite!`](crate::store_suite!).
#[macro_export]
macro_rules! accounts_suite {
    ($make:path) => {
        $crate::accounts_suite! { @tests $make;
            a_user_is_kept_whole,
            a_name_is_taken_once,
            a_password_can_be_changed,
            a_removed_user_leaves_no_token,
            a_token_counts_until_it_is_revoked,
            a_token_counts_until_it_expires,
            many_tokens_are_looked_up_at_once,
            the_use_of_a_token_is_noted_to_the_minute,
            tokens_that_ended_long_ago_are_forgotten,
            the_audit_is_read_newest_first,
            a_long_text_is_cut_in_the_audit,
        }
    };
    (@tests $make:path; $($promise:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let ledger = $make().await;
                $crate::accounts_suite::$promise(&*ledger).await;
                $crate::store_suite::Ledger::remove(ledger).await;
            }
        )+
    };
}

fn client(name: &str) -> Client {
    Client::parse(name).expect("a name")
}

fn user(name: &str) -> NewUser {
    NewUser {
        name: client(name),
        role: Role::Client,
        grants: Grants::default(),
        password: None,
    }
}

fn token_of(name: &str, expires_in_s: Option<u32>) -> NewToken {
    let (token, _) = Token::mint();
    NewToken {
        key: token.key,
        hash: token.hash,
        user: client(name),
        note: "a note".to_owned(),
        grants: Grants::default(),
        expires_in_s,
    }
}

async fn add(accounts: &dyn Accounts, token: NewToken) -> TokenKey {
    let key = token.key.clone();
    assert!(accounts.add_token(token).await.expect("added"));
    key
}

async fn counts(accounts: &dyn Accounts, key: &TokenKey) -> bool {
    let valid = accounts.valid(vec![key.clone()]).await.expect("looked up");
    assert_eq!(valid.len(), 1);
    valid[0].is_some()
}

/// A clock that a test moves, in seconds from now.
fn movable() -> (Arc<AtomicI64>, crate::store_suite::TestClock) {
    let (start, ahead) = (Utc::now(), Arc::new(AtomicI64::new(0)));
    let moved = Arc::clone(&ahead);
    let clock = Arc::new(move || start + TimeDelta::seconds(moved.load(Ordering::SeqCst)));
    (ahead, clock)
}

/// Every field is found again.
pub async fn a_user_is_kept_whole(ledger: &dyn Ledger) {
    let accounts = ledger.ports().await.accounts;
    let new = NewUser {
        name: client("Ann.1"),
        role: Role::Operator,
        grants: Grants {
            task_types: Some(vec![TaskType::parse("worker").expect("a type")]),
            endpoints: Some(vec![EndpointGlob::parse("web*").expect("a glob")]),
            read_only: true,
        },
        password: Some(PasswordHash("$argon2id$v=19$x".to_owned())),
    };
    assert!(accounts.add_user(new.clone()).await.expect("added"));
    let (found, password) = accounts
        .user(&new.name)
        .await
        .expect("found")
        .expect("there");
    assert_eq!((&found.name, found.role), (&new.name, new.role));
    assert_eq!(found.grants, new.grants);
    assert!(found.has_password);
    assert_eq!(password, new.password);
    assert_eq!(accounts.users().await.expect("listed"), [found]);
    assert_eq!(accounts.user(&client("ann.1")).await.expect("asked"), None);
}

/// The second user of a name is refused and changes nothing.
pub async fn a_name_is_taken_once(ledger: &dyn Ledger) {
    let accounts = ledger.ports().await.accounts;
    assert!(accounts.add_user(user("a")).await.expect("added"));
    let admin = NewUser {
        role: Role::Admin,
        ..user("a")
    };
    assert!(!accounts.add_user(admin).await.expect("refused"));
    let users = accounts.users().await.expect("listed");
    assert_eq!(users[0].role, Role::Client);
}

/// The new one counts, the rest stays.
pub async fn a_password_can_be_changed(ledger: &dyn Ledger) {
    let accounts = ledger.ports().await.accounts;
    let (name, new) = (client("a"), PasswordHash("new".to_owned()));
    let set = accounts.set_password(&name, new.clone()).await;
    assert!(!set.expect("asked"), "of nobody");
    accounts.add_user(user("a")).await.expect("added");
    let set = accounts.set_password(&name, new.clone()).await;
    assert!(set.expect("set"));
    // Once more the same: it is there all the same.
    let set = accounts.set_password(&name, new.clone()).await;
    assert!(set.expect("set"));
    let (found, password) = accounts.user(&name).await.expect("found").expect("there");
    assert!(found.has_password);
    assert_eq!(password, Some(new));
}

/// Its tokens end with it, and do not come back with the name.
pub async fn a_removed_user_leaves_no_token(ledger: &dyn Ledger) {
    let accounts = ledger.ports().await.accounts;
    accounts.add_user(user("a")).await.expect("added");
    let key = add(&*accounts, token_of("a", None)).await;
    assert!(counts(&*accounts, &key).await);
    assert!(accounts.remove_user(&client("a")).await.expect("removed"));
    assert!(!accounts.remove_user(&client("a")).await.expect("asked"));
    assert!(!counts(&*accounts, &key).await);
    accounts.add_user(user("a")).await.expect("added again");
    assert!(!counts(&*accounts, &key).await);
    let added = accounts.add_token(token_of("b", None)).await;
    assert!(!added.expect("asked"), "of nobody");
}

/// Revoking counts at once, for every process, and twice does no harm.
pub async fn a_token_counts_until_it_is_revoked(ledger: &dyn Ledger) {
    let accounts = ledger.ports().await.accounts;
    let other = ledger.ports().await.accounts;
    accounts.add_user(user("a")).await.expect("added");
    let (kept, key) = (
        add(&*accounts, token_of("a", None)).await,
        add(&*accounts, token_of("a", None)).await,
    );
    assert!(counts(&*other, &key).await);
    for _ in 0..2 {
        let whose = accounts.revoke_token(&key).await.expect("revoked");
        assert_eq!(whose, Some(client("a")));
        assert!(!counts(&*other, &key).await);
    }
    assert!(counts(&*other, &kept).await);
    let nothing = TokenKey::parse("000000000000").expect("a key");
    assert_eq!(accounts.revoke_token(&nothing).await.expect("asked"), None);
    let listed = accounts.tokens(Some(&client("a"))).await.expect("listed");
    let revoked: Vec<_> = listed.iter().filter(|t| t.revoked_at.is_some()).collect();
    assert_eq!(listed.len(), 2);
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].key, key);
}

/// By the database's clock.
pub async fn a_token_counts_until_it_expires(ledger: &dyn Ledger) {
    let (ahead, clock) = movable();
    let accounts = ledger.ports_told(clock).await.accounts;
    accounts.add_user(user("a")).await.expect("added");
    let short = add(&*accounts, token_of("a", Some(60))).await;
    let long = add(&*accounts, token_of("a", None)).await;
    ahead.store(59, Ordering::SeqCst);
    assert!(counts(&*accounts, &short).await);
    ahead.store(60, Ordering::SeqCst);
    assert!(!counts(&*accounts, &short).await);
    assert!(counts(&*accounts, &long).await);
}

/// In the order that they were asked for, with what is not there in between.
pub async fn many_tokens_are_looked_up_at_once(ledger: &dyn Ledger) {
    let accounts = ledger.ports().await.accounts;
    let mut keys = Vec::new();
    for n in 0..20 {
        let name = format!("user{n}");
        accounts.add_user(user(&name)).await.expect("added");
        keys.push(add(&*accounts, token_of(&name, None)).await);
    }
    keys.reverse();
    keys.insert(3, TokenKey::parse("000000000000").expect("a key"));
    keys.push(keys[0].clone());
    let valid = accounts.valid(keys).await.expect("looked up");
    let names: Vec<_> = valid
        .iter()
        .map(|v| v.as_ref().map(|v| v.user.as_str()))
        .collect();
    assert_eq!(names.len(), 22);
    assert_eq!(names[0], Some("user19"));
    assert_eq!(names[3], None);
    assert_eq!(names[4], Some("user16"));
    assert_eq!(names[21], Some("user19"));
}

/// Not at every request.
pub async fn the_use_of_a_token_is_noted_to_the_minute(ledger: &dyn Ledger) {
    let (ahead, clock) = movable();
    let accounts = ledger.ports_told(clock).await.accounts;
    accounts.add_user(user("a")).await.expect("added");
    let key = add(&*accounts, token_of("a", None)).await;
    let used = async || accounts.tokens(None).await.expect("listed")[0].last_used_at;
    assert_eq!(used().await, None);
    assert!(counts(&*accounts, &key).await);
    let first = used().await.expect("used");
    ahead.store(59, Ordering::SeqCst);
    assert!(counts(&*accounts, &key).await);
    assert_eq!(used().await, Some(first));
    ahead.store(61, Ordering::SeqCst);
    assert!(counts(&*accounts, &key).await);
    assert_eq!(used().await, Some(first + TimeDelta::seconds(61)));
}

/// A client that takes a token at every start does not fill the table.
pub async fn tokens_that_ended_long_ago_are_forgotten(ledger: &dyn Ledger) {
    let (ahead, clock) = movable();
    let accounts = ledger.ports_told(clock).await.accounts;
    accounts.add_user(user("a")).await.expect("added");
    add(&*accounts, token_of("a", Some(60))).await;
    let revoked = add(&*accounts, token_of("a", None)).await;
    accounts.revoke_token(&revoked).await.expect("revoked");
    let kept = add(&*accounts, token_of("a", None)).await;
    let listed = async || accounts.tokens(None).await.expect("listed");
    assert_eq!(listed().await.len(), 3);
    ahead.store(31 * 86_400 + 60, Ordering::SeqCst);
    let new = add(&*accounts, token_of("a", None)).await;
    let keys: Vec<_> = listed().await.into_iter().map(|t| t.key).collect();
    assert_eq!(keys, [new, kept]);
}

fn event(kind: AuditKind, who: Option<&str>, what: &str) -> AuditEvent {
    AuditEvent {
        kind,
        who: who.map(client),
        token: None,
        what: what.to_owned(),
        from: Some(IpAddr::from([127, 0, 0, 1])),
    }
}

/// Whole, by kind, by user, in pages.
pub async fn the_audit_is_read_newest_first(ledger: &dyn Ledger) {
    let accounts = ledger.ports().await.accounts;
    let (token, _) = Token::mint();
    let accepted = AuditEvent {
        token: Some(token.key),
        from: Some("2001:db8::1".parse().expect("an address")),
        ..event(AuditKind::Accept, Some("a"), "POST /worker/é 201")
    };
    let events = vec![
        accepted.clone(),
        event(AuditKind::Deny, None, "GET /worker 401"),
        event(AuditKind::Login, Some("b"), "in"),
    ];
    accounts.note(events.clone()).await.expect("noted");
    accounts
        .note(vec![event(AuditKind::Revoke, Some("a"), "x")])
        .await
        .expect("noted");
    let read = async |kind, who: Option<&str>, before, limit| {
        let filter = AuditFilter {
            kind,
            who: who.map(client),
            before,
            limit,
        };
        accounts.audit(filter).await.expect("read")
    };
    let all = read(None, None, None, 10).await;
    let kinds: Vec<_> = all.iter().map(|entry| entry.event.kind).collect();
    assert_eq!(
        kinds,
        [
            AuditKind::Revoke,
            AuditKind::Login,
            AuditKind::Deny,
            AuditKind::Accept
        ]
    );
    assert_eq!(all[3].event, accepted);
    assert_eq!(read(None, Some("a"), None, 10).await.len(), 2);
    assert_eq!(
        read(Some(AuditKind::Deny), None, None, 10).await,
        [all[2].clone()]
    );
    assert_eq!(read(None, None, Some(all[1].id), 1).await, [all[2].clone()]);
}

/// Not refused: what happened has happened.
pub async fn a_long_text_is_cut_in_the_audit(ledger: &dyn Ledger) {
    let accounts = ledger.ports().await.accounts;
    let long = "é".repeat(600);
    accounts
        .note(vec![event(AuditKind::Deny, None, &long)])
        .await
        .expect("noted");
    let all = accounts.audit(AuditFilter {
        limit: 1,
        ..AuditFilter::default()
    });
    let all = all.await.expect("read");
    assert_eq!(all[0].event.what.chars().count(), 512);
}
