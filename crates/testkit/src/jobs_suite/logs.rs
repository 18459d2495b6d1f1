//! What the logs promise: no gap, no disorder, bounded pages; and what becomes of old jobs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use tasker_core::jobs::{
    Asked, Bound, From, Heads, JobStatus, Jobs, NewJob, Outcome, Request, Submitted,
};

use super::{Books, bring, cancel, client, look, new, source, submit, tell};

const PAGE_BYTES: u64 = 1 << 20;

const fn up_to(entries: u32) -> Bound {
    Bound {
        entries,
        bytes: PAGE_BYTES,
    }
}

async fn read(jobs: &dyn Jobs, from: From, limit: u32) -> (Vec<Request>, bool) {
    let page = jobs.requests(&source("ds"), from, up_to(limit)).await;
    let page = page.expect("a page");
    (page.entries, page.is_more)
}

/// The time is inclusive, the number is not.
pub async fn requests_are_read_from_a_time_or_a_number(books: &dyn Books) {
    let jobs = books.open().await;
    for name in ["a", "b", "c", "d"] {
        submit(&*jobs, "one", name).await;
    }
    cancel(&*jobs, "one", "b").await;
    let (all, is_more) = read(&*jobs, From::After(0), 10).await;
    assert!(!is_more);
    let names: Vec<_> = all.iter().map(|r| r.job.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "b"]);
    assert!(all.iter().map(|r| r.sequence).eq(1..=5));
    assert!(all.windows(2).all(|pair| pair[0].at < pair[1].at));
    for (i, request) in all.iter().enumerate() {
        let (rest, _) = read(&*jobs, From::Time(request.at), 10).await;
        assert_eq!(rest, all[i..], "inclusive");
        let later = request.at + TimeDelta::microseconds(1);
        let (rest, _) = read(&*jobs, From::Time(later), 10).await;
        assert_eq!(rest, all[i + 1..]);
        let (rest, _) = read(&*jobs, From::After(request.sequence), 10).await;
        assert_eq!(rest, all[i + 1..]);
    }
    let (page, is_more) = read(&*jobs, From::After(1), 2).await;
    assert!(is_more);
    assert_eq!(page, all[1..3]);
    let (page, is_more) = read(&*jobs, From::After(1), 4).await;
    assert!(!is_more);
    assert_eq!(page, all[1..]);
}

/// One entry always fits, so that a reader never stands still.
pub async fn pages_are_bounded_by_their_bytes(books: &dyn Books) {
    let jobs = books.open().await;
    let third = usize::try_from(PAGE_BYTES / 3).expect("a length");
    let quoted = |length: usize| Bytes::from(format!("\"{}\"", "x".repeat(length - 2)));
    for (name, length) in [
        ("a", third),
        ("b", third),
        ("c", third),
        ("d", 3 * third + 99),
    ] {
        let job = NewJob {
            request: Some(quoted(length)),
            ..new("one", name, "")
        };
        jobs.submit(job).await.expect("stored");
        bring(&*jobs, name, &[JobStatus::Accepted]).await;
        let complete = Outcome {
            response: Some(quoted(length)),
            ..Outcome::of(JobStatus::Complete)
        };
        tell(&*jobs, name, complete).await;
    }
    let mut after = 0;
    for expected in [&["a", "b", "c"][..], &["d"]] {
        let (page, _) = read(&*jobs, From::After(after), 10).await;
        let names: Vec<_> = page.iter().map(|r| r.job.as_str()).collect();
        assert_eq!(names, expected);
        after = page.last().expect("an entry").sequence;
    }
    let changes = jobs
        .changes(&source("ds"), &client("one"), 0, up_to(100))
        .await;
    let changes = changes.expect("changes");
    assert!(changes.is_more);
    assert_eq!(changes.entries.len(), 11, "all but the last response");
    let changes = jobs
        .changes(&source("ds"), &client("one"), 11, up_to(100))
        .await;
    let changes = changes.expect("changes");
    assert!(!changes.is_more && changes.entries.len() == 1);
}

/// In their order, with the numbers of all.
pub async fn changes_are_those_of_one_client(books: &dyn Books) {
    let jobs = books.open().await;
    for (who, name) in [("one", "a"), ("two", "b"), ("one", "c")] {
        submit(&*jobs, who, name).await;
    }
    for name in ["c", "b", "a"] {
        bring(&*jobs, name, &[JobStatus::Accepted]).await;
    }
    for (who, after, expected) in [
        ("one", 0, &[(1, "a"), (3, "c"), (4, "c"), (6, "a")][..]),
        ("one", 3, &[(4, "c"), (6, "a")]),
        ("two", 0, &[(2, "b"), (5, "b")]),
        ("three", 0, &[]),
    ] {
        let page = jobs
            .changes(&source("ds"), &client(who), after, up_to(10))
            .await;
        let entries = page.expect("a page").entries;
        let got: Vec<_> = entries
            .iter()
            .map(|change| (change.sequence, change.job.job.as_str()))
            .collect();
        assert_eq!(got, expected);
        assert!(
            entries
                .iter()
                .all(|change| change.job.client == client(who))
        );
        assert!(entries.windows(2).all(|pair| pair[0].at < pair[1].at));
    }
    let page = jobs
        .changes(&source("ds"), &client("one"), 0, up_to(3))
        .await;
    assert!(page.expect("a page").is_more);
}

/// A cancel may be it.
pub async fn the_newest_request_is_the_latest(books: &dyn Books) {
    let jobs = books.open().await;
    assert_eq!(jobs.latest(&source("ds")).await.expect("read"), None);
    submit(&*jobs, "one", "a").await;
    submit(&*jobs, "one", "b").await;
    let latest = jobs
        .latest(&source("ds"))
        .await
        .expect("read")
        .expect("one");
    assert_eq!((latest.job.as_str(), latest.sequence), ("b", 2));
    cancel(&*jobs, "one", "a").await;
    let latest = jobs
        .latest(&source("ds"))
        .await
        .expect("read")
        .expect("one");
    assert_eq!((latest.job.as_str(), latest.asked), ("a", Asked::Cancel));
}

/// Of each datasource, in the order of the question.
pub async fn heads_are_the_last_numbers(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "a").await;
    bring(&*jobs, "a", &[JobStatus::Accepted]).await;
    let heads = jobs.heads(&[source("none"), source("ds")]).await;
    let ds = Heads {
        requests: 1,
        changes: 2,
    };
    assert_eq!(heads.expect("heads"), [Heads::default(), ds]);
}

/// Several processes write at once; a reader that only goes forward, by numbers or by times, sees
/// everything once and in order.
pub async fn writers_leave_no_gap_and_no_disorder(books: &dyn Books) {
    const WRITERS: usize = 4;
    const EACH: usize = 15;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let jobs = books.open().await;
        writers.spawn(async move {
            for i in 0..EACH {
                let who = format!("client-{writer}");
                let name = format!("j-{writer}-{i}");
                submit(&*jobs, &who, &name).await;
                bring(&*jobs, &name, &[JobStatus::Accepted]).await;
                cancel(&*jobs, &who, &name).await;
            }
        });
    }
    let jobs: Arc<dyn Jobs> = books.open().await;
    let (mut by_number, mut by_time): (Vec<Request>, Vec<Request>) = Default::default();
    let whole = WRITERS * EACH * 2;
    while by_number.len() < whole || by_time.len() < whole {
        let last = by_number.last().map_or(0, |request| request.sequence);
        by_number.extend(read(&*jobs, From::After(last), 7).await.0);
        let page = match by_time.last() {
            None => read(&*jobs, From::After(0), 7).await.0,
            Some(last) => {
                let page = read(&*jobs, From::Time(last.at), 7).await.0;
                assert_eq!(page.first(), Some(last), "inclusive");
                page[1..].to_vec()
            }
        };
        by_time.extend(page);
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("written");
    }
    assert!(by_number.iter().map(|r| r.sequence).eq(1..=whole as u64));
    assert!(by_number.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert_eq!(by_number, by_time);
    let heads = jobs.heads(&[source("ds")]).await.expect("heads");
    let (requests, changes) = (whole as u64, whole as u64);
    assert_eq!(heads, [Heads { requests, changes }]);
}

/// With what the logs say of it; its name is free again.
pub async fn only_what_is_over_for_long_enough_is_forgotten(books: &dyn Books) {
    let jobs = books.open().await;
    for name in ["over", "open"] {
        submit(&*jobs, "one", name).await;
    }
    bring(&*jobs, "over", &[JobStatus::Forbidden]).await;
    let day = Duration::from_secs(86_400);
    assert_eq!(jobs.forget(day, 10).await.expect("looked"), (0, false));
    let gone = jobs.forget(Duration::ZERO, 10).await.expect("forgotten");
    assert_eq!(gone, (1, false));
    assert_eq!(look(&*jobs, "one", "over").await, None);
    assert!(look(&*jobs, "one", "open").await.is_some());
    let (left, _) = read(&*jobs, From::After(0), 10).await;
    assert_eq!(left.len(), 1);
    let changes = jobs
        .changes(&source("ds"), &client("one"), 0, up_to(10))
        .await;
    assert_eq!(changes.expect("changes").entries.len(), 1);
    let again = jobs.submit(new("two", "over", "2")).await.expect("stored");
    assert!(matches!(again.answer, Submitted::New(_)));
}

/// Nobody's last number comes again.
pub async fn numbers_go_on_after_forgetting(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "a").await;
    bring(&*jobs, "a", &[JobStatus::Forbidden]).await;
    let before = jobs
        .latest(&source("ds"))
        .await
        .expect("read")
        .expect("one");
    jobs.forget(Duration::ZERO, 10).await.expect("forgotten");
    assert_eq!(jobs.latest(&source("ds")).await.expect("read"), None);
    submit(&*jobs, "one", "a").await;
    let after = jobs
        .latest(&source("ds"))
        .await
        .expect("read")
        .expect("one");
    assert!(after.sequence == 2 && after.at > before.at, "{after:?}");
}

/// Oldest first.
pub async fn forgetting_is_done_in_portions(books: &dyn Books) {
    let jobs = books.open().await;
    for name in ["a", "b", "c"] {
        submit(&*jobs, "one", name).await;
        bring(&*jobs, name, &[JobStatus::Cancelled]).await;
    }
    let (gone, is_more) = jobs.forget(Duration::ZERO, 2).await.expect("forgotten");
    assert!(gone == 2 && is_more);
    assert!(look(&*jobs, "one", "c").await.is_some());
    let (gone, is_more) = jobs.forget(Duration::ZERO, 2).await.expect("forgotten");
    assert!(gone == 1 && !is_more);
}
