//! What `submit`, `cancel` and `update` promise.

use bytes::Bytes;
use tasker_core::account::ClientScope;
use tasker_core::callback::CallbackUrl;
use tasker_core::jobs::{
    Asked, Bound, Cancelled, From, JobStatus, Log, MAX_CHANGES, Mark, NewJob, Outcome, Submitted,
    Update, Updated,
};

use super::{Books, bring, cancel, client, look, named, new, scope, source, submit, tell};

const TEN: Bound = Bound {
    entries: 10,
    bytes: 1 << 20,
};

/// The job is there, its server is asked, its client may watch it from the beginning.
pub async fn a_job_is_stored_and_asked_for(books: &dyn Books) {
    let jobs = books.open().await;
    let marked = jobs.submit(new("one", "j", "{ }")).await.expect("stored");
    let Submitted::New(job) = marked.answer else {
        panic!("it is new");
    };
    assert_eq!(job.outcome, Outcome::of(JobStatus::Submitted));
    let mark = |log| Mark {
        datasource: source("ds"),
        log,
        sequence: 1,
        client: client("one"),
    };
    assert_eq!(marked.marks, [mark(Log::Requests), mark(Log::Changes)]);
    assert_eq!(look(&*jobs, "one", "j").await, Some(job.clone()));
    let page = jobs.requests(&source("ds"), From::After(0), TEN).await;
    let page = page.expect("a page");
    assert!(!page.is_more && page.entries.len() == 1);
    let asked = Asked::Submit(Some(Bytes::from_static(b"{ }")));
    assert_eq!(page.entries[0].asked, asked);
    let changes = jobs.changes(&source("ds"), &client("one"), 0, TEN).await;
    assert_eq!(changes.expect("changes").entries[0].job, job);
}

/// Nothing is asked twice, even if it went on meanwhile.
pub async fn the_same_job_again_is_the_same(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "j").await;
    bring(&*jobs, "j", &[JobStatus::Accepted]).await;
    let again = jobs.submit(new("one", "j", "1")).await.expect("known");
    let Submitted::Same(job) = again.answer else {
        panic!("it is the same");
    };
    assert_eq!(job.outcome.status, JobStatus::Accepted);
    assert_eq!(again.marks, []);
    let bare = NewJob {
        request: None,
        ..new("one", "bare", "")
    };
    jobs.submit(bare.clone()).await.expect("stored");
    let again = jobs.submit(bare).await.expect("known");
    assert!(matches!(again.answer, Submitted::Same(_)), "{again:?}");
}

/// Neither another request nor another client gets it.
pub async fn a_name_stands_for_one_job(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "j").await;
    let nothing = NewJob {
        request: None,
        ..new("one", "j", "")
    };
    let told = NewJob {
        callback_url: CallbackUrl::parse("https://hooks.example/").ok(),
        ..new("one", "j", "1")
    };
    for other in [
        told,
        new("one", "j", "2"),
        new("one", "j", "1 "),
        new("two", "j", "1"),
        nothing,
    ] {
        let told = jobs.submit(other).await.expect("told");
        assert_eq!((told.answer, told.marks), (Submitted::Reused, vec![]));
    }
    // Byte by byte.
    submit(&*jobs, "one", "J").await;
}

/// Each has its own jobs and its own numbers.
pub async fn datasources_do_not_share_names(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "j").await;
    let other = NewJob {
        datasource: source("other"),
        ..new("two", "j", "2")
    };
    let marked = jobs.submit(other).await.expect("stored");
    assert!(matches!(marked.answer, Submitted::New(_)));
    assert!(marked.marks.iter().all(|mark| mark.sequence == 1));
}

/// And by whoever sees everybody's.
pub async fn a_job_is_seen_by_its_client_only(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "j").await;
    assert!(look(&*jobs, "one", "j").await.is_some());
    assert_eq!(look(&*jobs, "two", "j").await, None);
    assert_eq!(look(&*jobs, "one", "k").await, None);
    let all = ClientScope::all(client("boss"));
    let seen = jobs.job(&all, &source("ds"), &named("j")).await;
    assert!(seen.expect("seen").is_some());
}

/// The status stays; the server decides.
pub async fn a_cancel_is_asked_for_once(books: &dyn Books) {
    let jobs = books.open().await;
    let job = submit(&*jobs, "one", "j").await;
    let first = jobs.cancel(&scope("one"), &source("ds"), &named("j")).await;
    let first = first.expect("asked");
    assert_eq!(first.answer, Cancelled::Asked(job.clone()));
    assert_eq!(first.marks.len(), 1);
    let again = jobs.cancel(&scope("one"), &source("ds"), &named("j")).await;
    let again = again.expect("asked");
    assert_eq!((again.answer, again.marks), (Cancelled::Asked(job), vec![]));
    let page = jobs.requests(&source("ds"), From::After(0), TEN).await;
    let entries = page.expect("a page").entries;
    assert_eq!(entries.len(), 2);
    assert_eq!(
        (&entries[1].asked, entries[1].sequence),
        (&Asked::Cancel, 2)
    );
    bring(&*jobs, "j", &[JobStatus::Cancelled]).await;
}

/// An unknown job is told from another client's.
pub async fn who_may_not_cancel_changes_nothing(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "j").await;
    assert_eq!(cancel(&*jobs, "two", "j").await, Cancelled::Foreign);
    assert_eq!(cancel(&*jobs, "one", "k").await, Cancelled::Unknown);
    let heads = jobs.heads(&[source("ds")]).await.expect("heads");
    assert_eq!(heads[0].requests, 1);
}

/// Its status is told.
pub async fn what_is_over_is_not_cancelled(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "j").await;
    bring(&*jobs, "j", &[JobStatus::Forbidden]).await;
    let Cancelled::Asked(job) = cancel(&*jobs, "one", "j").await else {
        panic!("it is the client's");
    };
    assert_eq!(job.outcome.status, JobStatus::Forbidden);
    let heads = jobs.heads(&[source("ds")]).await.expect("heads");
    assert_eq!(heads[0].requests, 1);
}

/// From every status to every other.
pub async fn jobs_move_by_the_table_only(books: &dyn Books) {
    let jobs = books.open().await;
    for (i, from) in JobStatus::ALL.iter().enumerate() {
        for (k, to) in JobStatus::ALL.iter().enumerate() {
            let name = format!("j-{i}-{k}");
            submit(&*jobs, "one", &name).await;
            bring(&*jobs, &name, &JobStatus::Submitted.way_to(*from)).await;
            let got = tell(&*jobs, &name, Outcome::of(*to)).await;
            let job = look(&*jobs, "one", &name).await.expect("there");
            let expected = if from == to {
                Updated::Same(job.clone())
            } else if from.may_become(*to) {
                Updated::Moved(job.clone())
            } else {
                Updated::Illegal(job.clone())
            };
            assert_eq!(got, expected, "{from} -> {to}");
            let stands = if from.may_become(*to) { to } else { from };
            assert_eq!(job.outcome.status, *stands);
        }
    }
    assert_eq!(
        tell(&*jobs, "nobody", Outcome::of(JobStatus::Accepted)).await,
        Updated::Unknown
    );
}

/// Then it must be the right one.
pub async fn an_update_may_name_its_client(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "j").await;
    for (who, fits) in [("two", false), ("one", true)] {
        let update = Update {
            datasource: source("ds"),
            job: named("j"),
            client: Some(client(who)),
            outcome: Outcome::of(JobStatus::Accepted),
        };
        let updated = jobs.update(update).await.expect("told").answer;
        assert_eq!(updated != Updated::Foreign, fits, "{updated:?}");
    }
    let job = look(&*jobs, "one", "j").await.expect("there");
    assert_eq!(job.outcome.status, JobStatus::Accepted);
}

/// But it does not change for ever.
pub async fn a_job_ends_however_often_it_changed(books: &dyn Books) {
    let jobs = books.open().await;
    submit(&*jobs, "one", "j").await;
    for turn in 0..MAX_CHANGES {
        let status = [JobStatus::Accepted, JobStatus::Retrying][turn as usize % 2];
        bring(&*jobs, "j", &[status]).await;
    }
    let more = tell(&*jobs, "j", Outcome::of(JobStatus::Accepted)).await;
    assert!(matches!(more, Updated::TooOften(_)), "{more:?}");
    bring(&*jobs, "j", &[JobStatus::Failed]).await;
}

/// What was sent is what is read; an error, too.
pub async fn request_and_response_keep_their_bytes(books: &dyn Books) {
    let jobs = books.open().await;
    let request = "{\"b\" : 1e2, \"a\":-0 ,\n \"é\":\"\\u00e9\"}";
    jobs.submit(new("one", "j", request)).await.expect("stored");
    let retrying = Outcome {
        error: Some("später 🐟".to_owned()),
        ..Outcome::of(JobStatus::Retrying)
    };
    let complete = Outcome {
        response: Some(Bytes::from_static(b"[ 1.0,\t2 ]")),
        ..Outcome::of(JobStatus::Complete)
    };
    bring(&*jobs, "j", &[JobStatus::Accepted]).await;
    tell(&*jobs, "j", retrying.clone()).await;
    bring(&*jobs, "j", &[JobStatus::Accepted]).await;
    tell(&*jobs, "j", complete.clone()).await;
    let latest = jobs.latest(&source("ds")).await.expect("read");
    let asked = Asked::Submit(Some(Bytes::from_static(request.as_bytes())));
    assert_eq!(latest.expect("there").asked, asked);
    let changes = jobs.changes(&source("ds"), &client("one"), 2, TEN).await;
    let changes = changes.expect("changes").entries;
    let outcomes: Vec<_> = changes.into_iter().map(|c| c.job.outcome).collect();
    let accepted = Outcome::of(JobStatus::Accepted);
    assert_eq!(outcomes, [retrying, accepted, complete.clone()]);
    let job = look(&*jobs, "one", "j").await.expect("there");
    assert_eq!(job.outcome, complete);
    let other = Outcome {
        response: Some(Bytes::from_static(b"[1.0,2]")),
        ..complete.clone()
    };
    let told = tell(&*jobs, "j", other).await;
    assert!(matches!(told, Updated::Illegal(_)), "{told:?}");
    let told = tell(&*jobs, "j", complete).await;
    assert!(matches!(told, Updated::Same(_)), "{told:?}");
}
