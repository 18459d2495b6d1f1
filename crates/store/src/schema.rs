//! The tables, as diesel sees them on both databases. `migrations/` makes them.

diesel::table! {
    tasks (id) {
        id -> BigInt,
        uid -> Binary,
        client -> Text,
        task_type -> Text,
        identifier -> Text,
        body_hash -> Binary,
        status -> SmallInt,
        audience -> SmallInt,
        run_policy -> SmallInt,
        timeout_s -> BigInt,
        max_attempts -> Integer,
        retry_backoff_s -> Integer,
        retry_backoff_max_s -> Integer,
        wire -> Binary,
        endpoints -> Nullable<Binary>,
        expected -> Integer,
        received -> Integer,
        finished -> Integer,
        failed -> Integer,
        created_at -> Timestamp,
        sent_at -> Nullable<Timestamp>,
        wait_until -> Timestamp,
        expires_at -> Timestamp,
        settled_at -> Nullable<Timestamp>,
        cancel_requested_at -> Nullable<Timestamp>,
        publish_due_at -> Nullable<Timestamp>,
        publish_owner -> Nullable<Binary>,
        due_at -> Nullable<Timestamp>,
        callback_url -> Nullable<Text>,
        rows_due_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    responses (id) {
        id -> BigInt,
        task_id -> BigInt,
        task_type -> Text,
        endpoint -> Text,
        state -> SmallInt,
        attempt -> Integer,
        final_attempt -> Integer,
        run -> Integer,
        expected -> Bool,
        presumed -> Bool,
        late -> Bool,
        errnr -> Nullable<Integer>,
        errmsg -> Nullable<Text>,
        payload -> Nullable<Binary>,
        progress_percent -> Nullable<SmallInt>,
        progress_note -> Nullable<Text>,
        created_at -> Timestamp,
        received_at -> Nullable<Timestamp>,
        started_at -> Nullable<Timestamp>,
        finished_at -> Nullable<Timestamp>,
        last_modified_at -> Timestamp,
        elapsed_ms -> Nullable<BigInt>,
        ask_at -> Nullable<Timestamp>,
        is_open -> Bool,
        retry_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    endpoints (task_type, name) {
        task_type -> Text,
        name -> Text,
        journal -> Nullable<Binary>,
        boot -> Nullable<Binary>,
        old_boots -> Binary,
        first_seen_at -> Timestamp,
        last_seen_at -> Timestamp,
        hello_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    purged_tasks (task_id) {
        task_id -> BigInt,
    }
}

diesel::table! {
    notices (id) {
        id -> BigInt,
        uid -> Binary,
        kind -> SmallInt,
        subject -> BigInt,
        url -> Text,
        host -> Nullable<Text>,
        body -> Binary,
        state -> SmallInt,
        tries -> Integer,
        owner -> Nullable<Binary>,
        last_status -> Nullable<SmallInt>,
        last_error -> Nullable<Text>,
        created_at -> Timestamp,
        next_try_at -> Nullable<Timestamp>,
        finished_at -> Nullable<Timestamp>,
        datasource -> Nullable<Text>,
        job -> Nullable<Text>,
    }
}

diesel::joinable!(responses -> tasks (task_id));
diesel::allow_tables_to_appear_in_same_query!(tasks, responses, endpoints);

diesel::table! {
    users (name) {
        name -> Text,
        role -> Text,
        grants -> Binary,
        password -> Nullable<Text>,
        created_at -> Timestamp,
    }
}

diesel::table! {
    tokens (token_key) {
        token_key -> Text,
        user_name -> Text,
        secret_hash -> Binary,
        note -> Text,
        grants -> Binary,
        created_at -> Timestamp,
        expires_at -> Nullable<Timestamp>,
        revoked_at -> Nullable<Timestamp>,
        last_used_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    audit (id) {
        id -> BigInt,
        at -> Timestamp,
        kind -> Text,
        who -> Nullable<Text>,
        token_key -> Nullable<Text>,
        what -> Text,
        address -> Nullable<Text>,
    }
}

diesel::joinable!(tokens -> users (user_name));
diesel::allow_tables_to_appear_in_same_query!(tokens, users);

diesel::table! {
    job_sources (datasource) {
        datasource -> Text,
        requests -> BigInt,
        changes -> BigInt,
        last_at -> Timestamp,
    }
}

diesel::table! {
    jobs (datasource, job) {
        datasource -> Text,
        job -> Text,
        client -> Text,
        status -> SmallInt,
        request -> Nullable<Binary>,
        response -> Nullable<Binary>,
        error -> Nullable<Text>,
        changed -> Integer,
        created_at -> Timestamp,
        cancel_requested_at -> Nullable<Timestamp>,
        final_at -> Nullable<Timestamp>,
        task_uid -> Nullable<Binary>,
        callback_url -> Nullable<Text>,
    }
}

diesel::table! {
    job_requests (datasource, sequence) {
        datasource -> Text,
        sequence -> BigInt,
        at -> Timestamp,
        job -> Text,
        client -> Text,
        is_cancel -> Bool,
        bytes -> BigInt,
    }
}

diesel::table! {
    job_changes (datasource, sequence) {
        datasource -> Text,
        sequence -> BigInt,
        at -> Timestamp,
        job -> Text,
        client -> Text,
        status -> SmallInt,
        error -> Nullable<Text>,
        bytes -> BigInt,
    }
}

diesel::table! {
    runs (id) {
        id -> BigInt,
        uid -> Binary,
        client -> Text,
        num_tasks -> Integer,
        next_task -> Integer,
        epoch -> Integer,
        reset_epoch -> Integer,
        payloads -> SmallInt,
        payload -> Nullable<Binary>,
        created_at -> Timestamp,
    }
}

diesel::table! {
    run_tasks (run_id, task) {
        run_id -> BigInt,
        task -> Integer,
        state -> SmallInt,
        percent -> Double,
        attempt -> Integer,
        epoch -> Integer,
        worker_id -> Nullable<BigInt>,
        started_at -> Nullable<Timestamp>,
        updated_at -> Nullable<Timestamp>,
        lease_until -> Nullable<Timestamp>,
        result -> Nullable<Binary>,
    }
}

diesel::table! {
    run_payloads (run_id, task) {
        run_id -> BigInt,
        task -> Integer,
        payload -> Binary,
    }
}

diesel::table! {
    pull_workers (id) {
        id -> BigInt,
        client -> Text,
        uuid -> Text,
        hostname -> Text,
        pid -> BigInt,
        session -> Nullable<Binary>,
        registered_at -> Timestamp,
    }
}

diesel::table! {
    deleted_runs (run_id) {
        run_id -> BigInt,
    }
}
