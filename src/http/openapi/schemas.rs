//! Schemas of bodies that no handler has a type for.

#![expect(dead_code, reason = "schemas of the OpenAPI document")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// Refresh token of the session that ends.
#[derive(ToSchema)]
pub(in crate::http) struct LogOut {
    /// The refresh token; `null` to say by the access token alone which session ends.
    #[schema(required = true, example = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl")]
    refresh: Option<String>,
}

/// Public keys (RFC 7517, section 5), the newest first.
#[derive(ToSchema)]
pub(in crate::http) struct JwkSet {
    keys: Vec<Jwk>,
}

/// A public key: of an elliptic curve (`crv`, `x`, `y`), of Edwards' (`crv`, `x`) or of RSA (`n`, `e`).
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Jwk {
    /// `EC`, `OKP` or `RSA`.
    kty: String,
    /// The one algorithm it is for.
    alg: String,
    /// Named by the header of each token that it signed.
    kid: String,
    /// `sig`.
    r#use: String,
    #[schema(nullable = false)]
    crv: Option<String>,
    #[schema(nullable = false)]
    x: Option<String>,
    #[schema(nullable = false)]
    y: Option<String>,
    #[schema(nullable = false)]
    n: Option<String>,
    #[schema(nullable = false)]
    e: Option<String>,
}

/// This document.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(in crate::http) struct Description(Value);

/// Why not, in words.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Detail {
    detail: String,
}

/// Why not, in words and in simplejwt's code.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CodedDetail {
    detail: String,
    /// `token_not_valid`, `bad_authorization_header`, `user_inactive` or `user_not_found`.
    code: String,
}

/// An access token that a protected view refuses.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TokenNotValid {
    detail: String,
    /// `token_not_valid`.
    code: String,
    /// One entry.
    messages: Vec<TokenMessage>,
}

/// Why a token of this type is refused.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TokenMessage {
    /// `AccessToken`.
    token_class: String,
    /// `access`.
    token_type: String,
    message: String,
}

/// What is wrong, by field; what is wrong with no field in particular is under `non_field_errors`.
#[derive(ToSchema)]
pub(in crate::http) struct FieldErrors(BTreeMap<String, Vec<String>>);
