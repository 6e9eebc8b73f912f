//! Tables as declared to diesel. `migrations/` creates them. A test compares the migrations of both
//! databases, but not this file.

diesel::table! {
    users (id) {
        id -> Text,
        username -> Text,
        username_key -> Nullable<Text>,
        email -> Text,
        email_key -> Nullable<Text>,
        password_hash -> Text,
        first_name -> Text,
        last_name -> Text,
        is_active -> Bool,
        is_staff -> Bool,
        session_epoch -> Integer,
        created_at -> Timestamp,
        last_login -> Nullable<Timestamp>,
        epoch_raised_at -> Nullable<Timestamp>,
        deleted_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Text,
        user_id -> Text,
        session_epoch -> Integer,
        generation -> Integer,
        created_at -> Timestamp,
        rotated_at -> Timestamp,
        expires_at -> Timestamp,
        revoked_at -> Nullable<Timestamp>,
        revoked_reason -> Nullable<Text>,
        last_ip -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        status_index -> Nullable<BigInt>,
        grace_generation -> Integer,
        grace_repeats -> Integer,
    }
}

diesel::table! {
    audit_events (id) {
        id -> BigInt,
        at -> Timestamp,
        event -> Text,
        cause -> Nullable<Text>,
        actor -> Text,
        user_id -> Nullable<Text>,
        session_id -> Nullable<Text>,
        jti -> Nullable<Text>,
        ip -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        details -> Text,
        times -> Integer,
    }
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        token_type -> Text,
        algorithm -> Text,
        signs_from -> Timestamp,
        private_key -> Nullable<Text>,
        revoked_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    signing_key_ring (id) {
        id -> Integer,
        version -> BigInt,
        access_life -> BigInt,
        refresh_life -> BigInt,
    }
}

diesel::table! {
    deployment (one) {
        one -> Integer,
        id -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(users, sessions);
