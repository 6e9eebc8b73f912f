//! OpenAPI document, served at `/openapi.json`; `docs/reference/openapi.json` is a copy.
//!
//! Texts of the document and its tags are here, those of operations in `#[utoipa::path]` of
//! `routes/*`, those of fields in `form!` and `schemas.rs`, those of statuses in
//! `error_responses.rs`, and those of error bodies in `error.rs` of the crate.

mod endpoints;
mod error_responses;
mod modifiers;
pub(super) mod schemas;

use std::sync::LazyLock;

use endpoints::Endpoints;
use modifiers::Shared;
use utoipa::OpenApi;

/// OpenAPI 3.1.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Latchkey",
        description = "JWT access and refresh tokens, compatible with Django's simplejwt.\n\n\
            Every path works with and without its final slash. A body is JSON, a form or a multipart form, in the \
            `charset` of `Content-Type`, by default UTF-8. An unknown charset is a 415. The last of several fields with \
            the same name counts. Responses are JSON in UTF-8.\n\n\
            Pages of any origin may read keys and discovery (`Access-Control-Allow-Origin: *`). Every resource with GET \
            supports HEAD, and every resource supports OPTIONS (204, with `Allow`). The response repeats an \
            `X-Request-ID` of 1 to 64 letters, digits and `-_.`. Any other is replaced."
    ),
    // Relative to the URL of the document, so that a proxy may put the service into a folder.
    servers((url = ".", description = "The server of this document.")),
    tags(
        (name = "tokens", description = "simplejwt's views: obtain, refresh, verify, blacklist."),
        (name = "account", description = "The signed-in user, sessions and log-out."),
        (name = "keys", description = "Public keys and discovery, for services that verify access tokens."),
        (name = "operation", description = "Health, metrics and this document, for operators.")
    ),
    components(schemas(schemas::Detail, schemas::CodedDetail, schemas::TokenNotValid, schemas::FieldErrors)),
    modifiers(&Endpoints, &Shared),
)]
struct Document;

/// Returns the document as JSON with a final line break. It does not depend on settings.
#[must_use]
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let text = serde_json::to_string_pretty(&Document::openapi());
        // Serialization cannot fail: all keys are text. The tests would notice an empty document.
        text.map(|text| text + "\n").unwrap_or_default()
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::document;
    use crate::{endpoint::Access, router::endpoints};

    #[test]
    fn documented_security_equals_the_access_of_the_endpoint() {
        let document: Value = serde_json::from_str(document()).unwrap();
        for endpoint in endpoints().iter().filter(|it| it.document.is_some()) {
            let paths = &document["paths"];
            let slash = format!("{}/", endpoint.path);
            let item = paths.get(&slash).unwrap_or(&paths[endpoint.path]);
            let security = &item[endpoint.method.as_str().to_lowercase()]["security"];
            let bearer = json!({ "bearerAuth": [] });
            let expected = match endpoint.access {
                Access::Public => Value::Null,
                Access::Optional => json!([{}, bearer]),
                Access::Required => json!([bearer]),
            };
            assert_eq!(*security, expected, "{}", endpoint.path);
        }
    }

    #[test]
    fn document_contains_every_endpoint_except_swagger_ui() {
        let document: Value = serde_json::from_str(document()).unwrap();
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let path = path.trim_end_matches('/');
                let methods = item.as_object().unwrap().keys();
                methods.map(|method| (path.to_owned(), method.to_uppercase()))
            })
            .collect();
        let registered: BTreeSet<(String, String)> = endpoints()
            .iter()
            .filter(|endpoint| endpoint.label != "/docs")
            .map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_string()))
            .collect();
        assert_eq!(documented, registered);
    }
}
