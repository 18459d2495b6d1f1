//! Jobs whose server is a worker: what the response of its task says of a job.

use super::{JobStatus, MAX_ERROR_BYTES, Outcome};
use crate::errnr;
use crate::state::ResponseState;
use crate::task::TaskResponse;

/// How a job should stand that stands so now and whose task has this response; `None`: its worker has said
/// nothing of it yet.
///
/// A job must be accepted before it can fail. So what nobody has begun is forbidden (its worker refused it)
/// or cancelled (nobody took it in time).
#[must_use]
pub fn outcome_of(now: JobStatus, response: &TaskResponse) -> Option<Outcome> {
    let is_begun = now != JobStatus::Submitted;
    let status = match response.state {
        ResponseState::Waiting => return None,
        ResponseState::Received | ResponseState::Running => JobStatus::Accepted,
        ResponseState::Retrying => JobStatus::Retrying,
        ResponseState::Succeeded => JobStatus::Complete,
        ResponseState::Cancelled => JobStatus::Cancelled,
        ResponseState::Rejected if !is_begun => JobStatus::Forbidden,
        ResponseState::Expired if !is_begun => JobStatus::Cancelled,
        ResponseState::Failed
        | ResponseState::TimedOut
        | ResponseState::Interrupted
        | ResponseState::Rejected
        | ResponseState::Expired => JobStatus::Failed,
    };
    Some(Outcome {
        status,
        response: response.payload.clone().filter(|_| status.has_response()),
        error: status.has_error().then(|| error_of(response)).flatten(),
    })
}

fn error_of(response: &TaskResponse) -> Option<String> {
    let meaning = |number| errnr::meaning(number).map(str::to_owned);
    let told = response.errmsg.clone();
    let told = told.or_else(|| response.errnr.and_then(meaning));
    let mut error = match response.state {
        ResponseState::Expired => told.or_else(|| meaning(errnr::EXPIRED)),
        _ => told,
    }?;
    error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
    Some(error)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;

    use super::*;
    use crate::name::EndpointName;

    fn response(state: ResponseState) -> TaskResponse {
        TaskResponse {
            id: 1,
            task_id: 1,
            endpoint: EndpointName::parse("a").unwrap(),
            state,
            attempt: 1,
            run: 1,
            expected: true,
            presumed: false,
            late: false,
            retry_at: None,
            errnr: None,
            errmsg: None,
            payload: Some(Bytes::from_static(b"1")),
            progress: None,
            created_at: DateTime::UNIX_EPOCH,
            received_at: None,
            started_at: None,
            finished_at: None,
            last_modified_at: DateTime::UNIX_EPOCH,
            elapsed_ms: None,
        }
    }

    #[test]
    fn every_response_leads_every_open_job_somewhere_legal() {
        let open = JobStatus::ALL.iter().filter(|status| !status.is_final());
        for now in open {
            for state in ResponseState::ALL {
                let Some(outcome) = outcome_of(*now, &response(*state)) else {
                    assert_eq!(*state, ResponseState::Waiting);
                    continue;
                };
                let goal = outcome.status;
                let arrives = *now == goal || now.way_to(goal).last() == Some(&goal);
                assert!(arrives, "{now}, {state}: {goal}");
                let is_over = state.is_finished() || *state == ResponseState::Expired;
                assert_eq!(goal.is_final(), is_over, "{now}, {state}: {goal}");
                assert_eq!(outcome.response.is_some(), goal.has_response());
            }
        }
    }

    #[test]
    fn what_nobody_began_did_not_fail() {
        let status = |now, state| outcome_of(now, &response(state)).unwrap().status;
        let (new, begun) = (JobStatus::Submitted, JobStatus::Accepted);
        assert_eq!(status(new, ResponseState::Rejected), JobStatus::Forbidden);
        assert_eq!(status(new, ResponseState::Expired), JobStatus::Cancelled);
        assert_eq!(status(begun, ResponseState::Rejected), JobStatus::Failed);
        assert_eq!(status(new, ResponseState::Failed), JobStatus::Failed);
    }

    #[test]
    fn the_error_is_what_the_worker_said_or_what_its_number_means() {
        let error = |response| outcome_of(JobStatus::Accepted, &response).unwrap().error;
        let failed = response(ResponseState::Failed);
        assert_eq!(error(failed.clone()), None);
        let numbered = TaskResponse {
            errnr: Some(errnr::POISON),
            ..failed
        };
        let meaning = errnr::meaning(errnr::POISON).map(str::to_owned);
        assert_eq!(error(numbered.clone()), meaning);
        let told = TaskResponse {
            errmsg: Some("é".repeat(MAX_ERROR_BYTES)),
            ..numbered
        };
        assert_eq!(error(told).unwrap().len(), MAX_ERROR_BYTES);
        assert!(error(response(ResponseState::Expired)).is_some());
        assert_eq!(error(response(ResponseState::Succeeded)), None);
    }
}
