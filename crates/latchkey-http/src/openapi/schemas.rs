//! Schemas of bodies without a type in the handlers.

#![expect(dead_code, reason = "schemas of the OpenAPI document")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// Refresh token of the session that ends.
#[derive(ToSchema)]
pub(crate) struct LogOut {
    /// Refresh token, or `null` to end the session of the access token.
    #[schema(required = true, example = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl")]
    refresh: Option<String>,
}

/// Public keys (RFC 7517, section 5), the newest first.
#[derive(ToSchema)]
pub(crate) struct JwkSet {
    keys: Vec<Jwk>,
}

/// Public key: ECDSA (`crv`, `x`, `y`), Ed25519 (`crv`, `x`) or RSA (`n`, `e`).
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jwk {
    /// `EC`, `OKP` or `RSA`.
    kty: String,
    /// Signature algorithm of the key.
    alg: String,
    /// Key id. The header of each token contains the id of its signing key.
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
pub(crate) struct Description(Value);

/// Reason for the error.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detail {
    detail: String,
}

/// Reason for the error, with simplejwt's code.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodedDetail {
    detail: String,
    /// `token_not_valid`, `bad_authorization_header`, `user_inactive` or `user_not_found`.
    code: String,
}

/// Refusal of an access token by a protected view.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenNotValid {
    detail: String,
    /// `token_not_valid`.
    code: String,
    /// One entry.
    messages: Vec<TokenMessage>,
}

/// Reason why a token of this type is refused.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenMessage {
    /// `AccessToken`.
    token_class: String,
    /// `access`.
    token_type: String,
    message: String,
}

/// Errors by field. Errors of the whole body are under `non_field_errors`.
#[derive(ToSchema)]
pub(crate) struct FieldErrors(BTreeMap<String, Vec<String>>);
